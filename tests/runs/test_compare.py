"""Two runs compared: joined by picture, with an interval, and honest about folds and noise."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import estimate_difference
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions
from pipeline.evaluation.per_class import compare_classes
from pipeline.files import read_json, write_json
from pipeline.runs import folder as runs
from pipeline.runs.compare import build_comparison, compare_runs, format_differences, format_verdict
from pipeline.runs.load import find_run_folder, load_run
from pipeline.runs.note import write_note
from tests.written import MINE, PAIR, probabilities, written


def against(before, after):
    return build_comparison(load_run(before), load_run(after))


def test_a_better_run_is_better_beyond_noise_and_the_same_twice_is_the_same():
    weak, strong = written(1.0), written(3.0, seed=1)
    made = against(weak, strong)
    assert made.difference.high < 0 and made.by_fold.difference.is_negative and not made.right.difference.within_noise
    assert "B is better than A, beyond noise" in format_verdict(made)[1]
    assert made.right.gained > made.right.lost
    same = against(strong, strong)
    assert same.pictures.identical and same.difference.estimate == 0 and not same.differing


def test_of_twenty_pairs_that_differ_by_chance_most_are_within_noise():
    truth = np.arange(200) % 4
    pairs = [(probabilities(truth, 4, 2.0, seed), probabilities(truth, 4, 2.0, seed + 20)) for seed in range(20)]
    held = OOFPredictions(
        part=MemberPredictions(np.zeros((0, 200, 4))), labels=truth, fold_of=np.arange(200) // 4 % 5, metric="log_loss"
    )
    noise = [estimate_difference(held, *pair).within_noise for pair in pairs]
    assert np.mean(noise) >= 0.85


def test_a_difference_within_noise_is_said_to_be_so():
    made = against(written(2.0, seed=3), written(2.0, seed=4))
    assert (
        made.difference.within_noise
        and made.right.difference.within_noise
        and not any(c.beyond_noise for c in made.changes)
    )
    assert "within noise" in format_verdict(made)[1]


def test_predictions_are_joined_by_id_whatever_their_order():
    straight, shuffled = against(written(1.0), written(3.0, seed=1)), against(written(1.0, seed=0), written(
        3.0, seed=1, shuffle=True, size=64))  # fmt: skip
    assert shuffled.after.score == pytest.approx(straight.after.score, abs=1e-9)
    assert shuffled.right == straight.right


def test_other_folds_are_said_and_their_fold_by_fold_line_is_left_out():
    made = against(written(1.0), written(3.0, split=1))
    assert made.pictures.moved > 200 and made.by_fold is None
    assert any("folds differ" in line for line in format_verdict(made))


def test_only_pictures_that_both_held_out_are_compared():
    made = against(written(1.0), written(3.0, folds=(2,)))
    assert made.pictures.common == 80 == made.after.pictures and made.before.pictures == 400
    assert "of A's 400 and B's 80" in format_verdict(made)[0] and made.by_fold is None
    with pytest.raises(StarshiftError, match="no pictures in common"):
        against(written(1.0, folds=(0,)), written(1.0, folds=(1,)))
    with pytest.raises(StarshiftError, match="no pictures in common"):
        against(written(1.0), written(1.0, ids="q"))
    with pytest.raises(StarshiftError, match="other classes"):
        against(written(1.0), written(1.0, names="xyz"))


def test_only_differing_fields_are_shown_and_a_missing_one_is_none():
    first, second = written(2.0), written(2.0, size=224, bases=("mobilenet_v2", "xception"))
    environment = read_json(second / "environment.json")
    write_json(second / "environment.json", {**environment, "libraries": {"keras": "4"}})
    config = read_json(first / "config.json")
    del config["competition"]["recipe"]["training"]
    write_json(first / "config.json", config)
    made = against(first, second)
    names = [name for name, _, _ in made.differing]
    assert names == ["recipe.bases", "recipe.size", "libraries.keras"]
    assert ("recipe.size", None, 224) in made.differing and "224" in " ".join(format_differences(made))


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "micro_f1"])
def test_the_metric_of_each_picture_has_the_metric_as_its_mean(metric):
    truth = np.arange(300) % 5
    values = probabilities(truth, 5, 1.0)
    values[0] = [0, 1, 0, 0, 0]
    found = metrics.find_metric(metric).score_pictures(truth, values)
    assert found.mean() == pytest.approx(metrics.score(metric, truth, values), abs=1e-6)


def test_an_auc_is_compared_for_the_class_that_is_asked_for():
    weak, strong = (written(sure, competition=PAIR, names="ab", seed=int(sure)) for sure in (0.5, 3.0))
    made = against(weak, strong)
    assert made.difference.low > 0 and made.higher
    assert made.difference.estimate == pytest.approx(made.after.score - made.before.score)
    assert "B is better than A, beyond noise: +" in format_verdict(made)[1]
    assert against(strong, weak).difference.estimate == -made.difference.estimate


def test_one_class_that_really_moved_is_found_among_many_that_did_not():
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(60), 40)
    before = np.where(random.random(len(truth)) < 0.7, truth, (truth + 1) % 60)
    after = np.where(random.random(len(truth)) < 0.7, truth, (truth + 1) % 60)
    after[truth == 7], before[truth == 7] = 7, np.where(np.arange(40) < 20, 7, 8)
    changes = compare_classes([f"class {n}" for n in range(60)], truth, before, after)
    assert [change.name for change in changes if change.beyond_noise] == ["class 7"]
    assert changes[7].gained == 20 and changes[7].after == 1


def test_a_run_is_found_by_name_beginning_or_path_and_otherwise_the_mistake_is_told():
    folder = written(1.0)
    assert (
        find_run_folder(folder.name, None)
        == folder
        == find_run_folder(folder.name[:15], "mine")
        == find_run_folder(str(folder), None)
    )
    with pytest.raises(StarshiftError, match="No run is called 'x'"):
        find_run_folder("x", None)
    written(2.0, strategy="frozen")
    with pytest.raises(StarshiftError, match="More than one run"):
        find_run_folder(folder.name[:4], None)
    with pytest.raises(StarshiftError, match="not finished"):
        load_run(written(1.5, finished=False))


def test_a_misspelt_run_is_answered_by_the_nearest():
    folder = written(1.0)
    write_note(folder, name="first-try")
    start = "-".join(folder.name.split("-")[:2])
    for wrong, meant in (("lastest", "latest"), ("first-tri", "first-try"), (f"x{start}", start)):
        with pytest.raises(StarshiftError, match=rf"did you mean {meant}\?"):
            find_run_folder(wrong, None)


def test_a_number_after_the_second_is_not_taken_for_the_run_without_one(home):
    runs = home / "data" / "runs" / "mine"
    for name in ("20260101-000000-features-aa", "20260101-000000.2-features-bb"):
        write_json(runs / name / "config.json", {})
    assert find_run_folder("20260101-000000", None).name.endswith("aa") and find_run_folder(
        "20260101-000000.2", None
    ).name.endswith("bb")


def test_the_comparison_is_printed_as_a_whole(caplog):
    caplog.set_level("INFO")
    compare_runs(written(1.0).name, written(3.0, seed=1).name)
    said = caplog.text
    for words in ("log_loss", "nothing differs", "beyond noise", "right in A alone", "classes that moved most"):
        assert words in said


def changed(folder, change):
    """Rewrites what a run kept of each picture: `change` gets the rows of folds.csv, and those it returns stay."""
    with (folder / "folds.csv").open() as file:
        rows = change(list(csv.DictReader(file)))
    runs.write_table(folder / "folds.csv", rows)
    ids, classes, values = runs.read_predictions(folder / "oof.npz")
    kept = [row["id"] for row in rows]
    runs.write_predictions(folder / "oof.npz", kept, classes, values[[ids.index(name) for name in kept]])
    return folder


def noisy(share: float, seed: int = 5) -> np.ndarray:
    """Predictions of 400 pictures, so many of them of another class."""
    truth = np.arange(400) % 4
    wrong = np.random.default_rng(seed).random(400) < share
    return (np.eye(4)[np.where(wrong, (truth + 1) % 4, truth)] * 0.9 + 0.025).astype(np.float32)


def corrected(rows):
    return [
        {**row, "label": "abcd"["abcd".index(row["label"]) - 1]} if n % 5 == 0 else row for n, row in enumerate(rows)
    ]


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_a_run_whose_labels_were_corrected_since_is_rescored_on_the_pictures_of_one_label(metric):
    competition = replace(MINE, metric=metric)
    before, after = (written(values=noisy(0.1), competition=competition, seed=n) for n in (0, 1))
    results = read_json(after / "metrics.json")
    write_json(
        after / "metrics.json", {**results, "folds": [score - 0.5 for score in results["folds"]]}
    )  # other labels'
    made = against(before, changed(after, corrected))
    assert made.by_fold.difference.estimate == 0 and made.pictures.relabelled == 80
    assert made.by_fold.pictures == made.pictures.common == 320


def test_a_run_from_which_pictures_were_removed_is_rescored_on_those_that_both_have():
    before, after = written(2.0), changed(written(2.0, seed=0, size=64), lambda rows: rows[::3])
    results = read_json(after / "metrics.json")
    write_json(after / "metrics.json", {**results, "folds": [0.0] * 5})
    made = against(before, after)
    assert made.by_fold.difference.estimate == 0 and made.by_fold.pictures == made.pictures.common == 134


def test_a_fold_without_common_pictures_is_left_out_and_said():
    made = against(
        written(1.0), changed(written(3.0, seed=1), lambda rows: [row for row in rows if row["fold"] != "2"])
    )
    assert (made.by_fold.folds, made.by_fold.of_folds, made.by_fold.pictures) == (4, 5, 320)
    assert any("on 4 of 5 folds, 320 pictures" in line for line in format_verdict(made))


def test_a_fold_of_one_class_is_left_out_of_an_auc_and_said():
    def one_class(rows):
        return [row for row in rows if row["fold"] != "0" or row["label"] == "a"]

    sides = [changed(written(sure, competition=PAIR, names="ab", seed=int(sure)), one_class) for sure in (1.0, 3.0)]
    made = against(*sides)
    assert made.by_fold.folds == 4 and any("on 4 of 5 folds" in line for line in format_verdict(made))


def test_a_few_pictures_that_lie_in_another_fold_are_left_out_and_said():
    def moved(rows):
        return [{**row, "fold": (int(row["fold"]) + 1) % 5} if n < 8 else row for n, row in enumerate(rows)]

    made = against(written(1.0), changed(written(3.0, seed=1), moved))
    assert made.by_fold.pictures == made.pictures.common == 392
    assert any("8 more lie in another fold in B and are left out" in line for line in format_verdict(made))


def test_where_the_folds_and_the_pictures_disagree_the_pictures_decide():
    better = noisy(0.3)
    fold = np.random.default_rng(0).permutation(np.arange(400) % 5)  # as `written` splits
    better[fold == 0] = noisy(0.0)[fold == 0]
    made = against(written(values=noisy(0.3)), written(values=better, seed=1))
    assert made.by_fold.difference.within_noise
    verdicts = [line for line in format_verdict(made) if "noise" in line]
    assert verdicts[0].startswith("B is better than A, beyond noise")
    assert not any(line.startswith("fold by fold") for line in verdicts)


def test_the_score_of_a_comparison_is_the_runs_own_where_both_have_its_folds():
    weak, strong = (written(sure, competition=PAIR, names="ab", seed=int(sure)) for sure in (0.5, 3.0))
    made = against(weak, strong)
    assert made.after.score == pytest.approx(read_json(strong / "metrics.json")["score"], abs=1e-5)


def test_runs_that_share_pictures_and_no_label_are_refused():
    def others(rows):
        return [{**row, "label": "abcd"["abcd".index(row["label"]) - 1]} for row in rows]

    with pytest.raises(StarshiftError, match="share no label"):
        against(written(1.0), changed(written(1.0, seed=1), others))
