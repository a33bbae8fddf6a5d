"""How sure one score is, by drawing its pictures again."""

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
    rows_of = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    estimate, drawn = score(truth, probabilities), []
    for _ in range(samples):
        rows = np.concatenate([random.choice(rows, len(rows)) for rows in rows_of])
        drawn.append(score(truth[rows], probabilities[rows]))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(min(low, estimate)), float(max(high, estimate)))
