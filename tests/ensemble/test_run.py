"""Runs made of runs: which go together, joined by id, written so that they explain themselves, rebuilt to the bit."""

import json
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

import competitions
from pipeline.ensemble import members, methods, run
from pipeline.ensemble import members as joining
from pipeline.ensemble import steps as finishing
from pipeline.ensemble.log_linear import softmax
from pipeline.ensemble.run import EnsembleRequest, format_weights
from pipeline.ensemble.steps import StepwiseSelection
from pipeline.errors import StarshiftError
from pipeline.evaluation import intervals
from pipeline.evaluation.nested_cv import BetterOfTwo, FunctionProcedure, OneStandardErrorRule
from pipeline.figures import step_table
from pipeline.figures.step_table import StepResult
from pipeline.files import read_json, write_json
from pipeline.runs import folder as runs
from tests.cli.test_tasks import invoke
from tests.conftest import drawn as drawn_picture
from tests.conftest import encoded, two_classes
from tests.ensemble.test_methods import drawn, held_of

CLASSES = ["blue", "red"]


@pytest.fixture
def mine(tmp_path):
    return write_competition_of_many(tmp_path)


def write_competition_of_many(folder):
    """Writes the pictures and the file of a competition with enough pictures to judge steps on."""
    two_classes(folder / "pictures", each=60, tests=8)
    (folder / "pictures" / "test" / "9.jpg").write_bytes(b"")
    file = folder / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", data="pictures", metric="log_loss",\n'
        '    recipe=Recipe(bases=("mobilenet_025=none",), size=32, folds=3))\n'
    )
    return str(file)


def truth():
    ids = [f"{name}/{number}.jpg" for name in CLASSES for number in range(60)]
    return ids, np.repeat([0, 1], 60), np.arange(120) % 3


