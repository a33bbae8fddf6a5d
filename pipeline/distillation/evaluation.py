"""Scores distilled students against students on labels alone: gains with intervals, gap to the teacher, agreement."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.distillation.report import DistillationGains, ModelScores
from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import Interval, bootstrap_score, estimate_over_folds, estimate_over_seeds

BOOTSTRAP_SAMPLES = 1000
SLOW_BOOTSTRAP_SAMPLES = 200
"""Of a metric that is no mean over pictures, which has to be computed anew for each."""
TOP_K = 5


@dataclass(frozen=True, kw_only=True)
class DistillationEvaluation:
    """Predictions of the same pictures, none by who had seen the picture.

    Args:
        metric: the competition's.
        positive: number of the class that is asked for, or None.
        truth: (pictures,) int.
        fold_of: (pictures,) int.
        teacher: mean probabilities of the teachers (pictures, classes).
        before: of the students on labels alone (seeds, pictures, classes).
        after: of the distilled students (seeds, pictures, classes).
        validation_share: the share of pictures that a fold holds out.
    """

    metric: str
    positive: int | None
    truth: np.ndarray
    fold_of: np.ndarray
    teacher: np.ndarray
    before: np.ndarray
    after: np.ndarray
    validation_share: float

    def by_fold(self, probabilities: np.ndarray, metric: str) -> np.ndarray:
        """Returns the metric on each fold, (folds,) float64."""
        return np.array(metrics.score_folds(metric, self.truth, probabilities, self.fold_of, self.positive))


def score_sides(predictions: DistillationEvaluation) -> list[ModelScores]:
    """Scores the teacher, the student on labels alone, and the distilled student."""
    return [
        score_side(predictions, "teacher", predictions.teacher[None]),
        score_side(predictions, "student, labels alone", predictions.before),
        score_side(predictions, "student, distilled", predictions.after),
    ]


def score_side(predictions: DistillationEvaluation, name: str, predicted: np.ndarray) -> ModelScores:
    """Scores one side; the spread is over seeds, and over folds where there is one seed."""
    folds = np.stack([predictions.by_fold(one, predictions.metric) for one in predicted])
    scores = folds.mean(axis=1)
    several = scores if len(scores) > 1 else folds[0]
    return ModelScores(
        name=name,
        scores=scores.tolist(),
        folds=folds.tolist(),
        spread=float(np.std(several, ddof=1)) if len(several) > 1 else 0.0,
        accuracy=float(np.mean([predictions.by_fold(one, "accuracy").mean() for one in predicted])),
        agreement=float(np.mean([one.argmax(axis=1) == predictions.teacher.argmax(axis=1) for one in predicted])),
        agreement_top5=compute_top_k_agreement(predicted, predictions.teacher),
    )


def compute_top_k_agreement(predicted: np.ndarray, teacher: np.ndarray) -> float | None:
    """Computes how often the teacher's likeliest class is among the five likeliest; None for five classes or fewer.

    Args:
        predicted: (seeds, pictures, classes).
        teacher: (pictures, classes).
    """
    if teacher.shape[1] <= TOP_K:
        return None
    best = np.argpartition(-predicted, TOP_K, axis=2)[:, :, :TOP_K]
    return float((best == teacher.argmax(axis=1)[None, :, None]).any(axis=2).mean())


def compute_gains(predictions: DistillationEvaluation) -> DistillationGains:
    """Computes the gains by distillation: over seeds, folds and pictures, and as a share of the gap to the teacher."""
    sign = metrics.find_metric(predictions.metric).sign
    before, after = (np.stack([predictions.by_fold(one, predictions.metric) for one in each]) for each in
                     (predictions.before, predictions.after))  # fmt: skip
    moved = sign * (after - before)
    values, three, samples = build_bootstrap(predictions)

    def interval(of: Callable[[tuple[float, float, float]], float]) -> Interval:
        random = np.random.default_rng(0)
        with np.errstate(divide="ignore", invalid="ignore"):  # some draws have no gap
            return bootstrap_score(
                lambda truth, rows: of(three(truth, rows)), predictions.truth, values, random, samples=samples
            )

    wide = interval(lambda each: sign * (each[2] - each[0])).is_positive
    step = metrics.compute_resolution(predictions.metric, predictions.truth, predictions.fold_of, predictions.positive)
    count = moved.shape[1]
    return DistillationGains(
        seeds=estimate_over_seeds(moved.mean(axis=1).tolist(), step / count) if len(moved) > 1 else None,
        folds=estimate_over_folds(moved.mean(axis=0).tolist(), predictions.validation_share, step)
        if count > 1
        else None,
        pictures=interval(lambda each: sign * (each[1] - each[0])),
        gap=interval(lambda each: (each[1] - each[0]) / (each[2] - each[0])) if wide else None,
    )


def build_bootstrap(
    predictions: DistillationEvaluation,
) -> tuple[np.ndarray, Callable[[np.ndarray, np.ndarray], tuple[float, float, float]], int]:
    """Returns the rows to draw, a function from them to the scores of labels alone, distilled, teacher, and the draws.

    A metric that is a mean over pictures needs each picture's part once, (pictures, 3), the mean over seeds; others
    need everything, (pictures, 2 * seeds + 1, classes).
    """
    every = (predictions.before, predictions.after, predictions.teacher[None])
    if score_pictures := metrics.find_metric(predictions.metric).score_pictures:
        parts = [np.mean([score_pictures(predictions.truth, one) for one in each], axis=0) for each in every]
        return np.stack(parts, axis=1), lambda _, rows: tuple(rows.mean(axis=0)), BOOTSTRAP_SAMPLES  # type: ignore[return-value]
    seeds = len(predictions.before)

    def three(truth: np.ndarray, rows: np.ndarray) -> tuple[float, float, float]:
        areas = [
            metrics.score(predictions.metric, truth, rows[:, k], predictions.positive) for k in range(rows.shape[1])
        ]
        return float(np.mean(areas[:seeds])), float(np.mean(areas[seeds:-1])), areas[-1]

    return np.concatenate(every).transpose(1, 0, 2), three, SLOW_BOOTSTRAP_SAMPLES
