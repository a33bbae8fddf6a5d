"""Half precision: what is saved computes in float32, with the weights that were trained."""

import keras
import numpy as np
import pytest

from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.models import backend
from pipeline.models.base import parse_base
from pipeline.models.build import build_network
from pipeline.training import fold_job, networks
from pipeline.training.device import choose_dtype_policy, open_device_scope
from pipeline.training.fold_worker import convert_to_float32


@pytest.fixture
def half():
    """Keras in mixed bfloat16 for a test."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("half")
def test_a_network_trained_in_half_precision_is_saved_in_float32():
    base = parse_base("mobilenet_025@conv_pw_3_relu=none", 32)
    head = networks.build_head_layers(networks.build_random_head(32, 2, 8, 0))
    model = networks.build_live_model(base, build_network(base), head)
    whole = convert_to_float32(model)
    assert {layer.compute_dtype for layer in whole._flatten_layers() if layer.weights} == {"float32"}
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(whole(pictures), model(pictures), atol=0.02)
    for one, two in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_a_recipe_may_ask_for_bfloat16_on_a_processor_and_gets_float32_back(job_of):
    job = job_of("finetune", epochs=1, unfreeze="all", precision="bfloat16")
    fold_job.train_fold(job)
    facts = fold_job.read_result(job).facts
    assert "mixed_bfloat16" in facts["device"]
    model = keras.models.load_model(job.model, compile=False)
    assert {layer.compute_dtype for layer in model._flatten_layers() if layer.weights} == {"float32"}


def test_without_a_wish_a_processor_computes_in_float32():
    assert choose_dtype_policy([]) == "float32"


def test_several_devices_are_refused_on_jax(monkeypatch):
    monkeypatch.setattr(backend, "find_backend", lambda: "jax")
    with pytest.raises(StarshiftError, match="several devices needs TensorFlow"):
        open_device_scope(["GPU:0", "GPU:1"])


def test_an_unknown_precision_is_refused():
    with pytest.raises(StarshiftError, match="precision"):
        Training(precision="int8")
