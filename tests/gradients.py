"""Gradients, on any backend."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np


def gradients_of(loss: Callable[[], Any], variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """The gradient of a loss by each variable."""
    values = [variable.value for variable in variables]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        return [np.asarray(gradient) for gradient in tape.gradient(value, values)]
    import jax

    def loss_at(values: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
            return loss()

    return [np.asarray(gradient) for gradient in jax.grad(loss_at)(values)]
