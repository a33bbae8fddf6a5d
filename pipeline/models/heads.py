"""Applies the trained head of a base, in NumPy or as Keras layers.

A head is a few matrices, so that it predicts without Keras and fits into a Keras model.
"""

from dataclasses import dataclass

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

    def compute_gradients(self, features: np.ndarray) -> np.ndarray:
        """Computes the gradients of the logits with respect to features (n, width) float32: (n, width, classes)."""
        inputs = [features]
        for weights, bias in self.layers[:-1]:
            inputs.append(np.maximum(inputs[-1] @ weights + bias, 0))
        gradients = np.broadcast_to(self.layers[-1][0], (len(features), *self.layers[-1][0].shape))
        for (weights, _), values in zip(self.layers[-2::-1], inputs[:0:-1], strict=True):
            gradients = weights @ ((values > 0)[..., None] * gradients)
        return np.asarray(gradients, np.float32)

    def scaled(self, scale: float) -> "Head":
        """Returns the head with its logits multiplied by a scale."""
        *below, (weights, bias) = self.layers
        return Head((*below, (np.float32(scale) * weights, np.float32(scale) * bias)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Computes the softmax over the last axis in float32, shifted by the largest logit so that it cannot overflow."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)
