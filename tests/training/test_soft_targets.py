"""Distillation: the loss and its gradients, what knowledge passes on, and that weight 0 is training on labels."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.files import hash_json
from pipeline.models.heads import softmax
from pipeline.training import cross_validation, fold_job, fold_worker, soft_targets
from pipeline.training.data_loader import CachedViewSource, TrainSequence
from pipeline.training.fold_data import FoldData
from pipeline.training.heads import logistic_regression, mlp
from pipeline.training.soft_targets import (
    DistillationConfig,
    SoftTargetLoss,
    SoftTargets,
    TargetSource,
    apply_temperature,
)
from tests.conftest import needs_tensorflow
from tests.gradients import gradients_of


def logits_of(seed: int, rows: int = 6, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, classes)) * 2


def with_labels(logits: np.ndarray, labels: np.ndarray, soft: SoftTargetLoss) -> tuple[float, np.ndarray]:
    """Value and slopes of the whole loss in float64."""
    hard = np.exp(soft_targets.log_softmax(logits))
    value = -float(np.mean(np.log(hard[np.arange(len(labels)), labels])))
    return soft.added(logits, value, hard - np.eye(logits.shape[1])[labels])


def test_tempered_targets_are_the_softmax_of_softer_logits():
    probabilities = softmax(logits_of(0))
    np.testing.assert_allclose(apply_temperature(probabilities, 1.0), probabilities, atol=1e-6)
    np.testing.assert_allclose(apply_temperature(probabilities, 3.0), softmax(logits_of(0) / 3), atol=1e-6)
    assert np.isfinite(apply_temperature(np.array([[1.0, 0.0]]), 1.0)).all()
    assert np.isnan(apply_temperature(np.full((1, 2), np.nan), 2.0)).all()


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_slopes_are_those_of_the_loss(temperature):
    logits, labels = logits_of(1), np.arange(6) % 4
    soft = SoftTargetLoss(
        targets=apply_temperature(softmax(logits_of(2)), temperature), temperature=temperature, weight=0.7
    )
    _, slopes = with_labels(logits, labels, soft)
    for row, column in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[row, column] = 1e-5
        up, down = (with_labels(logits + sign * step, labels, soft)[0] for sign in (1, -1))
        assert (up - down) / 2e-5 * len(logits) == pytest.approx(slopes[row, column], abs=1e-4)


def test_with_growing_temperature_the_slopes_become_those_of_matching_logits():
    student, teacher = (one - one.mean(axis=1, keepdims=True) for one in (logits_of(3), logits_of(4) / 2))
    matching = (student - teacher) / student.shape[1]
    away = []
    for temperature in (2.0, 10.0, 100.0):
        soft = SoftTargetLoss(
            targets=apply_temperature(softmax(teacher), temperature), temperature=temperature, weight=1.0
        )
        _, slopes = with_labels(student, np.zeros(6, int), soft)
        away.append(np.linalg.norm(slopes - matching) / np.linalg.norm(matching))
    assert away[0] > 2 * away[1] > 10 * away[2] and away[2] < 0.03, "without T^2 the slopes would vanish as 1 / T^2"


def test_keras_and_l_bfgs_go_down_the_same_slopes():
    logits, labels = logits_of(5).astype(np.float32) * 8, np.arange(6) % 4
    soft = SoftTargetLoss(targets=apply_temperature(softmax(logits_of(6)), 2.5), temperature=2.5, weight=0.8)
    value, slopes = with_labels(logits.astype(np.float64), labels, soft)
    truth = np.concatenate([np.eye(4, dtype=np.float32)[labels], soft.targets], axis=1)
    live, loss = keras.Variable(logits), soft_targets.build_distillation_loss(2.5, 0.8)
    np.testing.assert_allclose(np.mean(loss(truth, keras.ops.softmax(live))), value, rtol=1e-4)
    (found,) = gradients_of(lambda: keras.ops.sum(loss(truth, keras.ops.softmax(live))), [live])
    np.testing.assert_allclose(found, slopes, atol=2e-4)


def clusters(seed: int, known: int = 40, classes: int = 5, width: int = 20):
    """A few pictures whose labels are drawn from what a teacher knows, and many that are asked for."""
    random = np.random.default_rng(seed)
    knowledge = random.normal(size=(width, classes)) * 0.7
    features = random.normal(size=(known + 2000, width)).astype(np.float32)
    truth = softmax(features @ knowledge)
    labels = np.array([random.choice(classes, p=row / row.sum()) for row in truth.astype(np.float64)])
    return features, truth, labels, known


def student_of(seed: int, soft_weight: float | None):
    features, truth, labels, known = clusters(seed)
    soft = None
    if soft_weight is not None:
        soft = SoftTargetLoss(targets=apply_temperature(truth[:known], 2.0), temperature=2.0, weight=soft_weight)
    one = logistic_regression.FoldFeatures(
        number=0, features=features[:known], labels=labels[:known], held_features=features[known:],
        held_labels=labels[known:], soft=soft,
    )  # fmt: skip
    heads, _ = logistic_regression.fit([one], 5, 1e-3)
    return heads[0], features[known:], truth[known:]


def test_a_teacher_s_knowledge_passes_to_a_student_with_few_labels():
    gains = []
    for seed in range(10):
        right = []
        for weight in (None, 0.9):
            head, features, truth = student_of(seed, weight)
            right.append((head.probabilities(features).argmax(axis=1) == truth.argmax(axis=1)).mean())
        gains.append(right[1] - right[0])
    assert min(gains) > 0, "ten of ten by chance: one time in a thousand"
    assert np.mean(gains) > 0.08


def test_a_dense_head_learns_from_a_teacher_what_wrong_labels_hide(monkeypatch):
    monkeypatch.setattr(mlp, "EPOCHS", 12)
    features, truth, _, _ = clusters(3)
    known, best, random = 150, truth.argmax(axis=1), np.random.default_rng(3)
    labels = np.where(random.random(known) < 0.4, random.integers(0, 5, known), best[:known])
    soft, right = SoftTargetLoss(targets=apply_temperature(truth[:known], 2.0), temperature=2.0, weight=0.9), []
    for each in (None, soft):
        one = logistic_regression.FoldFeatures(
            number=0, features=features[:known], labels=labels, held_features=features[known:200],
            held_labels=best[known:200], soft=each,
        )  # fmt: skip
        (head,), history = mlp.fit([one], 5, 0)
        right.append((head.probabilities(features[200:]).argmax(axis=1) == best[200:]).mean())
    assert right[1] > right[0] + 0.1
    assert history[0]["inner_val_loss"] < 2.5, "of the labels, log 5 at first, and not the whole loss"


def test_a_linear_student_with_weight_0_is_the_one_on_labels_to_the_bit():
    (alone, _, _), (taught, _, _), (other, _, _) = (student_of(1, weight) for weight in (None, 0.0, 0.1))
    assert all(np.array_equal(a, b) for a, b in zip(alone.layers[0], taught.layers[0], strict=True))
    assert not np.array_equal(alone.layers[0][0], other.layers[0][0])


def taught(cv, weight: float, views=()):
    """The same folds with a teacher who mistakes red for blue."""
    wrong = np.where(np.array(cv.job.labels)[:, None] == np.arange(cv.job.classes), 0.02, 0.98)
    answers = np.tile(wrong.astype(np.float32), (len(views) or 1, 1, 1))
    targets = SoftTargets(answers={"all": answers}, views=tuple(views), temperature=2.0, weight=weight)
    return replace(cv, job=replace(cv.job, soft_targets=targets.write(cv.job.folder)))


def trained(cv):
    job = cross_validation.fill_caches(cv, []).job
    fold_worker.run_fold_job(job, "a test")
    return fold_job.read_result(job)


@pytest.mark.parametrize(
    ("strategy", "training"),
    [
        ("frozen", {"cached_views": 1}),
        ("finetune", {"unfreeze": "conv_pw_2", "cached_views": 1, "label_smoothing": 0.1}),
    ],
)
def test_a_network_with_weight_0_is_the_one_on_labels_and_with_more_it_believes_its_teacher(cv_of, strategy, training):
    found = {}
    for name, weight in (("alone", None), ("nothing", 0.0), ("all", 1.0)):
        keras.utils.set_random_seed(0)
        cv = cv_of(strategy, epochs=3, patience=3, learning_rate=3e-3, **training)
        cv = replace(cv, job=replace(cv.job, folder=cv.job.folder / name))
        if weight is not None:
            cv = taught(cv, weight)
        found[name] = trained(cv)
    np.testing.assert_array_equal(found["alone"].validation, found["nothing"].validation)
    first = [next(r for r in found[name].history if r["epoch"] == 0) for name in ("alone", "all")]
    assert first[0] != first[1]


def test_a_patient_teacher_s_targets_are_of_the_view_that_is_seen():
    class Rows:
        def __init__(self, view: int) -> None:
            self.view = view

        def __len__(self) -> int:
            return 30

        def take(self, positions):
            return np.array([[self.view, position] for position in positions], np.float32)

    values = np.zeros((3, 30, 2), np.float32)
    values += np.arange(3)[:, None, None] * [1, 0] + np.arange(30)[:, None] * [0, 1]
    source = CachedViewSource([Rows(number) for number in range(3)], seed=4)
    training, soft = Training(batch_size=8).resolved("frozen"), TargetSource(values, source.choice)
    batches = TrainSequence(source, np.arange(5, 30), np.arange(25) % 2, 2, training, seed=4, soft=soft)
    seen = set()
    for epoch in range(3):
        batches.begin(epoch)
        for number in range(len(batches)):
            inputs, labels, _ = batches[number]
            np.testing.assert_array_equal(labels[:, 2:], inputs)
            seen |= set(inputs[:, 0])
    assert seen == {0, 1, 2}


def test_fresh_pictures_have_no_patient_teacher(cv_of):
    cv = taught(cv_of("augmented", epochs=1), 0.5, views=("plain",))
    data = FoldData(cross_validation.fill_caches(cv, []).job)
    with pytest.raises(StarshiftError, match="cached views"):
        data.soft_targets(data.augmented(1))


@needs_tensorflow
def test_the_fingerprint_of_a_job_is_that_of_its_fields_and_weights_and_teachers_change_it(cv_of):
    cv = cv_of("scratch")
    job = cross_validation.fill_caches(cv, []).job
    before = {
        **json.loads(job.write().read_text()),
        "folder": "",
        "tensorboard": False,
        "version": fold_job.TRAINING_VERSION,
        "weights": "",
    }
    del before["final_epochs"], before["continued"]
    assert before["soft_targets"] is None and job.fingerprint() == hash_json(before)
    student = taught(cv, 0.5, views=("plain", "flip")).job
    assert fold_job.read_fold_job(student.write()) == student and student.fingerprint() != job.fingerprint()
    assert taught(cv, 0.6, views=("plain", "flip")).job.fingerprint() != student.fingerprint()


def test_a_job_on_another_backend_is_another_job(cv_of, monkeypatch):
    job, fingerprints = cv_of("scratch").job, set()
    for backend in ("tensorflow", "jax"):
        monkeypatch.setattr(fold_job, "find_backend", lambda backend=backend: backend)
        fingerprints.add(job.fingerprint())
    assert len(fingerprints) == 2


def test_targets_that_are_not_the_job_s_are_refused(tmp_path: Path):
    lesson = SoftTargets(answers={"all": np.full((1, 4, 2), 0.5, np.float32)}, temperature=2.0, weight=0.5)
    taught = lesson.write(tmp_path)
    assert soft_targets.read_soft_targets(tmp_path, taught).info() == taught
    replace(lesson, answers={"all": np.full((1, 4, 2), 0.4, np.float32)}).write(tmp_path)
    with pytest.raises(StarshiftError, match="not the job's"):
        soft_targets.read_soft_targets(tmp_path, taught)


def test_what_makes_no_sense_is_refused():
    for wrong in ({"teachers": ()}, {"temperature": 0.5}, {"weight": 1.5}):
        with pytest.raises(StarshiftError):
            DistillationConfig(**{"teachers": ("one",), **wrong})
