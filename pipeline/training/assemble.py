"""The whole model: live bases, the heads of all folds, their mean. Handed over only when it predicts the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.models.bases import Base
from pipeline.models.heads import Head

TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference of a probability between the live model and the cached features, by the features' precision."""


def whole_model(bases: Sequence[Base], heads: Sequence[Head]) -> Any:
    """A keras.Model from uint8 pictures, one input a distinct size, to the heads' mean probabilities (n, classes).

    Args:
        bases: in the order in which their features are concatenated.
        heads: one a fold.
    """
    import keras

    from pipeline.models.extractor import build_extractor

    sizes = sorted({base.size for base in bases})
    inputs = {size: keras.Input((size, size, 3), dtype="uint8", name=f"pixels_{size}") for size in sizes}
    parts = [build_extractor(base)(inputs[base.size]) for base in bases]
    features = keras.layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
    outputs = [head.on(features, f"fold{number}") for number, head in enumerate(heads)]
    mean = keras.layers.Average(name="probabilities")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model([inputs[size] for size in sizes], mean, name="starshift")


def hand_over(model: Any, pixels: Mapping[int, np.ndarray], expected: np.ndarray, precision: str) -> float:
    """The largest difference between what the live model and the heads on cached features predict.

    Args:
        model: from `whole_model`.
        pixels: pictures (n, size, size, 3) uint8, by size.
        expected: probabilities (n, classes) from the cached features.
        precision: of the cached features.

    Raises:
        StarshiftError: the difference is above TOLERANCE.
    """
    live = np.asarray(model([pixels[size] for size in sorted(pixels)], training=False))
    difference = float(np.abs(live - expected).max())
    if not difference <= TOLERANCE[precision]:
        raise StarshiftError(
            "The live model does not predict what the heads predict on cached features.",
            expected=f"probabilities that differ by at most {TOLERANCE[precision]} ({precision} features)",
            received=f"{difference:.2g}",
            remedy="invoke cache --verify; if the cache is whole this is a bug of ours",
        )
    return difference


def save(model: Any, path: Path) -> None:
    """Saves the model in Keras's format, atomically."""
    partial = path.with_name(f".{path.name}.partial.keras")
    try:
        model.save(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
