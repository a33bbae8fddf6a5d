"""A student with a teacher held against the same student without: scores, gains and their noise, the gap, agreement."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.predict import metrics
from pipeline.predict.intervals import Interval, over_folds, over_seeds
from pipeline.predict.resampling import resampled
from pipeline.report.distilled import Gains, Side

SAMPLES = 1000
AREA_SAMPLES = 200
"""Of an area under the curve, which has to be computed anew for each."""
TOP = 5


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Predictions of the same pictures, none by who had seen the picture.

    Args:
        metric: the competition's.
        positive: number of the class that is asked for, or None.
        truth: (pictures,) int.
        fold_of: (pictures,) int.
        teacher: mean probabilities of the teachers (pictures, classes).
        before: of the students on labels alone (seeds, pictures, classes).
        after: of the distilled students (seeds, pictures, classes).
        held: the share of pictures that a fold holds out.
    """

    metric: str
    positive: int | None
    truth: np.ndarray
    fold_of: np.ndarray
    teacher: np.ndarray
    before: np.ndarray
    after: np.ndarray
    held: float

    def by_fold(self, probabilities: np.ndarray, metric: str) -> np.ndarray:
        """The metric on each fold, (folds,) float64."""
        parts = [self.fold_of == fold for fold in np.unique(self.fold_of)]
        return np.array([metrics.score(metric, self.truth[p], probabilities[p], self.positive) for p in parts])


def sides(judged: Judged) -> list[Side]:
    """Teacher, student on labels alone, student distilled."""
    return [
        side(judged, "teacher", judged.teacher[None]),
        side(judged, "student, labels alone", judged.before),
        side(judged, "student, distilled", judged.after),
    ]


def side(judged: Judged, name: str, predicted: np.ndarray) -> Side:
    """One side's numbers; the spread is over seeds, and over folds where there is one seed."""
    folds = np.stack([judged.by_fold(one, judged.metric) for one in predicted])
    scores = folds.mean(axis=1)
    several = scores if len(scores) > 1 else folds[0]
    return Side(
        name=name,
        scores=scores.tolist(),
        folds=folds.tolist(),
        spread=float(np.std(several, ddof=1)) if len(several) > 1 else 0.0,
        accuracy=float(np.mean([judged.by_fold(one, "accuracy").mean() for one in predicted])),
        agreement=float(np.mean([one.argmax(axis=1) == judged.teacher.argmax(axis=1) for one in predicted])),
        agreement_top5=among_top(predicted, judged.teacher),
    )


def among_top(predicted: np.ndarray, teacher: np.ndarray) -> float | None:
    """How often the teacher's likeliest class is among the five likeliest; None where there are no more than five.

    Args:
        predicted: (seeds, pictures, classes).
        teacher: (pictures, classes).
    """
    if teacher.shape[1] <= TOP:
        return None
    best = np.argpartition(-predicted, TOP, axis=2)[:, :, :TOP]
    return float((best == teacher.argmax(axis=1)[None, :, None]).any(axis=2).mean())


def gains(judged: Judged) -> Gains:
    """What the teacher brought: by seeds, by folds and by pictures, and as a share of the gap to the teacher."""
    higher = metrics.higher_is_better(judged.metric)
    sign = 1 if higher else -1
    before, after = (np.stack([judged.by_fold(one, judged.metric) for one in each]) for each in
                     (judged.before, judged.after))  # fmt: skip
    moved = sign * (after - before)
    values, three, samples = resampling(judged)

    def interval(of: Callable[[tuple[float, float, float]], float]) -> Interval:
        random = np.random.default_rng(0)
        with np.errstate(divide="ignore", invalid="ignore"):  # some draws have no gap
            return resampled(lambda truth, rows: of(three(truth, rows)), judged.truth, values, random, samples=samples)

    wide = interval(lambda each: sign * (each[2] - each[0])).is_positive
    step = metrics.resolution(judged.metric, judged.truth, judged.fold_of, judged.positive)
    count = moved.shape[1]
    return Gains(
        seeds=over_seeds(moved.mean(axis=1).tolist(), step / count) if len(moved) > 1 else None,
        folds=over_folds(moved.mean(axis=0).tolist(), judged.held, step) if count > 1 else None,
        pictures=interval(lambda each: sign * (each[1] - each[0])),
        gap=interval(lambda each: (each[1] - each[0]) / (each[2] - each[0])) if wide else None,
    )


def resampling(
    judged: Judged,
) -> tuple[np.ndarray, Callable[[np.ndarray, np.ndarray], tuple[float, float, float]], int]:
    """What is drawn again, how it becomes the metric of labels alone, distilled and teacher, and how often.

    A metric that is a mean over pictures needs each picture's part once, (pictures, 3), the mean over seeds; the area
    under the curve needs everything, (pictures, 2 * seeds + 1, classes).
    """
    every = (judged.before, judged.after, judged.teacher[None])
    if judged.metric != "auc":
        parts = [
            np.mean([metrics.by_picture(judged.metric, judged.truth, one) for one in each], axis=0) for each in every
        ]
        return np.stack(parts, axis=1), lambda _, rows: tuple(rows.mean(axis=0)), SAMPLES  # type: ignore[return-value]
    seeds = len(judged.before)

    def three(truth: np.ndarray, rows: np.ndarray) -> tuple[float, float, float]:
        areas = [metrics.score("auc", truth, rows[:, k], judged.positive) for k in range(rows.shape[1])]
        return float(np.mean(areas[:seeds])), float(np.mean(areas[seeds:-1])), areas[-1]

    return np.concatenate(every).transpose(1, 0, 2), three, AREA_SAMPLES
