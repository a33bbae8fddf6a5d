"""BatchNorm folded into convolutions: the same outputs, gradients and variables."""

import keras
import numpy as np
import pytest

from pipeline.models.base import parse_base
from pipeline.models.build import build_network
from pipeline.models.registry import BASES
from pipeline.training.networks import find_foldable_norms, fold_batch_norms
from tests.gradients import gradients_of

SMALLEST = {"xception": 71, "inception_v3": 75, "inception_resnet_v2": 75}


def with_statistics(network, random):
    """Gives every BatchNorm weights and statistics that are not 0 and 1."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return network


@pytest.fixture
def in_float64():
    """A deep network with random statistics magnifies what float32 rounds off."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def gradients_by_path(network, pictures, weights):
    variables = network.trainable_variables
    found = gradients_of(lambda: keras.ops.sum(keras.ops.tanh(network(pictures, training=False)) * weights), variables)
    return dict(zip((variable.path for variable in variables), found, strict=True))


def test_a_folded_network_gives_the_same_outputs_and_gradients():
    random = np.random.default_rng(0)
    network = with_statistics(build_network(parse_base("mobilenet_v2=none", 32)), random)
    pictures = random.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    plain, folded = (
        np.asarray(network(pictures, training=False)),
        np.asarray(fold_batch_norms(network)(pictures, training=False)),
    )
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(folded, plain, atol=1e-5 * np.abs(plain).max())
    weights = random.normal(size=plain.shape).astype(np.float32)
    expected, found = (
        gradients_by_path(network, pictures, weights),
        gradients_by_path(fold_batch_norms(network), pictures, weights),
    )
    assert set(expected) == set(found)
    for path, gradient in expected.items():
        largest = np.abs(gradient).max()
        np.testing.assert_allclose(found[path], gradient, atol=max(2e-4 * largest, 1e-6), err_msg=path)


def test_every_batch_norm_of_mobilenet_is_folded_and_shares_its_variables():
    network = build_network(parse_base("mobilenet_025=none", 32))
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    folded = fold_batch_norms(network)
    assert len(find_foldable_norms(network)) == len(norms)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    assert {id(v) for v in folded.variables} == {id(v) for v in network.variables}


def test_a_convolution_whose_maps_are_used_twice_is_left_alone():
    pictures = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(4, 3, name="shared")(pictures)
    network = keras.Model(pictures, keras.layers.Add()([keras.layers.BatchNormalization()(maps), maps]))
    with_statistics(network, np.random.default_rng(0))
    assert find_foldable_norms(network) == {}
    values = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(fold_batch_norms(network)(values, training=False), network(values, training=False))


def test_what_is_frozen_stays_frozen_when_it_is_folded():
    network = build_network(parse_base("mobilenet_025=none", 32))
    for layer in network.layers[:20]:
        layer.trainable = False
    trained = {variable.path for variable in network.trainable_variables}
    assert trained and trained == {variable.path for variable in fold_batch_norms(network).trainable_variables}


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_every_base_can_be_folded(name, in_float64):
    random = np.random.default_rng(0)
    size = SMALLEST.get(name, 64)
    network = with_statistics(build_network(parse_base(f"{name}=none", size)), random)
    pictures = random.uniform(0, 1, (1, size, size, 3))
    plain, folded = (
        np.asarray(network(pictures, training=False)),
        np.asarray(fold_batch_norms(network)(pictures, training=False)),
    )
    np.testing.assert_allclose(folded, plain, atol=1e-6 * np.abs(plain).max())
