"""Predicts pictures with a network, in batches of one shape, so that no result depends on the other pictures."""

from typing import Any

import keras
import numpy as np

from pipeline.models.keras_input import build_keras_input
from pipeline.terminal import open_bar
from pipeline.training.data_loader import Source

BATCH_SIZE = 64


class _PaddedSequence(keras.utils.PyDataset):
    """Batches of inputs in order, the last one filled up with the first picture."""

    def __init__(self, source: Source, positions: np.ndarray) -> None:
        super().__init__(workers=1)
        missing = -len(positions) % min(BATCH_SIZE, len(positions))
        self.source, self.positions = source, np.concatenate([positions, np.repeat(positions[:1], missing)])
        self.batch = min(BATCH_SIZE, len(positions))

    def __len__(self) -> int:
        return len(self.positions) // self.batch

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (self.source.take(self.positions[index * self.batch : (index + 1) * self.batch], 0),)


def predict(model: Any, source: Source, positions: np.ndarray) -> np.ndarray:
    """Predicts probabilities (n, classes) float32 of the pictures at these positions; rows sum to 1.

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
    """Predicts the features (n, width) that the head of a live model gets for the pictures at these positions.

    Args:
        model: from `networks.build_live_model`.
        source: of its pictures.
        positions: (n,) int, at least one.
    """
    return _predict_outputs(keras.Model(model.input, model.get_layer("head_dense0").input), source, positions)


def _predict_outputs(model: Any, source: Source, positions: np.ndarray) -> np.ndarray:
    batches = _PaddedSequence(source, positions)
    with open_bar(total=len(batches), desc="predict", unit="batch") as bar:
        step = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: bar.update())
        values = model.predict(build_keras_input(batches), verbose=0, callbacks=[step])
    return np.asarray(values[: len(positions)])
