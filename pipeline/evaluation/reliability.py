"""Calibration of predictions: the reliability diagram, and the expected calibration error (ECE).

Guo et al. 2017, On Calibration of Modern Neural Networks, section 2. The confidence of a prediction is the probability
of its likeliest class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.intervals import Interval, wilson_interval

BINS = 15
"""As in the paper's experiments."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The pictures whose confidence lies in (low, high].

    Args:
        low: lower end.
        high: upper end.
        pictures: how many, at least 1.
        confidence: their mean confidence.
        accuracy: the share that is right, with Wilson's interval.
    """

    low: float
    high: float
    pictures: int
    confidence: float
    accuracy: Interval


def compute_reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> list[ReliabilityBin]:
    """Sorts predictions into bins of equal width by confidence; empty bins are left out.

    Args:
        truth: classes (n,) int.
        probabilities: (n, classes), rows sum to 1.
        bins: how many.
    """
    confidence, correct = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == truth
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        ReliabilityBin(
            low=number / bins,
            high=(number + 1) / bins,
            pictures=int(rows.sum()),
            confidence=float(confidence[rows].mean()),
            accuracy=wilson_interval(int(correct[rows].sum()), int(rows.sum())),
        )
        for number in range(bins)
        if (rows := bin_of == number).any()
    ]


def compute_ece(bins: Sequence[ReliabilityBin]) -> float:
    """Computes the expected calibration error: the mean over pictures of |accuracy - confidence| of their bin."""
    total = sum(one.pictures for one in bins)
    return sum(one.pictures * abs(one.accuracy.estimate - one.confidence) for one in bins) / total
