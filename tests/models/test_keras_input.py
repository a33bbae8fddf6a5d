"""How Keras is fed."""

import keras
import numpy as np

from pipeline.models.keras_input import ArraySequence, build_keras_input
from tests.conftest import needs_tensorflow

VALUES = np.arange(70, dtype=np.float32).reshape(10, 7)


class Counted(keras.utils.PyDataset):
    """Pairs of inputs and answers that remember what was asked for."""

    def __init__(self) -> None:
        super().__init__(workers=1)
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index):
        self.asked.append(index)
        return VALUES[index * 4 : index * 4 + 4].astype(np.float16), np.full((min(4, 10 - index * 4), 2), index)


@needs_tensorflow
def test_batches_come_in_their_order_each_made_once_and_with_their_own_types():
    batches = Counted()
    dataset = build_keras_input(batches)
    pairs = [(inputs.numpy(), answers.numpy()) for inputs, answers in dataset]
    assert batches.asked == [0, 1, 2] and int(dataset.cardinality()) == 3
    np.testing.assert_array_equal(np.concatenate([inputs for inputs, _ in pairs]), VALUES.astype(np.float16))
    assert pairs[0][0].dtype == np.float16 and [answers[0, 0] for _, answers in pairs] == [0, 1, 2]


@needs_tensorflow
def test_a_second_pass_asks_for_the_first_batch_again():
    batches = Counted()
    dataset = build_keras_input(batches)
    for _ in range(2):
        assert len(list(dataset)) == 3
    assert batches.asked == [0, 1, 2, 0, 1, 2]


@needs_tensorflow
def test_pairs_are_shuffled_anew_in_each_pass_and_stay_pairs():
    dataset = build_keras_input(ArraySequence([VALUES], 4, VALUES[:, 0], seed=1))
    passes = [np.concatenate([answers for _, answers in dataset]) for _ in range(3)]
    for answers in passes:
        np.testing.assert_array_equal(np.sort(answers), VALUES[:, 0])
    assert not np.array_equal(passes[0], passes[1]) and not np.array_equal(passes[1], passes[2])
    for inputs, answers in dataset:
        np.testing.assert_array_equal(inputs[:, 0], answers)
    again = build_keras_input(ArraySequence([VALUES], 4, VALUES[:, 0], seed=1))
    np.testing.assert_array_equal(np.concatenate([answers for _, answers in again]), passes[0])


@needs_tensorflow
def test_pairs_without_a_seed_stay_in_their_order():
    rows = [answers for _, answers in build_keras_input(ArraySequence([VALUES], 4, VALUES[:, 0]))]
    np.testing.assert_array_equal(np.concatenate(rows), VALUES[:, 0])


@needs_tensorflow
def test_nothing_tunes_itself_in_what_keras_is_fed():
    assert build_keras_input(Counted()).options().autotune.enabled is False


def test_rows_of_one_input_and_of_several_reach_the_network_whole():
    one = keras.Input((7,))
    single = keras.Model(one, keras.ops.sum(one, axis=1))
    np.testing.assert_allclose(
        single.predict(build_keras_input(ArraySequence([VALUES], 4)), verbose=0), VALUES.sum(axis=1)
    )
    left, right = keras.Input((7,)), keras.Input((2,))
    double = keras.Model([left, right], keras.ops.sum(left, axis=1) - keras.ops.sum(right, axis=1))
    answers = double.predict(build_keras_input(ArraySequence([VALUES, VALUES[:, :2]], 4)), verbose=0)
    np.testing.assert_allclose(answers, VALUES[:, 2:].sum(axis=1))
