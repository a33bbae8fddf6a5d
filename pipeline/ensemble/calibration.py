"""Calibrates probabilities: temperature, vector scaling, class priors, clipping.

Each correction is a function from out-of-fold predictions of one member to a fitted predictor. A metric's record lists
those that can improve it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.ensemble import log_linear
from pipeline.ensemble.log_linear import DIGITS, PROBABILITY_FLOOR, LogLinear
from pipeline.evaluation.metrics import compute_fold_influences, find_metric, score_folds
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions, Predictor
from pipeline.models.heads import softmax

VECTOR_L2, PRIORS_L2 = 100.0, 30.0
"""Strengths of the L2, in pictures: how many speak against leaving everything as it is."""
MIN_LOGIT_SCALE = 1e-3
"""The least that logits are multiplied by, where predictions are worth nothing."""
CLIP_LEVELS = np.logspace(-7, -1.3, 58)
"""What clipping may clip to; the first is FLOOR."""


@dataclass(frozen=True)
class ProbabilityClipping:
    """No class is given less than `least`.

    Args:
        least: between 0 and 1.
    """

    least: float

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        values = np.maximum(part.predictions[0].astype(np.float64), self.least)
        return np.asarray(values / values.sum(axis=1, keepdims=True))

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        return {"least": self.least}


def fit_temperature(oof: OOFPredictions) -> Predictor:
    """Fits one divisor for all logits (Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2)."""
    result = log_linear.fit_weights(log_linear.compute_logs(oof.part.predictions), oof.labels)
    return LogLinear(np.maximum(result.weights, MIN_LOGIT_SCALE))


def fit_vector_scaling(oof: OOFPredictions) -> Predictor:
    """Fits a slope and a bias for each class (vector scaling, the same section), with L2 towards 1 and 0."""
    return log_linear.fit_log_linear(oof, np.ones(1), weights=True, slopes=True, l2=VECTOR_L2 / len(oof.part))


def fit_class_priors(oof: OOFPredictions) -> Predictor:
    """Fits a bias for each class, as if class shares were others (Saerens et al. 2002, Neural Comput. 14, 21-41).

    It is fitted by log loss, which is smooth, and pulled towards none.
    """
    return log_linear.fit_log_linear(oof, np.ones(1), l2=PRIORS_L2 / len(oof.part))


def fit_clipping(oof: OOFPredictions) -> Predictor:
    """Fits the least probability of a class: what a certain mistake costs against what certainty earns."""
    values = oof.part.predictions[0].astype(np.float64)
    chosen = values[np.arange(len(oof.labels)), oof.labels]

    def loss(least: float) -> float:
        whole = np.maximum(values, least).sum(axis=1)
        return float(-np.mean(np.log(np.maximum(chosen, least) / whole)))

    losses = [loss(least) for least in CLIP_LEVELS]
    return ProbabilityClipping(round(float(CLIP_LEVELS[int(np.argmin(losses))]), DIGITS + 2))


def format_calibration(record: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Formats the fitted numbers of a correction."""
    if "least" in record:
        return f"no class under {record['least']:.2g}"
    if "bias" not in record:
        return f"temperature {1 / max(record['weights'][0], PROBABILITY_FLOOR):.3f}"
    furthest = int(np.argmax(np.abs(record["bias"])))
    return f"{classes[furthest]} times {np.exp(record['bias'][furthest]):.2f} is the largest change"


CORRECTIONS: dict[str, Callable[[OOFPredictions], Predictor]] = {
    "temperature": fit_temperature,
    "vector scaling": fit_vector_scaling,
    "clipping": fit_clipping,
    "class priors": fit_class_priors,
}
"""By the names that a metric's record lists those by which can improve it."""


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
        if find_metric(self.metric).is_log_loss:
            factors = zip(fit_temperatures(scores, self.labels, self.fold_rows), self.fold_rows, strict=True)
            return [_compute_loss(factor * scores[own], self.labels[own]) for factor, own in factors]
        values = self._calibrate(scores)
        return score_folds(self.metric, self.labels, values, self.fold_of, self.positive, quick=True)

    def pictures(self, scores: np.ndarray) -> np.ndarray:
        """Returns each picture's part in the metric, (pictures,) float64; see `metrics.compute_influences`."""
        return compute_fold_influences(self.metric, self.labels, self._calibrate(scores), self.fold_of, self.positive)

    def _calibrate(self, scores: np.ndarray) -> np.ndarray:
        record = find_metric(self.metric)
        if not record.needs_probabilities:
            return scores if record.counts_correct else softmax(scores)
        scaled = scores.copy()
        factors = fit_temperatures(scores, self.labels, self.fold_rows)
        for factor, own in zip(factors, self.fold_rows, strict=True):
            scaled[own] *= factor
        return softmax(scaled)


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
