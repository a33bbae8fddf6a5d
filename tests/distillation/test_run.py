"""A student taught by runs, the whole way; teachers that have not told of every picture are refused."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Competition, Recipe, RunOptions
from pipeline.distillation import model_cost, report, teacher_predictions, teachers
from pipeline.distillation import run as distilling
from pipeline.errors import StarshiftError
from pipeline.evaluation import intervals
from pipeline.features.extractor import Extractor
from pipeline.files import read_json, write_json
from pipeline.models.base import list_networks
from pipeline.models.heads import softmax
from pipeline.output import collect_json
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.training import linear_probe
from pipeline.training.soft_targets import TARGETS_FILE, DistillationConfig
from pipeline.workflow import finish
from pipeline.workflow import run as flow
from pipeline.workflow.run import prepare_dataset
from tests.conftest import two_classes

TEACHER = "mobilenet_025@conv_pw_3_relu=none"
STUDENT = "mobilenet_025@conv_pw_3_relu=none:1"
OPTIONS = RunOptions(engine="keras")


@pytest.fixture
def mine(tmp_path) -> Competition:
    two_classes(tmp_path / "pictures", each=15, tests=4)
    recipe = Recipe(bases=(TEACHER,), size=32, folds=3, views=("plain",))
    return Competition(name="mine", data=str(tmp_path / "pictures"), metric="log_loss", recipe=recipe)


@pytest.fixture
def data(mine):
    return prepare_dataset(mine, [list_networks(mine.recipe)[0]], OPTIONS)


@pytest.fixture
def teacher(mine, data):
    """The folder of a run on features, but for its model."""
    extractor = Extractor(list_networks(mine.recipe)[0], data.files, wanted="keras")
    seen = {"plain": extractor.features(data.train_digests, "plain")}
    trained = linear_probe.train_heads(
        mine.recipe, train_features=seen, test_features={"plain": seen["plain"][:4]}, labels=data.labels,
        fold_of=data.fold_of, folds=range(3), classes=2,
    )  # fmt: skip
    folder = finish.open_run_folder(mine, OPTIONS, (0, 1, 2))
    finish.write_run_files(mine, data, folder, trained, trained.test, submit=False)
    write_json(folder / "metrics.json", finish.compute_metrics(mine, data, trained))
    return folder


def student(mine: Competition, **changes) -> Competition:
    return replace(mine, recipe=replace(mine.recipe, **{"bases": (STUDENT,), **changes}))


def asked_of(folder, **changes) -> DistillationConfig:
    return DistillationConfig(**{"teachers": (folder.name,), **changes})


def test_a_student_is_a_run_like_any_other_and_what_its_teacher_brought_is_told(mine, home, caplog, capsys):
    caplog.set_level("INFO")
    teacher = flow.run(mine, replace(OPTIONS, skip_submission=True))
    files = distilling.run_distillation(student(mine), asked_of(teacher), OPTIONS, seeds=2)
    found = read_json(files[1])
    (name,) = found["runs"]["distilled"]
    assert [path.name for path in files] == [f"distill-{STUDENT}-features-{name[-8:]}{end}" for end in (".md", ".json")]
    folder = teacher.parent / name
    there = {path.name for path in folder.iterdir()}
    assert {"config.json", "oof.npz", "test.npz", "folds.csv", "model.keras", "submission.csv", "metrics.json"} <= there
    assert TARGETS_FILE not in there and len(pd.read_csv(folder / "submission.csv")) == 4
    config = read_json(folder / "config.json")
    assert config["competition"]["recipe"]["strategy"] == "distill" and config["distillation"]["strategy"] == "features"
    assert config["distillation"]["teacher_records"][0]["run"] == teacher.name
    told, alone, taught = found["sides"]
    assert told["agreement"] == 1 and 0.5 < taught["agreement"] <= 1 and taught["agreement_top5"] is None
    assert told["scores"][0] == pytest.approx(read_json(teacher / "metrics.json")["score"], abs=1e-6)
    assert alone["scores"] != taught["scores"] and len(taught["folds"][0]) == 3
    for side in found["sides"]:
        assert 2_000 < side["cost"]["parameters"] < 20_000 and side["cost"]["pictures_per_second"] > 1
    assert "one seed says all" in caplog.text and "distilled against labels alone" in files[0].read_text()
    with collect_json():
        again = distilling.run_distillation(student(mine), asked_of(teacher), OPTIONS)
    document = json.loads(capsys.readouterr().out)
    assert [side["name"] for side in document["sides"]] == ["teacher", "student, labels alone", "student, distilled"]
    assert document["verdict"] in ("better", "worse", "within noise")
    assert read_json(again[1])["runs"] == found["runs"], "finished runs are taken as they are"
    write_json(teacher.parent / "made" / "config.json", {"made_of": [{"run": teacher.name}, {"run": name}]})
    costs = [
        model_cost.measure_cost(each, data_of(mine), "keras")
        for each in ([teacher], [folder], [teacher.parent / "made"])
    ]
    assert costs[2].parameters == costs[0].parameters + costs[1].parameters
    assert costs[2].megabytes == pytest.approx(costs[0].megabytes + costs[1].megabytes)
    assert costs[2].pictures_per_second > 0


def test_targets_are_joined_by_id_and_never_by_order(teacher, data):
    shuffle(teacher)
    lesson = teachers.build_soft_targets(asked_of(teacher, nested=False), [known_as(teacher)], data, ())
    ids, classes, stored = runs.read_predictions(teacher / "oof.npz")
    by_id = dict(zip(ids, stored[:, [classes.index(name) for name in data.pictures.classes]], strict=True))
    expected = np.stack([by_id[name] for name in data.pictures.train["id"]])
    np.testing.assert_array_equal(lesson.answers["all"][0], expected)


def known_as(teacher) -> teachers.RunTeacher:
    return teachers.RunTeacher(load.load_run(teacher))


def data_of(competition: Competition):
    return prepare_dataset(competition, [list_networks(competition.recipe)[0]], OPTIONS)


def shuffle(folder) -> None:
    """Predictions in another order of pictures and classes."""
    ids, classes, stored = runs.read_predictions(folder / "oof.npz")
    order = np.random.default_rng(0).permutation(len(ids))
    runs.write_predictions(folder / "oof.npz", [ids[k] for k in order], classes[::-1], stored[order][:, ::-1])


def spoil(folder, part: str) -> None:
    """A teacher without some of what it should have."""
    ids, classes, stored = runs.read_predictions(folder / "oof.npz")
    table = pd.read_csv(folder / "folds.csv")
    if part == "file":
        (folder / "oof.npz").unlink()
    elif part == "nothing":
        runs.write_predictions(folder / "oof.npz", ids, classes, np.full_like(stored, np.nan))
    elif part == "pictures":
        runs.write_predictions(folder / "oof.npz", ids[3:], classes, stored[3:])
    elif part == "classes":
        runs.write_predictions(folder / "oof.npz", ids, ["blue", "green"], stored)
    else:
        table[part] = np.roll(table[part], 1)
        table.to_csv(folder / "folds.csv", index=False)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("file", "not finished"),
        ("nothing", "no out-of-fold prediction of some pictures"),
        ("pictures", "none of 3, such as"),
        ("classes", "other classes apart"),
        ("fold", "other folds"),
        ("label", "other labels"),
    ],
)
def test_a_teacher_that_has_not_told_of_every_picture_out_of_its_folds_is_refused(mine, teacher, home, part, words):
    spoil(teacher, part)
    before = set(teacher.parent.iterdir())
    with pytest.raises(StarshiftError, match=words):
        distilling.run_distillation(student(mine), asked_of(teacher, nested=False), OPTIONS)
    assert set(teacher.parent.iterdir()) == before


def test_a_patient_teacher_answers_for_each_view_and_for_the_plain_one_what_its_run_stored(teacher, data):
    asked = asked_of(teacher, patient=True, nested=False)
    lesson = teachers.build_soft_targets(asked, [known_as(teacher)], data, ("plain", "augment-1"), "keras")
    plain, other = lesson.answers["all"]
    assert lesson.views == ("plain", "augment-1") and np.isfinite(other).all()
    np.testing.assert_allclose(
        plain, load.load_run(teacher).align(data.pictures.train["id"], data.pictures.classes), atol=1e-5
    )
    assert np.abs(plain - other).max() > 1e-3


def test_a_teacher_that_no_longer_says_what_it_said_is_refused(teacher, data):
    ids, classes, stored = runs.read_predictions(teacher / "oof.npz")
    runs.write_predictions(teacher / "oof.npz", ids, classes, stored[:, ::-1])
    with pytest.raises(StarshiftError, match="no longer says"):
        teacher_predictions.recompute_predictions(load.load_run(teacher), data, ("plain",), False, "keras")


def test_only_linear_heads_on_features_are_asked_again(mine, teacher):
    config = read_json(teacher / "config.json")
    for changes in ({"strategy": "finetune"}, {"head": "mlp"}):
        recipe = {**config["competition"]["recipe"], **changes}
        other = replace(load.load_run(teacher), config={"competition": {"recipe": recipe}})
        with pytest.raises(StarshiftError, match="cannot be asked again"):
            teacher_predictions.load_teacher_recipe(other)
    for changes in ({"strategy": "augmented"}, {"strategy": "frozen", "training": build_training(end_to_end=True)}):
        with pytest.raises(StarshiftError, match="fresh ones"):
            distilling.list_required_views(student(mine, **changes).recipe, patient=True)


def test_a_head_that_cannot_take_soft_targets_is_refused(mine, teacher):
    with pytest.raises(StarshiftError, match="no use for soft targets"):
        distilling.run_distillation(student(mine, head="lda"), asked_of(teacher), OPTIONS)


def build_training(**changes):
    return replace(Recipe().training, **changes)


def by_labels_of(fold: int, data, *, nested: bool) -> list[np.ndarray]:
    """What a student that holds out the fold is taught of the others, with its labels and with them turned round."""
    found = []
    for labels in (data.labels, np.where(data.pictures.train["fold"] == fold, 1 - data.labels, data.labels)):
        asked = teacher_predictions.FeatureTeacher(
            recipe=replace(Recipe(folds=3, views=("plain",)), l2=1e-4), l2=1e-4,
            scales=dict.fromkeys(range(3), 1.0),
            features={"plain": np.random.default_rng(0).normal(size=(len(labels), 50)).astype(np.float32)},
            labels=labels, fold_of=data.fold_of, classes=2,
        )  # fmt: skip
        answers = asked.nested(())[str(fold)] if nested else asked.out_of_fold(asked.own(), ())
        found.append(answers[:, asked.fold_of != fold])
    return found


def test_nested_teachers_have_not_seen_a_label_of_the_student_s_fold_and_others_have(data):
    one, other = by_labels_of(1, data, nested=True)
    np.testing.assert_array_equal(one, other)
    assert np.isfinite(one).all()
    one, other = by_labels_of(1, data, nested=False)
    assert np.abs(one - other).max() > 0.05, "the second-hand leak"


def test_a_nested_teacher_is_as_sure_as_the_heads_of_its_run_are(teacher, data):
    run = load.load_run(teacher)
    l2, scales = teacher_predictions.read_l2_and_scales(run)
    history = pd.read_csv(teacher / "history.csv")
    chosen = history[history["chosen"]]
    assert l2 == chosen["l2"].iloc[0]
    assert scales == dict(zip(chosen["fold"], chosen["scale"], strict=True)) and set(scales) == {0, 1, 2}
    sure = teacher_predictions.recompute_predictions(run, data, (), True, "keras")["0"][0]
    history.assign(scale=np.where(history["fold"] == 0, 1e-3, history["scale"])).to_csv(
        teacher / "history.csv", index=False
    )
    again = teacher_predictions.recompute_predictions(load.load_run(teacher), data, (), True, "keras")
    timid, other = again["0"][0], again["1"][0]
    seen = data.fold_of != 0
    assert np.abs(timid[seen] - 0.5).max() < 0.05 < np.abs(sure[seen] - 0.5).max()
    assert np.nanmax(np.abs(other - 0.5)) > 0.05, "students of other folds have their own scale"
    history.drop(columns="scale").to_csv(teacher / "history.csv", index=False)
    assert teacher_predictions.read_l2_and_scales(load.load_run(teacher)) == (l2, dict.fromkeys(range(3), 1.0))


def test_nested_targets_of_the_student_s_own_fold_are_not_there(teacher, data):
    lesson = teachers.build_soft_targets(asked_of(teacher, nested=True), [known_as(teacher)], data, (), "keras")
    fold_of = data.fold_of
    assert set(lesson.answers) == {"0", "1", "2"}
    for fold in range(3):
        assert np.isnan(lesson.answers[str(fold)][0, fold_of == fold]).all()
        assert np.isfinite(lesson.answers[str(fold)][0, fold_of != fold]).all()


def judged_of(noise: float, metric: str = "log_loss", classes: int = 7) -> report.DistillationEvaluation:
    random = np.random.default_rng(1)
    truth = np.arange(350) % classes
    best = 3 * np.eye(classes)[truth] + random.normal(size=(350, classes))
    before = np.stack([softmax(best + random.normal(size=best.shape) * 3) for _ in range(3)])
    after = np.stack([softmax(best + random.normal(size=best.shape) * noise) for _ in range(3)])
    return report.DistillationEvaluation(
        metric=metric, positive=None, truth=truth, fold_of=np.arange(350) // 70, teacher=softmax(best), before=before,
        after=after, validation_share=0.2,
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_a_gain_is_told_from_noise_and_the_gap_is_closed_between_0_and_1(metric):
    gains = report.compute_gains(judged_of(0.7, metric))
    assert gains.sure and gains.gap is not None and 0.5 < gains.gap.low < gains.gap.high < 1
    teacher, alone, taught = report.score_sides(judged_of(0.7, metric))
    assert teacher.agreement_top5 == 1 and alone.agreement < taught.agreement < taught.agreement_top5 < 1
    assert not report.compute_gains(judged_of(3.0, metric)).sure
    judged = judged_of(0.7, metric)
    nearly = 0.999 * judged.before[0] + 0.001 * judged.teacher
    assert report.compute_gains(replace(judged, teacher=nearly)).gap is None, (
        "a teacher that knows no more, beyond noise"
    )


def test_an_area_under_the_curve_is_judged_too():
    judged = judged_of(0.7, "auc", classes=2)
    gains = report.compute_gains(judged)
    assert gains.sure and gains.gap is not None and 0.5 < gains.gap.estimate < 1
    expected = np.mean([judged.by_fold(one, "auc").mean() for one in judged.after])
    assert report.score_sides(judged)[2].score == pytest.approx(expected)


def test_worse_is_said_only_where_pictures_and_seeds_say_so():
    below, across = intervals.Interval(-0.1, -0.2, -0.05), intervals.Interval(-0.1, -0.4, 0.2)
    gains = report.DistillationGains(seeds=below, folds=across, pictures=below, gap=None)
    assert gains.harmful and not gains.sure and replace(gains, seeds=None).harmful
    assert not replace(gains, seeds=across).harmful and not replace(gains, pictures=across).harmful


def test_one_picture_more_on_every_fold_with_every_seed_is_no_gain_beyond_noise():
    truth, fold_of = np.arange(100) % 2, np.arange(100) // 20
    right = np.eye(2)[truth] * 0.8 + 0.1
    before = np.where((np.arange(100) % 20 == 0)[:, None], 1 - right, right)
    gains = report.compute_gains(report.DistillationEvaluation(
        metric="accuracy", positive=None, truth=truth, fold_of=fold_of, teacher=right, before=np.stack([before] * 2),
        after=np.stack([right] * 2), validation_share=0.2,
    ))  # fmt: skip
    assert gains.folds.within_noise and gains.seeds.is_bounded and not gains.sure
