"""A network is handed over only when it predicts from pixels what was predicted from the cache; else the run stops.

Imports Keras where it compares, since whoever only trains heads has no need of it.
"""

import numpy as np

from pipeline.errors import StarshiftError

PICTURES = 16
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 5e-2}
"""Largest difference of a probability, by what was rounded: nothing, activations kept as float16, the arithmetic."""


class CoarseError(StarshiftError):
    """What bfloat16 rounded is too much for these heads: float32 may do."""


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
    import keras

    if keras.config.dtype_policy().compute_dtype != "float32":
        precision = "bfloat16"
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