def logits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a run says of training and of test pictures, (pictures,); seed 99 knows nothing."""
    random, labels = np.random.default_rng(seed), truth()[1]
    known = 0.0 if seed == 99 else 1.0
    signs = np.append(np.arange(8) % 2 * -2 + 1, 1)
    return known * (2 * labels - 1) + random.normal(size=120), known * signs + random.normal(size=9)


def write_run(comp: str, seed: int, *, folds=None, base="mobilenet_025", debug=False, trained=(0, 1, 2), turn=1) -> str:
    """A finished run with predictions of this seed, its rows in an order of its own."""
    competition = competitions.find(comp)
    ids, labels, fold_of = truth()
    fold_of = fold_of if folds is None else folds
    recipe = replace(competition.recipe, seed=seed, bases=(base,))
    config = {"competition": asdict(replace(competition, recipe=recipe)), "folds": list(trained), "debug": debug}
    folder = runs.create_run_folder("mine", "features", config, f"{seed:08d}{turn}".ljust(64, "0"))
    held, test = logits(seed)
    order, columns = np.random.default_rng(seed).permutation(120), [0, 1][::turn]
    values = 1 / (1 + np.exp(-np.stack([-2 * held, 2 * held], axis=1)))
    names = [CLASSES[column] for column in columns]
    shuffled = values[order][:, columns].astype(np.float32)
    runs.write_predictions(folder / "oof.npz", [ids[row] for row in order], names, shuffled)
    tests = 1 / (1 + np.exp(-np.stack([-2 * test, 2 * test], axis=1)))
    test_ids = [f"{number}.jpg" for number in range(8)] + ["9.jpg"]
    backwards = tests[::-1][:, columns].astype(np.float32)
    runs.write_predictions(folder / "test.npz", test_ids[::-1], names, backwards)
    rows = [
        {"id": ids[row], "label": CLASSES[labels[row]], "fold": fold_of[row], "group": ids[row]}
        for row in np.random.default_rng(seed + 1).permutation(120)
    ]
    runs.write_table(folder / "folds.csv", rows)
    write_json(folder / "metrics.json", {"score": 0.5, "metric": "log_loss", "unreadable": {"test/9.jpg": "empty"}})
    return folder.name


def made(comp: str, **asked):
    return run.run_ensemble(competitions.find(comp), [], EnsembleRequest(**asked))


def test_runs_are_joined_by_id_and_the_winner_explains_itself(mine, home, capsys):
    names = [write_run(mine, 1), write_run(mine, 2, turn=-1), write_run(mine, 99)]
    folder = made(mine)
    found = {path.name for path in folder.iterdir()}
    wanted = "config digests environment metrics folds history oof test submission steps report"
    assert {name.partition(".")[0] for name in found} == set(wanted.split())
    config, results = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    assert [each["run"] for each in config["made_of"]] == sorted(names) and "ensemble" in config["steps"]
    assert config["competition"]["recipe"]["strategy"] == "ensemble" and len(config["made_of"][0]["oof"]) == 64
    held = [1 / (1 + np.exp(-2 * logits(seed)[0])) for seed in (1, 2)]
    ids, classes, probabilities = runs.read_predictions(folder / "oof.npz")
    place = [ids.index(name) for name in truth()[0]]
    mixed = probabilities[place][:, classes.index("red")]
    assert min(np.corrcoef(mixed, each)[0, 1] for each in held) > 0.6
    assert np.corrcoef(mixed, 1 / (1 + np.exp(-2 * logits(99)[0])))[0, 1] < 0.2
    truths = np.stack([1 - truth()[1], truth()[1]], axis=1)
    right = probabilities[place][:, [classes.index(name) for name in CLASSES]][truths == 1]
    fold_of = truth()[2]
    assert results["folds"] == pytest.approx([-np.log(right[fold_of == fold]).mean() for fold in range(3)], rel=1e-5)
    assert results["score"] < results["before"] and results["metric"] == "log_loss"


def test_a_picture_that_cannot_be_read_keeps_the_prior_and_the_submission_is_written(mine, home):
    write_run(mine, 1)
    write_run(mine, 2, turn=-1)
    folder = made(mine)
    table = pd.read_csv(home / "submissions" / "mine" / f"{folder.name}.csv").set_index("id")
    assert table.loc["9.jpg", "red"] == pytest.approx(0.5) and len(table) == 9
    both = np.mean([logits(seed)[1][:8] for seed in (1, 2)], axis=0)
    values = table.loc[[f"{number}.jpg" for number in range(8)], "red"]
    assert np.corrcoef(values, 1 / (1 + np.exp(-2 * both)))[0, 1] > 0.95


def test_a_run_made_of_others_is_rebuilt_to_the_bit_and_a_changed_member_is_noticed(mine, home):
    names = [write_run(mine, 1), write_run(mine, 2)]
    folder = made(mine)
    assert run.rebuild_run(competitions.find(mine), folder.name) == folder
    first = (folder / "test.npz").read_bytes()
    ids, classes, values = runs.read_predictions(folder / "test.npz")
    runs.write_predictions(folder / "test.npz", ids, classes, np.nextafter(values, 1))
    runs.write_digests(folder)
    with pytest.raises(StarshiftError, match="comes out differently"):
        run.rebuild_run(competitions.find(mine), folder.name)
    (folder / "test.npz").write_bytes(first)
    runs.write_digests(folder)
    member = home / "data" / "runs" / "mine" / names[0] / "oof.npz"
    ids, classes, values = runs.read_predictions(member)
    runs.write_predictions(member, ids, classes, values[:, ::-1])
    with pytest.raises(StarshiftError, match="not the one"):
        run.rebuild_run(competitions.find(mine), folder.name)
    with pytest.raises(StarshiftError, match="not made of others"):
        run.rebuild_run(competitions.find(mine), names[1])
    shutil.rmtree(member.parent)
    with pytest.raises(StarshiftError, match=f"The member {names[0]} cannot be read"):
        run.rebuild_run(competitions.find(mine), folder.name)


@pytest.mark.parametrize("damage", [b"", b"words", b"PK"])
def test_a_run_whose_predictions_are_damaged_is_left_out_and_said_to_be(mine, home, damage):
    names = [write_run(mine, seed) for seed in (1, 2, 3)]
    (home / "data" / "runs" / "mine" / names[1] / "test.npz").write_bytes(damage)
    gathered = joining.load_aligned_members(competitions.find(mine))
    assert [member.folder.name for member in gathered.members] == [names[0], names[2]]
    assert gathered.left_out == [(names[1], f"{names[1]}/test.npz is damaged.")]
    with pytest.raises(StarshiftError, match="is damaged"):
        joining.load_aligned_members(competitions.find(mine), names)


def test_the_same_ensemble_is_one_run_and_its_submission_the_latest(mine, home, caplog):
    caplog.set_level("INFO")
    names = [write_run(mine, 1), write_run(mine, 2)]
    folder = made(mine)
    latest = home / "submissions" / "mine" / "latest.csv"
    written = latest.read_bytes()
    latest.write_text("another run's")
    assert run.run_ensemble(competitions.find(mine), names[::-1], EnsembleRequest()) == folder
    assert f"the same to the bit as {folder.name}" in caplog.text and latest.read_bytes() == written
    ids, classes, values = runs.read_predictions(folder / "test.npz")
    runs.write_predictions(folder / "test.npz", ids, classes, np.nextafter(values, 1))
    runs.write_digests(folder)
    assert made(mine) != folder  # as after a change of the code: what is there is another result
    assert made(mine, methods=("mean",)) != folder


@pytest.mark.slow
def test_scenes_are_tried_where_they_are_asked_for_and_dropped_where_there_are_none(mine, home):
    for seed in (1, 2):
        write_run(mine, seed, base="mobilenet_025=none")
    folder = made(mine, scenes=True)
    steps = {step["name"]: step["kept"] for step in read_json(folder / "metrics.json")["steps"]}
    assert steps["labels of the scene"] is False and steps["scenes agree"] is False
    assert read_json(folder / "config.json")["asked"]["scenes"] is True
    assert run.rebuild_run(competitions.find(mine), folder.name) == folder


def test_what_does_not_go_together_is_left_out_and_said_to_be(mine, home):
    kept = {write_run(mine, seed) for seed in (1, 2, 3)}
    reasons = {
        write_run(mine, 4, debug=True): "a debug run",
        write_run(mine, 5, trained=(1,)): "only 1 of its 3 folds",
        write_run(mine, 6, folds=truth()[2][::-1]): "other pictures or folds",
    }
    twin = write_run(mine, 7)
    for part in ("oof", "test"):
        source = home / "data" / "runs" / "mine" / sorted(kept)[0] / f"{part}.npz"
        (home / "data" / "runs" / "mine" / twin / f"{part}.npz").write_bytes(source.read_bytes())
    other = made(mine)
    reasons[other.name] = "made of other runs"
    gathered = joining.load_aligned_members(competitions.find(mine))
    left = dict(gathered.left_out)
    same = sorted(kept)[0]
    assert left.pop(same) == f"predicts the same as {twin}"
    assert left == reasons
    assert {member.folder.name for member in gathered.members} == (kept - {same}) | {twin}


def test_a_run_that_was_named_and_does_not_fit_is_an_error(mine, home):
    with pytest.raises(StarshiftError, match="no run to start from"):
        joining.load_aligned_members(competitions.find(mine))
    good, debug = write_run(mine, 1), write_run(mine, 2, debug=True)
    with pytest.raises(StarshiftError, match="a debug run"):
        joining.load_aligned_members(competitions.find(mine), [good, debug])
    with pytest.raises(StarshiftError, match="two runs"):
        run.run_ensemble(competitions.find(mine), [good], EnsembleRequest())
    with pytest.raises(StarshiftError, match="no such method"):
        write_run(mine, 3)
        made(mine, methods=("alchemy",))


def test_where_nothing_helps_nothing_is_written(mine, home):
    write_run(mine, 1)
    write_run(mine, 99)
    assert made(mine, finish=False, methods=("best single",)) is None
    assert not list((home / "data" / "runs" / "mine").glob("*-ensemble-*"))


def test_the_command_line_makes_an_ensemble_and_a_finish(mine, home):
    write_run(mine, 1)
    write_run(mine, 2)
    done = invoke("ensemble", "--comp", mine)
    assert done.returncode == 0 and "best single base" in done.stdout and "temperature" in done.stdout, done.stderr
    name = next((home / "data" / "runs" / "mine").glob("*-ensemble-*")).name
    again = invoke("ensemble", "--comp", mine, "--rebuild", name)
    assert again.returncode == 0 and "the same to the bit" in again.stdout, again.stderr
    alone = invoke("finish", "--comp", mine)
    assert alone.returncode == 0 and "clipping" in alone.stdout, alone.stderr
    config = json.loads((home / "data" / "runs" / "mine" / name / "config.json").read_text())
    assert len(config["made_of"]) == 2


def test_a_table_of_steps_says_what_was_kept_and_the_chart_is_drawn():
    interval = step_table.Interval(0.1, 0.05, 0.15)
    start = StepResult(kind="step", name="best single base", folds=[0.5, 0.6, 0.7], kept=True)
    better = StepResult(kind="step", name="ensemble", folds=[0.4, 0.5, 0.6], against=start.name, gain=interval).taken(
        True
    )
    noise = replace(better, name="clipping", gain=step_table.Interval(0.001, -0.1, 0.1)).taken(False)
    lines, fallen = (
        step_table.format_step_table([start, better, noise], "log_loss"),
        step_table.Interval(-0.1, -0.15, -0.05),
    )
    assert lines[0].endswith("verdict       final fit") and "nested (judged)" in lines[0]
    assert re.search(r"\+0.10000 ± 0.05000 +better +kept$", lines[2])
    assert re.search("within noise +left out$", lines[3])
    assert "-16.7%" in step_table.format_total_gain([start, better, noise], "log_loss", fallen)
    assert step_table.plot_steps([start, better, noise], "log_loss", fallen)[:4] == b"\x89PNG"
    assert step_table.format_total_gain([start], "auc", fallen).startswith("nothing beats")


def test_a_correction_is_kept_beyond_noise_only_and_a_choice_where_it_is_better_at_all():
    truth, labels = drawn(np.random.default_rng(1), 1500, 6)
    for bent, kept in ((2.0, True), (1.0, False)):
        held = held_of([softmax(bent * np.log(truth))], labels, "log_loss")
        climb = StepwiseSelection(FunctionProcedure(held, "run as it is", methods.fit_best_single))
        finishing.try_steps(climb, list("abcdef"), several=False)
        assert [step.name for step in climb.steps] == ["run as it is", "temperature", "vector scaling", "clipping"]
        assert climb.steps[1].kept == kept and climb.steps[1].note.startswith("temperature ")
        assert climb.current.name == ("temperature" if kept else "run as it is")
    slightly = softmax(np.log(truth) + 0.2 * np.random.default_rng(2).normal(size=truth.shape))
    held = held_of([slightly, truth], labels, "log_loss")
    first, other = (
        FunctionProcedure(held, name, methods.build_single(number)) for number, name in enumerate(("first", "other"))
    )
    assert StepwiseSelection(first).attempt(other, beyond_noise=False) and not StepwiseSelection(other).attempt(
        first, beyond_noise=False
    )
    assert not StepwiseSelection(other).attempt(other, beyond_noise=False)


def test_each_fold_is_judged_by_what_the_other_folds_would_have_kept():
    truth, labels = drawn(np.random.default_rng(1), 1500, 6)
    held = held_of([truth, softmax(np.log(truth))], labels, "log_loss")
    values = held.part.predictions.copy()
    values[1, held.fold_of == 0] = softmax(20 * np.log(truth[held.fold_of == 0]))  # by this fold it loses
    values[0, held.fold_of != 0] = softmax(1.3 * np.log(truth[held.fold_of != 0]))
    held = replace(held, part=replace(held.part, predictions=values))
    earlier, later = (
        FunctionProcedure(held, name, methods.build_single(number)) for number, name in enumerate(("earlier", "later"))
    )
    either = BetterOfTwo(earlier, later)
    found = either.out_of(held.folds)
    for fold in held.folds:
        taken = 1 if either.is_later(held.folds - {fold}) else 0
        np.testing.assert_allclose(found[held.fold_of == fold], values[taken][held.fold_of == fold], atol=1e-6)
    assert either.is_later(held.folds - {0}) and not either.is_later(held.folds)


def test_members_that_know_nothing_are_not_said_to_gain_by_being_put_together():
    gains = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        labels, members = random.integers(0, 2, 200), random.uniform(size=(4, 200))
        held = held_of([np.stack([1 - one, one], axis=1) for one in members], labels, "auc")
        best = max(range(4), key=lambda number: held.gain(held.part.predictions[number]))
        climb = StepwiseSelection(FunctionProcedure(held, "best run", methods.build_single(best)))
        among = [FunctionProcedure(held, name, methods.METHODS[name]) for name in ("mean", "rank mean", "best single")]
        kept = climb.attempt(OneStandardErrorRule(held, "ensemble", among), beyond_noise=False)
        gains.append(climb.steps[1].gain.estimate if kept else 0.0)
    assert min(gains) >= 0 and np.mean(gains) < 0.005


def test_a_run_made_of_others_names_its_bases_as_their_recipes_do(mine, home):
    for seed in (1, 2):
        write_run(mine, seed, base="mobilenet_025=/elsewhere/mine.weights.h5")
    recipe = read_json(made(mine) / "config.json")["competition"]["recipe"]
    assert recipe["bases"] == ["mobilenet_025=/elsewhere/mine.weights.h5"] and recipe["size"] == 32
    write_run(mine, 3, base="xception")
    assert read_json(made(mine) / "config.json")["competition"]["recipe"]["bases"][1] == "xception"


def test_a_competition_that_was_given_as_a_file_is_called_by_it_in_what_to_type_next(mine, home):
    write_run(mine, 1)
    with pytest.raises(StarshiftError, match=f"invoke run --comp {mine} "):
        made(mine)


def test_one_run_alone_is_not_written_as_an_ensemble(mine, home, caplog):
    caplog.set_level("INFO")
    names = [write_run(mine, 99), write_run(mine, 1)]
    path = home / "data" / "runs" / "mine" / names[1] / "config.json"
    config = read_json(path)
    config["competition"]["recipe"]["bases"] = ["mobilenet_025", "xception"]
    write_json(path, config)
    assert made(mine, methods=("best single",), finish=False) is None
    assert not [path for path in (home / "data" / "runs" / "mine").iterdir() if "ensemble" in path.name]
    assert f"nothing is written: the run {names[1]} is as good" in caplog.text
    assert "best combination" in caplog.text and "kept" in caplog.text


def test_an_auc_is_offered_ranks_and_no_calibration():
    truth, labels = drawn(np.random.default_rng(4), 400, 2)
    held = held_of([truth, truth[:, ::-1]], labels, "auc")
    climb = StepwiseSelection(FunctionProcedure(held, "mean", methods.fit_mean))
    finishing.try_steps(climb, ["a", "b"], several=True)
    assert [step.name for step in climb.steps] == ["mean", "rank averaging"]


def test_whom_a_run_is_made_of_is_told_by_the_size_of_the_weights_whatever_their_sign():
    told = {"weights": [0.2, -0.9, 0.0, 0.1, 0.3, 0.4]}
    assert format_weights(told, [f"run {name}" for name in "abcdef"]) == ": -0.90 b, 0.40 f, 0.30 e, 0.20 a and 1 more"


def test_a_class_or_a_picture_called_na_is_no_missing_value(tmp_path):
    runs.write_table(tmp_path / "folds.csv", [{"id": "NA", "label": "null", "fold": 0, "group": "nan"}])
    for part in ("oof", "test"):
        runs.write_predictions(tmp_path / f"{part}.npz", ["NA"], ["NA", "null"], np.ones((1, 2), np.float32) / 2)
    for name in ("config", "metrics"):
        write_json(tmp_path / f"{name}.json", {"folds": [0]})
    member = members.load_member(tmp_path)
    assert member.folds.loc["NA", ["label", "group"]].tolist() == ["null", "nan"]


def test_a_step_that_is_right_once_more_on_every_fold_is_dropped_and_one_that_is_right_twice_more_kept():
    labels = np.arange(150) % 3
    for more in (1, 2):
        wrong = np.eye(3)[np.where(np.arange(150) // 5 % 30 < more + 3, (labels + 1) % 3, labels)]
        fewer = np.eye(3)[np.where(np.arange(150) // 5 % 30 < 3, (labels + 1) % 3, labels)]
        held = held_of([wrong, fewer], labels, "accuracy")
        climb = StepwiseSelection(FunctionProcedure(held, "run", methods.build_single(0)))
        assert climb.attempt(FunctionProcedure(held, "step", methods.build_single(1))) == (more == 2)
        assert (climb.steps[1].verdict == "within noise") == (climb.steps[1].final_fit == "left out") == (more == 1)
        difference = intervals.estimate_fold_difference(held, wrong, fewer)
        assert more == 1 or "beyond noise" in step_table.format_total_gain(climb.steps, "accuracy", difference)


def test_a_table_says_in_words_that_nothing_is_known_of_the_spread():
    gain = step_table.Interval(0.1, -np.inf, np.inf)
    step = StepResult(kind="step", name="clipping", folds=[0.4, 0.5], against="run", gain=gain)
    assert (
        "+0.10000 ± unknown" in step_table.format_step_table([step], "log_loss")[1]
        and step.record()["gain_low"] is None
    )


def three_classes(tmp_path, home, metric: str, folds: int = 3) -> str:
    """Two runs on pictures of three classes, right about every one of them. Returns the competition's file."""
    two_classes(tmp_path / "pictures", each=6, tests=2)
    (tmp_path / "pictures" / "train" / "white").mkdir()
    for number in range(6):
        (tmp_path / "pictures" / "train" / "white" / f"{number}.jpg").write_bytes(
            encoded(drawn_picture(number, 32, 32))
        )
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        f'COMPETITION = Competition(name="mine", data="pictures", metric="{metric}",\n'
        f'    recipe=Recipe(bases=("mobilenet_025=none",), size=32, folds={folds}))\n'
    )
    names = ["blue", "red", "white"]
    ids = [f"{name}/{number}.jpg" for name in names for number in range(6)]
    for seed, sure in ((1, 1.0), (2, 0.9)):
        competition = competitions.find(str(file))
        competition = replace(competition, recipe=replace(competition.recipe, seed=seed))
        config = {"competition": asdict(competition), "folds": list(range(folds)), "debug": False}
        folder = runs.create_run_folder("mine", "features", config, f"{seed:08d}".ljust(64, "0"))
        values = (np.eye(3) * sure + (1 - sure) / 3)[np.repeat(range(3), 6)].astype(np.float32)
        runs.write_predictions(folder / "oof.npz", ids, names, values)
        runs.write_predictions(folder / "test.npz", ["0.jpg", "1.jpg"], names, values[[0, 6]])
        rows = [{"id": name, "label": name.partition("/")[0], "fold": n % folds, "group": name}
                for n, name in enumerate(ids)]  # fmt: skip
        runs.write_table(folder / "folds.csv", rows)
        write_json(folder / "metrics.json", {"score": 1.0, "metric": metric, "unreadable": {}})
    return str(file)


@pytest.mark.parametrize("metric", ["micro_f1", pytest.param("log_loss", marks=pytest.mark.slow)])
def test_two_perfect_runs_on_a_small_set_end_well(tmp_path, home, metric, caplog):
    caplog.set_level("INFO")
    assert (
        run.run_ensemble(competitions.find(three_classes(tmp_path, home, metric)), [], EnsembleRequest(scenes=True))
        is None
    )
    assert "nothing is written" in caplog.text and "Traceback" not in caplog.text
    assert metric == "log_loss" or ("not tried" in caplog.text and "nothing is confused" in caplog.text)


def test_labels_that_have_changed_since_the_runs_are_said_to_be_judged_by_those_of_then(tmp_path, home, caplog):
    file = three_classes(tmp_path, home, "accuracy")
    for folder in (home / "data" / "runs" / "mine").iterdir():
        text = (folder / "folds.csv").read_text()
        (folder / "folds.csv").write_text(text.replace("red/0.jpg,red", "red/0.jpg,blue"))
    joining.load_aligned_members(competitions.find(file))
    assert "1 have changed since these runs, such as that of 'red/0.jpg'" in caplog.text
