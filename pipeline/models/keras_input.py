"""How Keras is fed: batches made beside its work, without tf.data's autotuning.

Where a `tf.data` pipeline tunes itself, a thread looks at it after 10, 20, 40 ... ms, up to a minute, and letting go of
the pipeline waits for that thread's next look (TensorFlow 2.21). Keras lets go at the end of every `fit`, `predict` and
epoch: an epoch of 21 s then ends after 41 s. `python -m benchmarks.waiting` shows it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

PREFETCH_BATCHES = 2
"""Batches that are made while the network is at another one."""


class ArraySequence(keras.utils.PyDataset):
    """A network's inputs in order, in batches.

    Args:
        inputs: the arrays, one an input of the network, of the same length.
        batch: rows a batch; the last one may be smaller.
    """

    def __init__(self, inputs: Sequence[np.ndarray], batch: int) -> None:
        super().__init__(workers=1)
        self.inputs, self.batch = inputs, batch

    def __len__(self) -> int:
        return math.ceil(len(self.inputs[0]) / self.batch)

    def __getitem__(self, index: int) -> tuple[Any]:
        rows = slice(index * self.batch, (index + 1) * self.batch)
        parts = tuple(array[rows] for array in self.inputs)
        # Keras reads a tuple of two as inputs and targets, so the inputs are wrapped in a tuple of one.
        return (parts if len(parts) > 1 else parts[0],)


class LabeledSequence(keras.utils.PyDataset):
    """Inputs and answers in batches, in another order in each pass.

    Args:
        inputs: (n, ...).
        answers: (n, ...).
        batch: rows a batch; the last one may be smaller.
        seed: of the orders; None leaves the rows in theirs.
    """

    def __init__(self, inputs: np.ndarray, answers: np.ndarray, batch: int, seed: int | None = None) -> None:
        super().__init__(workers=1)
        self.inputs, self.answers, self.batch = inputs, answers, batch
        self.random = None if seed is None else np.random.default_rng(seed)
        self.order = np.arange(len(inputs))
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        return self.inputs[rows], self.answers[rows]

    def on_epoch_end(self) -> None:
        """Draws the order of the next pass."""
        if self.random is not None:
            self.order = self.random.permutation(len(self.order))


def build_keras_input(batches: Any) -> Any:
    """What to give to `fit` or `predict` instead of a keras.utils.PyDataset: with TensorFlow, a tf.data.Dataset of it.

    Args:
        batches: at least one, tuples of arrays or of tuples of them, all of the same shapes but for the first axis.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    # The first batch is built for its dtypes and shapes; it is reused below instead of being built twice.
    first = [batches[0]]
    # The batch axis stays None because the last batch may be smaller.
    kinds = keras.tree.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), first[0])

    def made() -> Iterator[Any]:
        for index in range(len(batches)):
            yield first.pop() if first and index == 0 else batches[index]
        # Keras calls on_epoch_end of a PyDataset, but not of the tf.data.Dataset made from it.
        batches.on_epoch_end()

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(made, output_signature=kinds)
    # A generator has no length, and Keras needs one to know where an epoch ends.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    # A fixed number: AUTOTUNE would bring back the tuning thread.
    return dataset.prefetch(PREFETCH_BATCHES).with_options(options)
