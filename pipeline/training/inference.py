"""The parity check: a network counts only when it gives from pixels what the cache gave, features and predictions.

Imports Keras where it compares, since whoever only trains heads has no need of it.

What a network predicts for pictures, in batches of one shape, so that no result depends on who else is there.
"""

from typing import Any

import keras
import numpy as np

from pipeline.errors import StarshiftError
from pipeline.models.inference_engines import FEATURE_TOLERANCE, compute_relative_difference
from pipeline.models.keras_input import build_keras_input
from pipeline.training.data_loader import Source

PARITY_SAMPLE_SIZE = 16
PROBABILITY_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 5e-2}
"""Largest difference of a probability, by what was rounded: nothing, activations kept as float16, the arithmetic."""


class PrecisionError(StarshiftError):
    """What bfloat16 rounded is too much for these heads: float32 may do."""


def select_positions(count: int) -> np.ndarray:
    """Chooses the pictures of the check among so many: PICTURES at most, spread evenly, so that many shards are met."""
    return np.unique(np.linspace(0, count - 1, min(PARITY_SAMPLE_SIZE, count)).astype(int))


def check_features(live: np.ndarray, cached: np.ndarray, precision: str, step: str) -> None:
    """Holds features from pixels against cached ones.

    Args:
        live: (n, ...), from pixels.
        cached: (n, ...), from the cache.
        precision: what was rounded on the way to the cached ones, a key of FEATURE_TOLERANCE.
        step: names the place in the error.

    Raises:
        StarshiftError: they differ by more than FEATURE_TOLERANCE; a CoarseError where bfloat16 was at work.
    """
    precision, difference = _find_precision(precision), compute_relative_difference(cached, live)
    if not difference <= FEATURE_TOLERANCE[precision]:
        raise (PrecisionError if precision == "bfloat16" else StarshiftError)(
            f"The live network does not give the features that are cached ({step}).",
            expected=f"a relative difference of at most {FEATURE_TOLERANCE[precision]} ({precision})",
            received=f"{difference:.2g}",
            remedy="invoke cache --verify finds cached features that are wrong, and removes them",
        )


def check_predictions(live: np.ndarray, cached: np.ndarray, precision: str, step: str) -> float:
    """The largest difference between two sets of probabilities (n, classes).

    Args:
        live: from pixels.
        cached: from cached features or activations.
        precision: what was rounded on the way to the cached ones; where Keras computes in half precision, that is it.
        step: names the place in the error.

    Raises:
        StarshiftError: it is above TOLERANCE; a CoarseError where bfloat16 was at work.
    """
    precision = _find_precision(precision)
    difference = float(np.abs(live - cached).max())
    if not difference <= PROBABILITY_TOLERANCE[precision]:
        raise (PrecisionError if precision == "bfloat16" else StarshiftError)(
            f"The live network does not predict what the cache predicts ({step}).",
            expected=f"probabilities that differ by at most {PROBABILITY_TOLERANCE[precision]} ({precision})",
            received=f"{difference:.2g}",
            remedy="--engine openvino (or keras) computes features in float32"
            if precision == "bfloat16"
            else "invoke cache --verify; if the cache is whole this is a bug of ours",
        )
    return difference


def _find_precision(precision: str) -> str:
    """The precision that a difference is judged by: bfloat16 where Keras itself computes in half precision."""
    import keras

    return precision if keras.config.dtype_policy().compute_dtype == "float32" else "bfloat16"


BATCH_SIZE = 64


class _PaddedSequence(keras.utils.PyDataset):
    """Batches of inputs in order, the last one filled up with the first picture."""

    def __init__(self, source: Source, positions: np.ndarray) -> None:
        super().__init__(workers=1)
        lacking = -len(positions) % min(BATCH_SIZE, len(positions))
        self.source, self.positions = source, np.concatenate([positions, np.repeat(positions[:1], lacking)])
        self.batch = min(BATCH_SIZE, len(positions))

    def __len__(self) -> int:
        return len(self.positions) // self.batch

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (self.source.take(self.positions[index * self.batch : (index + 1) * self.batch], 0),)


def predict(model: Any, source: Source, positions: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) float32 of the pictures at these positions; rows sum to 1.

    Args:
        model: a keras.Model that gives probabilities.
        source: of its inputs.
        positions: (n,) int.
    """
    if not len(positions):
        return np.empty((0, model.output_shape[-1]), np.float32)
    values = _predict_outputs(model, source, positions).astype(np.float64)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def predict_features(model: Any, source: Source, positions: np.ndarray) -> np.ndarray:
    """Predicts what the head of a live model gets for the pictures at these positions, (n, width).

    Args:
        model: from `networks.build_live_model`.
        source: of its pictures.
        positions: (n,) int, at least one.
    """
    return _predict_outputs(keras.Model(model.input, model.get_layer("head_dense0").input), source, positions)


def _predict_outputs(model: Any, source: Source, positions: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(build_keras_input(_PaddedSequence(source, positions)), verbose=0)[: len(positions)])
