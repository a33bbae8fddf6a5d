"""What is private to Keras still is what it is taken for; run with every Keras that models/keras_private.py names."""

import keras
import numpy as np

from pipeline.models import keras_private
from pipeline.training.optimizer import LayerwiseAdamW


def stepped(batches: int, parts: int = 1) -> keras.Model:
    """A small network with dropout after so many batches."""
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile(LayerwiseAdamW(0.1, parts=parts), "mse")
    model.fit(np.ones((4 * batches, 3)), np.ones((4 * batches, 2)), batch_size=4, verbose=0)
    return model


def test_moments_are_two_of_each_variable_and_the_second_ones_are_no_less_than_zero():
    model = stepped(3)
    first, second = np.split(np.array(keras_private.moments_of(model.optimizer), dtype=object), 2)
    shapes = [variable.shape for variable in model.trainable_variables]
    assert [v.shape for v in first] == shapes == [v.shape for v in second]
    assert all((np.asarray(v) >= 0).all() for v in second) and any((np.asarray(v) < 0).any() for v in first)


def test_the_index_of_a_variable_is_its_place_among_those_that_are_trained():
    model = stepped(1)
    variables = model.trainable_variables
    assert [keras_private.index_of(model.optimizer, variable) for variable in variables] == list(range(4))


def test_steps_are_counted_on_from_the_batches_that_were_set():
    model = stepped(4, parts=2)
    keras_private.set_batches_seen(model.optimizer, 10)
    assert int(model.optimizer.iterations) == 5
    model.fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=4, verbose=0)
    assert int(model.optimizer.iterations) == 6


def test_loss_scaling_is_looked_through():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    finally:
        keras.config.set_dtype_policy("float32")
    given = LayerwiseAdamW(0.1)
    model.compile(given, "mse")
    assert model.optimizer is not given and keras_private.without_loss_scaling(model.optimizer) is given
    assert keras_private.without_loss_scaling(given) is given


def test_dropout_has_the_one_state_of_a_seed():
    states = [variable for variable in stepped(1).variables if keras_private.is_seed_state(variable)]
    assert [tuple(state.shape) for state in states] == [(2,)]
