"""The backend: read without Keras, checked before anything is computed, and named where values depend on it."""

import importlib.util
import json

import pytest

from pipeline.errors import StarshiftError
from pipeline.models import backend
from pipeline.models.base import compute_weights_digest, parse_base


@pytest.fixture
def installed(monkeypatch):
    """Makes libraries installed or not: `installed("jax")`."""

    def make(*names: str) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in names)
        monkeypatch.delenv("KERAS_BACKEND", raising=False)

    return make


def test_without_a_wish_the_backend_is_tensorflow(installed):
    installed("tensorflow", "jax")
    assert backend.find_backend() == "tensorflow"


def test_kerass_settings_name_the_backend_and_the_variable_wins(installed, tmp_path, monkeypatch):
    installed("tensorflow", "jax")
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(json.dumps({"backend": "jax"}))
    assert backend.find_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert backend.find_backend() == "tensorflow"


def test_a_backend_that_is_not_installed_names_the_one_that_is(installed):
    installed("jax")
    with pytest.raises(StarshiftError, match=r"received: tensorflow; installed: jax(.|\n)*remedy: KERAS_BACKEND=jax"):
        backend.find_backend()


def test_a_backend_that_the_pipeline_does_not_run_on_is_refused(installed, monkeypatch):
    installed("tensorflow", "torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(StarshiftError, match=r"expected: KERAS_BACKEND as one of tensorflow \| jax"):
        backend.find_backend()


def test_what_tensorflow_alone_can_do_is_refused_on_jax(installed, monkeypatch):
    installed("tensorflow", "jax")
    backend.require_tensorflow("--tensorboard", "leave it out")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(StarshiftError, match=r"--tensorboard needs TensorFlow(.|\n)*received: jax(.|\n)*leave it out"):
        backend.require_tensorflow("--tensorboard", "leave it out")


def test_random_weights_of_two_backends_have_two_digests(installed, monkeypatch):
    installed("tensorflow", "jax")
    base = parse_base("mobilenet_025=none:3", 32)
    assert compute_weights_digest(base) == "random:3"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert compute_weights_digest(base) == "random:3:jax"
