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
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions, Predictor

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
