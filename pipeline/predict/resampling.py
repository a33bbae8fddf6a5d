"""How sure one score is, or the difference of two, by drawing their pictures again."""

from collections.abc import Callable

import numpy as np

from pipeline.predict.intervals import CONFIDENCE, Interval


def resampled(
    score: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    probabilities: np.ndarray,
    random: np.random.Generator,
    *,
    samples: int = 200,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The percentile interval of a metric (Efron and Tibshirani 1993, chapter 13); training's own chance is not in it.

    Pictures are drawn with replacement within each class, so that no class goes missing.

    Args:
        score: gives a metric from classes (n,) int and probabilities (n, classes).
        truth: classes (n,) int.
        probabilities: (n, classes).
        random: draws the pictures.
        samples: how many times.
        confidence: between 0 and 1.
    """
    return _percentiles(lambda rows: score(truth[rows], probabilities[rows]), truth, random, samples, confidence)


def bootstrap(
    score: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    random: np.random.Generator,
    *,
    samples: int = 1000,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The percentile interval of a metric's difference (Efron and Tibshirani 1993, chapter 13).

    The same pictures are drawn for both sides, with replacement, and within each class, so that no class goes missing.

    Args:
        score: gives a metric from classes (n,) int and probabilities (n, classes).
        truth: classes (n,) int.
        before: probabilities (n, classes).
        after: probabilities (n, classes).
        random: draws the pictures.
        samples: how many times.
        confidence: between 0 and 1.
    """

    def difference(rows: np.ndarray) -> float:
        return score(truth[rows], after[rows]) - score(truth[rows], before[rows])

    return _percentiles(difference, truth, random, samples, confidence)


def _percentiles(
    value: Callable[[np.ndarray], float],
    truth: np.ndarray,
    random: np.random.Generator,
    samples: int,
    confidence: float,
) -> Interval:
    """Of a value of rows: of all of them, and where it lies when they are drawn within each class."""
    rows_of = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    estimate = value(np.arange(len(truth)))
    drawn = [value(np.concatenate([random.choice(rows, len(rows)) for rows in rows_of])) for _ in range(samples)]
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval.around(estimate, float(min(low, estimate)), float(max(high, estimate)))
