"""Scores the folds of a classifier without probabilities, by softmax(t x scores) with t fitted on the other folds.

Softmax with one factor is temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2). t is fitted to the
pictures of all folds but the one that it is used on, so that it does not flatter.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.metrics import find_metric, score_folds
from pipeline.models.heads import softmax

NEWTON_STEPS, STEP_TOLERANCE = 12, 0.03
MAX_FACTOR = 1e6


@dataclass(frozen=True, kw_only=True)
class FoldScorer:
    """A competition's metric on the folds.

    Args:
        metric: its name.
        labels: (pictures,) int.
        fold_of: (pictures,) int.
        positive: for two classes, the one that is asked for.
    """

    metric: str
    labels: np.ndarray
    fold_of: np.ndarray
    positive: int | None = None

    @property
    def fold_rows(self) -> list[np.ndarray]:
        """The rows that each fold holds out."""
        return [np.flatnonzero(self.fold_of == fold) for fold in np.unique(self.fold_of)]

    def folds(self, scores: np.ndarray) -> list[float]:
        """Returns the metric on each fold, of scores (pictures, classes) that grow with the probability.

        A temperature is fitted for metrics that it changes; those that count what is right need no softmax.
        """
        record = find_metric(self.metric)
        if not record.needs_probabilities:
            values = scores if record.counts_correct else softmax(scores)
            return score_folds(self.metric, self.labels, values, self.fold_of, self.positive, quick=True)
        factors = zip(fit_temperatures(scores, self.labels, self.fold_rows), self.fold_rows, strict=True)
        if record.is_log_loss:
            return [_compute_loss(factor * scores[own], self.labels[own]) for factor, own in factors]
        scaled = scores.copy()
        for factor, own in factors:
            scaled[own] *= factor
        return score_folds(self.metric, self.labels, softmax(scaled), self.fold_of, self.positive, quick=True)


def _compute_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Computes mean cross entropy of logits (n, classes)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))


def fit_temperatures(scores: np.ndarray, labels: np.ndarray, fold_rows: list[np.ndarray]) -> np.ndarray:
    """Fits for each fold the factor with the least cross entropy on the other folds, (folds,) float64.

    Cross entropy is convex in the factor. Newton's steps come near the least of all pictures; a last one from there,
    with the slope and the curvature of the others alone, ends at that of each fold's others, which lies close by.

    Args:
        scores: (pictures, classes) float32.
        labels: (pictures,) int.
        fold_rows: the rows of each fold, two folds or more.
    """
    gap = float(np.mean(scores[np.arange(len(labels)), labels] - scores.mean(axis=1)))
    factor = 3.0 / max(gap, 1e-3)
    for _ in range(NEWTON_STEPS):
        slope, curve = _compute_slopes(factor, scores, labels)
        after = factor - slope.sum() / max(curve.sum(), 1e-30)
        if abs(after - factor) < STEP_TOLERANCE * factor:
            break
        # Where the loss is nearly flat a Newton step leaps; it is limited to a factor of 4 either way.
        factor = min(max(after, factor / 4), factor * 4, MAX_FACTOR)
    rest = [(slope.sum() - slope[own].sum()) / max(curve.sum() - curve[own].sum(), 1e-30) for own in fold_rows]
    return np.clip(factor - np.array(rest), factor / 4, factor * 4)


def _compute_slopes(factor: float, scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes first and second derivative by the factor of each picture's cross entropy, (pictures,) each."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    # A float64 factor would turn the whole array into float64; the search calls this for every combination.
    likely = np.exp(np.float32(factor) * shifted)
    total = likely.sum(axis=1)
    likely *= shifted
    mean = likely.sum(axis=1) / total
    square = np.einsum("nc,nc->n", likely, shifted) / total
    # The curvature is a variance; rounding may make it negative.
    return mean - shifted[np.arange(len(labels)), labels], np.maximum(square - mean**2, 0)
