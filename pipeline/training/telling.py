"""How training tells of itself while it runs: the bar, and TensorBoard's files where they are asked for."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras


class Advance(keras.callbacks.Callback):
    """Moves the bar on."""

    def __init__(self, bar: Any, parts: int) -> None:
        super().__init__()
        self.bar, self.parts = bar, parts

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        if (batch + 1) % self.parts == 0:
            self.bar.update()


def write_board(folder: Path, epoch: int, values: Mapping[str, float]) -> None:
    """Writes an epoch's numbers for TensorBoard, where TensorFlow is there to write them."""
    if importlib.util.find_spec("tensorflow") is None:
        return
    import tensorflow as tf

    with tf.summary.create_file_writer(str(folder)).as_default():
        for name, value in values.items():
            tf.summary.scalar(name, value, step=epoch)
