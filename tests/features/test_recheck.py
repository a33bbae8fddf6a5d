"""Rechecks: cached rows that have their checksums and are wrong all the same are found, and nothing else is."""

import shutil

import numpy as np
import pytest

from pipeline.data import pixel_cache
from pipeline.errors import StarshiftError
from pipeline.features import cache
from pipeline.features.extractor import Extractor
from pipeline.files import write_json
from pipeline.models import inference_engines
from pipeline.models.base import compute_weights_digest, parse_base
from pipeline.paths import runs_folder
from tests.features.conftest import pictures

pytestmark = pytest.mark.filterwarnings("ignore")
BASE = parse_base("mobilenet_025@conv_pw_3_relu=none", 32)


@pytest.fixture
def files(tmp_path):
    return pictures(tmp_path, 9)


@pytest.fixture
def store(files):
    """Features of nine pictures, flipped, in two shards."""
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), files)
    for part in (list(files)[:5], list(files)):
        Extractor(BASE, files, wanted="keras").fill(part, "flip")
    return cache.open_feature_store(BASE, "flip", "float32")


def features_entry():
    return next(entry for entry in cache.list_entries() if entry.store.spec["kind"] == "features")


def replace_rows(store, ids, rows):
    """Writes other rows with right checksums, as a damaged engine would."""
    store.drop(ids)
    store.append(ids, rows)


def flip_bit(path, place=0.5, bit=6):
    """Flips one bit of a file, by default an exponent's highest but one of a float32."""
    data = bytearray(path.read_bytes())
    offset = int(len(data) * place) // 4 * 4 + 3
    data[offset] ^= 1 << bit
    path.write_bytes(bytes(data))


def test_a_healthy_cache_passes(store):
    assert cache.recheck_entry(features_entry()) == cache.RecheckResult()


@pytest.mark.parametrize("size", ["slightly", "absurdly"])
def test_rows_that_a_bad_engine_wrote_are_found_though_they_have_their_checksums(store, files, size):
    ids = list(files)[5:]
    rows = store.read(ids)
    replace_rows(store, ids, rows * np.float32(1.1 if size == "slightly" else 1e30))
    entry = features_entry()
    removed = cache.verify_entry(entry) or list(cache.recheck_entry(entry).wrong)
    assert len(removed) == 1 and cache.open_feature_store(BASE, "flip", "float32").missing(files) == ids


def test_cached_rows_that_cannot_be_right_are_computed_again_when_they_are_read(store, files):
    right = store.read(list(files))
    replace_rows(store, list(files)[:2], np.full_like(right[:2], 1e36))
    replace_rows(store, list(files)[2:3], np.full_like(right[:1], np.nan))
    extractor = Extractor(BASE, files, wanted="keras")
    assert np.array_equal(extractor.features(list(files), "flip"), right) and extractor.computed == 3


def test_a_store_of_weights_that_are_not_here_is_skipped_with_a_reason(store, monkeypatch):
    entry = features_entry()
    entry.store.spec["weights"] = "0" * 64
    assert "weights" in cache.recheck_entry(entry).skipped


def test_weights_of_a_file_are_known_from_the_run_that_used_them(tmp_path):
    from pipeline.models.build import build_network

    file = tmp_path / "own.weights.h5"
    build_network(BASE).save_weights(file)
    base = parse_base(f"mobilenet_025@conv_pw_3_relu={file}", 32)
    spec = cache.open_feature_store(base, "plain", "float32").spec
    assert cache.find_base(spec) is None
    write_json(runs_folder("mine") / "one" / "environment.json", {"weights": {str(base): compute_weights_digest(base)}})
    assert cache.find_base(spec) == base


def test_a_store_without_its_decoded_pictures_is_skipped_with_a_reason(store):
    decoded = next(entry for entry in cache.list_entries() if entry.store.spec["kind"] == "pixels")
    cache.prune_stores([decoded.store.key])
    assert "decoded" in cache.recheck_entry(features_entry()).skipped


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """The folder of the base's exported network, which is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARSHIFT_HOME", str(tmp_path_factory.mktemp("home")))
        inference_engines.load_engine(BASE, inference_engines.EngineChoice(engine="openvino"))
        return inference_engines.find_engine_folder(BASE)


@pytest.fixture
def exported(pristine):
    """A copy of it, to be spoiled."""
    return shutil.copytree(pristine, inference_engines.find_engine_folder(BASE))


@pytest.mark.parametrize("name", inference_engines.EXPORT_FILES)
def test_an_exported_network_with_a_flipped_bit_is_exported_again_and_gives_the_same(
    store, exported, files, name, caplog
):
    before = store.read(list(files))
    flip_bit(exported / name)
    store.drop(list(files))
    again = Extractor(BASE, files, wanted="openvino").features(list(files), "flip")
    assert np.allclose(again, before, rtol=1e-3, atol=1e-4) and "damaged" in caplog.text
    assert inference_engines.is_export_intact(exported)


def test_an_exported_network_with_a_flipped_bit_is_removed_by_verify_and_a_whole_one_stays(exported):
    assert cache.remove_damaged_exports() == []
    flip_bit(exported / "network.bin")
    assert cache.remove_damaged_exports() == [exported.name] and not (exported / "network.xml").exists()


def test_a_remembered_choice_of_an_engine_that_does_not_exist_is_measured_anew(files, monkeypatch):
    measured = inference_engines.EngineChoice(engine="keras", pictures_per_second={"keras": 1.0})
    monkeypatch.setattr(inference_engines, "_benchmark_engines", lambda *_: measured)
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), files)
    write_json(
        inference_engines.find_engine_folder(BASE) / "engine.json",
        {"machine": inference_engines.describe_machine(), "engine": "openwino"},
    )
    monkeypatch.setattr(inference_engines, "has_gpu", lambda: False)
    assert Extractor(BASE, files).choose(list(files)) == measured


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_weight_that_is_no_number_is_refused_before_anything_is_cached(value, files, tmp_path):
    from pipeline.models.build import build_network

    network = build_network(BASE)
    weights = network.get_weights()
    weights[0].flat[3] = value
    network.set_weights(weights)
    network.save_weights(tmp_path / "nan.weights.h5")
    base = parse_base(f"mobilenet_025@conv_pw_3_relu={tmp_path / 'nan.weights.h5'}", 32)
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), files)
    for engine in ("keras", "openvino"):
        with pytest.raises(StarshiftError, match="hold NaN"):
            Extractor(base, files, wanted=engine).fill(list(files), "plain")
    assert cache.open_feature_store(base, "plain", "float32").missing(files) == list(files)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_features_that_cannot_be_right_are_refused_before_they_are_cached(files, value):
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), files)
    extractor = Extractor(BASE, files, wanted="keras")
    extractor._engine = lambda images: np.full((len(images), 32), value, np.float32)
    with pytest.raises(StarshiftError, match="cannot be right"):
        extractor.fill(list(files), "plain")
    assert cache.open_feature_store(BASE, "plain", "float32").missing(files) == list(files)
