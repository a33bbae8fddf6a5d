"""Feeds batches to Keras without the autotuning of tf.data, which makes every epoch end late.

The autotuning thread of a `tf.data` pipeline wakes up after 10, 20, 40 ... ms, up to a minute, and releasing the
pipeline waits for its next turn (TensorFlow 2.21). Keras releases it at the end of every `fit`, `predict` and
epoch: an epoch of 21 s then ends after 41 s. `python -m benchmarks.waiting` shows it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

PREFETCH_BATCHES = 2
"""Batches that are prepared ahead of the network."""


class ArraySequence(keras.utils.PyDataset):
    """Batches of a network's inputs, with or without targets, in order or shuffled in each pass.

    Args:
        inputs: the arrays, one an input of the network, of the same length.
        batch: rows a batch; the last one may be smaller.
        targets: (n, ...), one a row.
        seed: of the shuffling; None keeps the order.
    """

    def __init__(
        self, inputs: Sequence[np.ndarray], batch: int, targets: np.ndarray | None = None, seed: int | None = None
    ) -> None:
        super().__init__(workers=1)
        self.inputs, self.batch, self.targets = inputs, batch, targets
        self.random = None if seed is None else np.random.default_rng(seed)
        self.order = np.arange(len(inputs[0]))
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        parts = tuple(array[rows] for array in self.inputs)
        # Keras reads a tuple of two as inputs and targets, so inputs alone are wrapped in a tuple of one.
        inputs = parts if len(parts) > 1 else parts[0]
        return (inputs,) if self.targets is None else (inputs, self.targets[rows])

    def on_epoch_end(self) -> None:
        """Shuffles the rows for the next pass."""
        if self.random is not None:
            self.order = self.random.permutation(len(self.order))


def build_keras_input(batches: Any) -> Any:
    """Returns the input of `fit` or `predict` for a keras.utils.PyDataset: with TensorFlow, a tf.data.Dataset of it.

    Args:
        batches: at least one, tuples of arrays or of tuples of them, all of the same shapes but for the first axis.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    # The first batch is built for its dtypes and shapes; it is reused below instead of being built twice.
    first = [batches[0]]
    # The batch axis stays None because the last batch may be smaller.
    signature = keras.tree.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), first[0])

    def generate() -> Iterator[Any]:
        for index in range(len(batches)):
            yield first.pop() if first and index == 0 else batches[index]
        # Keras calls on_epoch_end of a PyDataset, but not of the tf.data.Dataset made from it.
        batches.on_epoch_end()

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    # A generator has no length, and Keras needs one to know where an epoch ends.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    # A fixed number: AUTOTUNE would bring back the tuning thread.
    return dataset.prefetch(PREFETCH_BATCHES).with_options(options)
