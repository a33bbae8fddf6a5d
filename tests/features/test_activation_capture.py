"""Features and the maps at a cut from one pass: the same rows as of each alone, in the same stores."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.features.cache import open_feature_store
from pipeline.features.extractor import ActivationCapture, Extractor
from pipeline.models import inference_engines
from pipeline.models.base import parse_base
from pipeline.workflow.train import extract_validation_features

BASE = parse_base("mobilenet_025=none", 32)
LOWER = replace(BASE, cut="conv_pw_6_relu", pooling="none")


def keeping(digests, lower=LOWER):
    """Wants the maps of all these pictures in both views of the tests."""
    return ActivationCapture(lower, dict.fromkeys(("plain", "flip"), frozenset(digests)))


@pytest.mark.parametrize("engine", ["keras", pytest.param("auto", marks=pytest.mark.slow)])
def test_one_pass_keeps_what_the_base_and_its_lower_part_give_alone(files, engine, monkeypatch):
    monkeypatch.setattr(
        inference_engines, "has_bfloat16", lambda: False
    )  # in bfloat16 nothing else is kept from a pass
    digests = list(files)
    both = Extractor(BASE, files, wanted=engine, keeping=keeping(digests))
    rows = both.features(digests, "flip")
    assert not (inference_engines.find_engine_folder(BASE) / "network.xml").exists(), (
        "it is measured as it will be run, and exported once"
    )
    chosen = both.choose(digests).engine
    lower = Extractor(LOWER, files, wanted=chosen)
    maps = lower.features(digests, "flip")
    assert lower.computed == 0 and maps.dtype == np.float16 and maps.ndim == 4
    alone = [Extractor(base, files, wanted="keras", force=True) for base in (BASE, LOWER)]
    np.testing.assert_allclose(rows, alone[0].features(digests, "flip"), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(maps, alone[1].features(digests, "flip"), rtol=2e-3, atol=1e-3)
    assert np.ptp(rows) > 0 and np.ptp(maps) > 0
    assert rows.shape[1] == 256 and both.choose(digests).relative_error.get("openvino", 0.0) < 1e-3


def test_maps_that_are_there_already_are_not_written_again_and_features_alone_ask_for_no_pass(files):
    digests = list(files)
    Extractor(LOWER, files, wanted="keras").fill(digests[:2], "plain")
    store = open_feature_store(LOWER, "plain", "float32")
    before = store.shards()
    both = Extractor(BASE, files, wanted="keras", keeping=keeping(digests))
    both.fill(digests, "plain")
    assert both.computed == 5 and len(set(store.shards()) - set(before)) == 1
    (new,) = set(store.shards()) - set(before)
    assert len(np.load(store.folder / f"{new}.npy")) == 3
    again = Extractor(BASE, files, wanted="keras", keeping=keeping(digests, replace(LOWER, cut="conv_pw_5_relu")))
    again.fill(digests, "plain")
    assert again.computed == 0


def test_only_the_maps_that_are_wanted_are_kept(files):
    digests = list(files)
    both = Extractor(BASE, files, wanted="keras", keeping=keeping(digests[:2]))
    both.fill(digests, "plain")
    assert open_feature_store(LOWER, "plain", "float32").missing(digests) == digests[2:]
    both.keeping = ActivationCapture(LOWER, {"plain": frozenset(digests)})
    both.fill(digests, "flip")
    assert both.computed == 10 and open_feature_store(LOWER, "flip", "float32").missing(digests) == digests


def test_features_in_bfloat16_keep_no_maps(files, monkeypatch):
    digests = list(files)
    both = Extractor(BASE, files, wanted="openvino-bf16", keeping=keeping(digests))
    monkeypatch.setattr(inference_engines, "has_bfloat16", lambda: True)
    assert both.choose(digests).engine == "openvino-bf16" and both.keeping is None


def test_views_that_are_only_predicted_are_computed_of_held_out_pictures_alone(files):
    digests = list(files)
    extractor = Extractor(BASE, files, wanted="keras")
    data = SimpleNamespace(pictures=SimpleNamespace(train=pd.DataFrame({"sha256": digests})))
    held = np.array([False, True, True, False, True])
    found = extract_validation_features([extractor], data, ("flip",), held)["flip"]
    assert extractor.computed == 3 and np.isnan(found[~held]).all()
    np.testing.assert_array_equal(found[held], extractor.features([digests[place] for place in (1, 2, 4)], "flip"))
    assert extract_validation_features([extractor], data, (), held) == {}
