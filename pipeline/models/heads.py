"""Applies the trained head of a base, in NumPy or as Keras layers.

A head is a few matrices, so that it predicts without Keras and fits into a Keras model.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Head:
    """Dense layers with ReLU between them and a softmax at the end; the first one includes standardisation.

    Args:
        layers: for each layer its weights (inputs, outputs) float32 and its bias (outputs,) float32.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns class probabilities (n, classes) float32 of features (n, width) float32; rows sum to 1."""
        values = features
        for number, (weights, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if number else values) @ weights + bias
        return softmax(values)

    def scaled(self, scale: float) -> "Head":
        """Returns the head with its logits multiplied by a scale."""
        *below, (weights, bias) = self.layers
        return Head((*below, (np.float32(scale) * weights, np.float32(scale) * bias)))

    def on(self, features: Any, name: str) -> Any:
        """Applies the head as Keras layers to a symbolic tensor (None, width); returns the tensor of probabilities.

        Args:
            features: a KerasTensor.
            name: prefix of the layers' names, unique within the model.
        """
        import keras

        values = features
        for number, (weights, bias) in enumerate(self.layers):
            last = number == len(self.layers) - 1
            layer = keras.layers.Dense(
                len(bias), activation="softmax" if last else "relu", dtype="float32", name=f"{name}_dense{number}"
            )
            values = layer(values)
            layer.set_weights([weights, bias])
        return values


def softmax(logits: np.ndarray) -> np.ndarray:
    """Computes the softmax over the last axis in float32, shifted by the largest logit so that it cannot overflow."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)
