"""Scores made into probabilities: the factor that SciPy finds on the other folds, and metrics as they are elsewhere."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from pipeline.ensemble.calibration import FoldScorer, fit_temperatures
from pipeline.evaluation import metrics
from pipeline.models.heads import softmax


def scored(pictures=400, classes=4, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    scores = np.eye(classes)[labels] * 0.05 + random.normal(0, 0.04, (pictures, classes))
    return scores.astype(np.float32), labels, np.arange(pictures) // 3 % 5


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_fold_s_factor_is_the_best_one_of_the_other_folds(scale):
    scores, labels, fold_of = scored()
    scores *= np.float32(scale)
    held = [np.flatnonzero(fold_of == fold) for fold in range(5)]
    for own, factor in zip(held, fit_temperatures(scores, labels, held), strict=True):
        rest = np.setdiff1d(np.arange(len(labels)), own)

        def loss(value, rows=rest):
            return metrics.score("log_loss", labels[rows], softmax(value * scores[rows]))

        best = minimize_scalar(loss, bounds=(1 / scale, 300 / scale), method="bounded", options={"xatol": 1e-7}).x
        assert factor == pytest.approx(best, rel=0.01)


def test_the_log_loss_does_not_depend_on_the_scores_scale_and_is_that_of_the_sharpened_ones():
    scores, labels, fold_of = scored()
    judge = FoldScorer(metric="log_loss", labels=labels, fold_of=fold_of)
    found = judge.folds(scores)
    assert found == pytest.approx(judge.folds(scores * np.float32(50)), rel=1e-3)
    factors = fit_temperatures(scores, labels, judge.fold_rows)
    for own, factor, value in zip(judge.fold_rows, factors, found, strict=True):
        assert value == pytest.approx(metrics.score("log_loss", labels[own], softmax(factor * scores[own])), rel=1e-5)
    candidates = np.geomspace(5, 200, 60)
    flattered = min(np.mean([_loss(scores, labels, own, f) for own in judge.fold_rows]) for f in candidates)
    assert np.mean(found) >= flattered - 1e-6


def _loss(scores, labels, own, factor):
    return metrics.score("log_loss", labels[own], softmax(factor * scores[own]))


def test_scores_that_separate_everything_do_not_overflow():
    labels = np.arange(60) % 3
    judge = FoldScorer(metric="log_loss", labels=labels, fold_of=np.arange(60) // 3 % 4)
    assert max(judge.folds(np.eye(3, dtype=np.float32)[labels])) < 1e-3
    assert np.isfinite(judge.folds(np.zeros((60, 3), np.float32))).all()


@pytest.mark.parametrize(
    ("metric", "classes", "positive"), [("accuracy", 4, None), ("micro_f1", 4, None), ("auc", 3, 0)]
)
def test_other_metrics_are_those_of_the_scores_themselves(metric, classes, positive):
    scores, labels, fold_of = scored(classes=classes)
    found = FoldScorer(metric=metric, labels=labels, fold_of=fold_of, positive=positive).folds(scores)
    for fold, value in enumerate(found):
        own = fold_of == fold
        assert value == pytest.approx(metrics.score(metric, labels[own], softmax(scores[own]), positive))
    assert np.mean(found) > 0.6
