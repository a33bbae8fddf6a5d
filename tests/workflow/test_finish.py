"""The last words of a run name what is still ahead of it, on the same pictures and folds only."""

import logging
import sys
from dataclasses import replace

import pytest

from pipeline import paths
from pipeline.config import Recipe
from pipeline.files import write_json
from pipeline.workflow import finish
from tests.written import written


def a_run(name: str, *scores: float, split: str = "id,fold\n1,0\n", metric: str = "log_loss", **config):
    folder = paths.runs_folder("pets") / name
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"folds": list(range(len(scores))), **config})
    results = {"metric": metric, "score": sum(scores) / len(scores), "folds": list(scores)}
    write_json(folder / "metrics.json", results)
    (folder / "folds.csv").write_text(split)
    return folder, results


@pytest.mark.parametrize("base", ["xception", "mobilenet_v2", "inception_v3=none"])
def test_what_is_advised_is_no_mistake(base):
    recipe = Recipe(bases=(base,))
    advised = finish.suggest_next_step(recipe).split(";")[0].split()[-1]
    assert replace(recipe, bases=(base, advised)).bases == (base, advised)


def test_our_own_base_is_followed_by_what_needs_no_download():
    assert finish.suggest_next_step(Recipe(bases=("petite",))).startswith("--strategy finetune")
    assert "--strategy" not in finish.suggest_next_step(Recipe(bases=("petite+second",))), "that base cannot be trained"


def test_no_base_is_advised_whose_weights_are_not_here(monkeypatch):
    monkeypatch.setattr(finish, "find_missing_weights", lambda base: base.name == "efficientnet_lite2" or None)
    assert "--base efficientnet_lite0" in finish.suggest_next_step(Recipe(bases=("xception",)))
    monkeypatch.setattr(finish, "find_missing_weights", lambda base: True)
    assert finish.suggest_next_step(Recipe(bases=("xception",))).startswith("--set augmented_views=2")


def test_the_best_run_ahead_is_named():
    a_run("1", 0.3, 0.4)
    best, _ = a_run("2", 0.2, 0.3)
    folder, results = a_run("3", 0.5, 0.5)
    assert finish.find_better_run(folder, results, (0, 1)) == (best, pytest.approx(0.25))


def test_the_best_run_itself_has_none_ahead_and_a_higher_accuracy_is_ahead():
    a_run("1", 0.3, 0.4)
    folder, results = a_run("2", 0.2, 0.3)
    assert finish.find_better_run(folder, results, (0, 1)) is None
    better, _ = a_run("3", 0.9, 0.8, metric="accuracy")
    folder, results = a_run("4", 0.7, 0.7, metric="accuracy")
    assert finish.find_better_run(folder, results, (0, 1)) == (better, pytest.approx(0.85))


def test_a_run_of_one_fold_is_held_against_the_others_on_that_fold():
    a_run("1", 0.3, 0.1)
    folder, results = a_run("2", 0.2)
    assert finish.find_better_run(folder, results, (0,)) is None
    other, _ = a_run("3", 0.1, 0.9)
    assert finish.find_better_run(folder, results, (0,)) == (other, pytest.approx(0.1))


def test_other_folds_debug_runs_and_runs_of_fewer_folds_are_not_compared():
    a_run("1", 0.1, 0.1, split="id,fold\n1,1\n")
    a_run("2", 0.1, 0.1, debug=True)
    a_run("3", 0.1)
    folder, results = a_run("4", 0.5, 0.5)
    assert finish.find_better_run(folder, results, (0, 1)) is None


def test_a_finished_run_gets_its_report():
    folder = written()
    finish.write_report(folder, "mine")
    assert (folder / "report.html").is_file()


def test_an_error_of_the_report_is_a_warning_that_names_the_remedy(caplog, monkeypatch):
    monkeypatch.setattr("pipeline.run_report.write.render_page", lambda *_: 1 / 0)
    folder = written()
    with caplog.at_level(logging.WARNING):
        finish.write_report(folder, "mine")
    assert f"invoke report --comp mine --run {folder.name}" in caplog.text


def test_a_report_that_cannot_be_imported_is_a_warning_too(caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.run_report.write", None)
    with caplog.at_level(logging.WARNING):
        finish.write_report(written(), "mine")
    assert "the run is finished, but not its report" in caplog.text


def test_the_advice_is_a_flag_even_where_there_is_no_file_with_a_recipe():
    two = Recipe(bases=("efficientnet_lite2", "efficientnet_lite0"), views=("plain",))
    assert finish.suggest_next_step(two).startswith("--set views=plain,flip")
    assert finish.suggest_next_step(replace(two, views=("plain", "flip"))).startswith("--set augmented_views=2")
