"""A run goes on from the weights of a finished one, on the same folds, and says so; what does not fit is refused."""

from dataclasses import replace

import pytest

from pipeline.config import RunOptions, Training
from pipeline.errors import StarshiftError
from pipeline.run_report.provenance import build_run_command
from pipeline.runs import folder as runs
from pipeline.runs import listing
from pipeline.runs.deletion import list_uses
from pipeline.runs.load import load_run
from pipeline.training.fold_job import read_fold_job
from pipeline.workflow.continuation import check_continued_run
from pipeline.workflow.run import run
from tests.cli.test_tasks import invoke
from tests.written import MINE, written


@pytest.fixture(scope="module")
def made(competition):
    return run(competition, RunOptions())


def change_recipe(competition, **changes):
    return replace(competition, recipe=replace(competition.recipe, **changes))


def test_a_run_that_goes_on_is_a_run_of_its_own_that_names_the_one_before(competition, made, take_over, caplog):
    caplog.set_level("INFO")
    before = take_over(made)
    after = run(change_recipe(competition, training=Training(epochs=2)), RunOptions(continued=before, folds=(1,)))
    assert f"from the weights of {before.name}, with a new learning-rate schedule" in caplog.text
    assert runs.read_config(after)["continued"]["run"] == before.name
    assert read_fold_job(after / "folds" / "fold1.job.json").continued == before
    assert len(runs.read_history(after)) == 2
    assert next(one for one in listing.list_runs("mine") if one.run == after.name).continued == before.name
    assert f"--continue {before.name}" in build_run_command(load_run(after), "mine")
    assert f"{after.name} started from its weights" in list_uses(before)


def test_a_run_on_other_folds_is_refused_since_its_weights_have_seen_what_is_held_out(competition, made, take_over):
    before = take_over(made)
    with pytest.raises(StarshiftError, match="trained on other folds"):
        run(change_recipe(competition, split_seed=1), RunOptions(continued=before))
    assert runs.list_run_folders("mine") == [before]


def test_a_damaged_model_is_refused(competition, made, take_over):
    before = take_over(made)
    (before / "models" / "fold1.keras").write_bytes(b"no model")
    check_continued_run(competition, before, (0,))
    with pytest.raises(StarshiftError, match="model of fold 1 is damaged or missing"):
        check_continued_run(competition, before, (0, 1))


def test_an_unfinished_run_is_gone_on_with_by_its_own_command():
    before = written(1.0, strategy="finetune", finished=False)
    with pytest.raises(StarshiftError, match=r"not finished[^$]*without --continue"):
        check_continued_run(change_recipe(MINE, strategy="finetune"), before, (0,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strategy": "frozen"}, "another strategy"),
        ({"strategy": "features"}, "no training to go on with"),
        ({"bases": ("mobilenet_v2",)}, "another base"),
        ({"size": 96}, "another size"),
        ({"head": "mlp"}, "another head"),
        ({"folds": 4}, "another number of folds"),
    ],
)
def test_a_run_of_another_network_is_refused(changes, words):
    before = written(1.0, strategy="finetune")
    with pytest.raises(StarshiftError, match=words):
        check_continued_run(change_recipe(MINE, **{"strategy": "finetune", **changes}), before, (0,))


def test_a_fold_that_the_run_did_not_train_is_refused():
    before = written(1.0, strategy="finetune", folds=(0, 1))
    with pytest.raises(StarshiftError, match="did not train these folds"):
        check_continued_run(change_recipe(MINE, strategy="finetune"), before, (1, 2))


def test_the_command_line_continues_no_run_for_something_else(mine):
    done = invoke("run", "--comp", mine, "--strategy", "scratch", "--continue", "latest", "--final")
    assert done.returncode == 1 and "--continue goes with none of these" in done.stderr
