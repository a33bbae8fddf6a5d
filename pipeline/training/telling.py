"""How training tells of itself while it runs: bars, and TensorBoard's files where they are asked for."""

import importlib.util
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

log = logging.getLogger(__name__)


class Advance(keras.callbacks.Callback):
    """Moves the bar on."""

    def __init__(self, bar: Any, parts: int) -> None:
        super().__init__()
        self.bar, self.parts = bar, parts

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        if (batch + 1) % self.parts == 0:
            self.bar.update()


class Epoch(keras.callbacks.Callback):
    """Shows the progress of one epoch and writes its line.

    Args:
        number: of the epoch, from 1.
        epochs: of all.
    """

    def __init__(self, number: int, epochs: int) -> None:
        super().__init__()
        self.number, self.epochs = number, epochs

    def on_train_begin(self, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        words = f"epoch {self.number}/{self.epochs}"
        self.started = time.perf_counter()
        self.bar = tqdm(total=self.params["steps"], desc=words, unit="step", disable=None, leave=False)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['categorical_accuracy']:.3f}")
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.bar.close()
        seconds = time.perf_counter() - self.started
        words = f"loss {logs['loss']:.3f}, accuracy {logs['categorical_accuracy']:.3f}"
        log.info("epoch %2d  %6.1f s  %s", self.number, seconds, words)


def write_board(folder: Path, epoch: int, values: Mapping[str, float]) -> None:
    """Writes an epoch's numbers for TensorBoard, where TensorFlow is there to write them."""
    if importlib.util.find_spec("tensorflow") is None:
        return
    import tensorflow as tf

    with tf.summary.create_file_writer(str(folder)).as_default():
        for name, value in values.items():
            tf.summary.scalar(name, value, step=epoch)
