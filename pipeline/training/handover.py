"""The parity check: a network counts only when it gives from pixels what the cache gave, features and predictions.

Imports Keras where it compares, since whoever only trains heads has no need of it.
"""

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.models.engines import FEATURE_TOLERANCE, relative_difference

PICTURES = 16
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 5e-2}
"""Largest difference of a probability, by what was rounded: nothing, activations kept as float16, the arithmetic."""


class CoarseError(StarshiftError):
    """What bfloat16 rounded is too much for these heads: float32 may do."""


def positions(count: int) -> np.ndarray:
    """Chooses the pictures of the check among so many: PICTURES at most, spread evenly, so that many shards are met."""
    return np.unique(np.linspace(0, count - 1, min(PICTURES, count)).astype(int))


def compare_features(live: np.ndarray, cached: np.ndarray, precision: str, step: str) -> None:
    """Holds features from pixels against cached ones.

    Args:
        live: (n, ...), from pixels.
        cached: (n, ...), from the cache.
        precision: what was rounded on the way to the cached ones, a key of FEATURE_TOLERANCE.
        step: names the place in the error.

    Raises:
        StarshiftError: they differ by more than FEATURE_TOLERANCE; a CoarseError where bfloat16 was at work.
    """
    precision, difference = _rounded(precision), relative_difference(cached, live)
    if not difference <= FEATURE_TOLERANCE[precision]:
        raise (CoarseError if precision == "bfloat16" else StarshiftError)(
            f"The live network does not give the features that are cached ({step}).",
            expected=f"a relative difference of at most {FEATURE_TOLERANCE[precision]} ({precision})",
            received=f"{difference:.2g}",
            remedy="invoke cache --verify finds cached features that are wrong, and removes them",
        )


def compare(live: np.ndarray, cached: np.ndarray, precision: str, step: str) -> float:
    """The largest difference between two sets of probabilities (n, classes).

    Args:
        live: from pixels.
        cached: from cached features or activations.
        precision: what was rounded on the way to the cached ones; where Keras computes in half precision, that is it.
        step: names the place in the error.

    Raises:
        StarshiftError: it is above TOLERANCE; a CoarseError where bfloat16 was at work.
    """
    precision = _rounded(precision)
    difference = float(np.abs(live - cached).max())
    if not difference <= TOLERANCE[precision]:
        raise (CoarseError if precision == "bfloat16" else StarshiftError)(
            f"The live network does not predict what the cache predicts ({step}).",
            expected=f"probabilities that differ by at most {TOLERANCE[precision]} ({precision})",
            received=f"{difference:.2g}",
            remedy="--engine openvino (or keras) computes features in float32"
            if precision == "bfloat16"
            else "invoke cache --verify; if the cache is whole this is a bug of ours",
        )
    return difference


def _rounded(precision: str) -> str:
    """The precision that a difference is judged by: bfloat16 where Keras itself computes in half precision."""
    import keras

    return precision if keras.config.dtype_policy().compute_dtype == "float32" else "bfloat16"
