"""The parity check: features from pixels are held against cached ones, not only what the heads make of them."""

import zipfile

import keras
import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.models.base import parse_base
from pipeline.models.build import build_extractor, preprocess
from pipeline.models.heads import Head
from pipeline.models.small_cnn import build_small_cnn
from pipeline.training import export
from pipeline.training.export import NEW_DEFAULTS, build_averaged_model, check_parity, drop_new_defaults, save_model
from pipeline.training.fold_data import FoldData
from pipeline.training.strategies import train_frozen

BASES = [parse_base("mobilenet_025@conv_pw_3_relu=none", 32), parse_base("mobilenet_025@conv_pw_2_relu=none", 32)]
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def parts():
    """A live model of two bases whose head hears nothing, the head, and the features."""
    features = np.concatenate([build_extractor(base).predict(PIXELS, verbose=0) for base in BASES], axis=1)
    deaf = Head(((np.zeros((features.shape[1], 2), np.float32), np.array([1, 0], np.float32)),))
    return build_averaged_model(BASES, [deaf]), deaf, features


def test_features_that_agree_pass(parts):
    model, head, features = parts
    assert check_parity(model, [head], {32: PIXELS}, features, "float32") < 1e-6


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("wrong", [1e36, np.nan, 0.0])
def test_wrong_features_are_refused_though_the_heads_predict_the_same(parts, precision, wrong):
    model, head, features = parts
    with pytest.raises(StarshiftError, match="does not give the features that are cached"):
        check_parity(model, [head], {32: PIXELS}, np.full_like(features, wrong), precision)


def test_a_little_rounding_passes(parts):
    model, head, features = parts
    check_parity(model, [head], {32: PIXELS}, features * np.float32(1.001), "float32")


def test_the_pictures_of_the_check_are_spread_over_all():
    assert export.select_positions(3).tolist() == [0, 1, 2]
    spread = export.select_positions(1600)
    assert len(spread) == export.PARITY_SAMPLE_SIZE and spread[0] == 0 and spread[-1] == 1599


def test_the_strategy_frozen_compares_features_too(job_of, monkeypatch):
    job = job_of("frozen", cached_views=1, epochs=1)
    monkeypatch.setattr(
        "pipeline.training.networks.preprocess", lambda pixels, mode, name: preprocess(pixels, "caffe", name)
    )
    with pytest.raises(StarshiftError, match=r"features that are cached \(the frozen base\)"):
        train_frozen(FoldData(job))


def test_a_saved_model_has_no_entry_that_an_earlier_keras_refuses(tmp_path):
    save_model(build_small_cnn(32, 2, 0.0), tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = archive.read("config.json").decode()
    assert "BatchNormalization" in config and not [name for name in NEW_DEFAULTS if f'"{name}"' in config]
    assert keras.models.load_model(tmp_path / "model.keras").output_shape == (None, 2)


def test_an_entry_that_is_not_the_default_is_kept():
    assert drop_new_defaults([{"renorm": True, "input_axes": None}]) == [{"renorm": True}]
