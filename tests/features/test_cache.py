"""The feature cache: golden keys, only what is missing is computed, and what is damaged is computed again."""

import os
import time

import numpy as np
import pytest

from pipeline.data import pixel_cache
from pipeline.errors import StarshiftError
from pipeline.features import cache
from pipeline.features.extractor import Extractor
from pipeline.files import read_json
from pipeline.models.base import parse_base
from tests.conftest import needs_tensorflow
from tests.features.conftest import pictures

pytestmark = pytest.mark.filterwarnings("ignore")
BASE = parse_base("mobilenet_025@conv_pw_3_relu=none", 32)


@pytest.fixture
def files(tmp_path):
    return pictures(tmp_path, 9)


def extractor(files):
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), files)
    return Extractor(BASE, files, wanted="keras")


@needs_tensorflow  # the weights are random, which other backends draw otherwise
def test_the_key_of_what_a_base_sees_is_golden():
    assert cache.open_feature_store(BASE, "plain", "float32").key == "bb8140b257d20db5"


@pytest.mark.parametrize(
    "other",
    [
        ("mobilenet_025@conv_pw_4_relu=none", 32, "plain", "float32"),
        ("mobilenet_025@conv_pw_3_relu+max=none", 32, "plain", "float32"),
        ("mobilenet_025@conv_pw_3_relu=none:1", 32, "plain", "float32"),
        ("mobilenet_025@conv_pw_3_relu=none", 64, "plain", "float32"),
        ("mobilenet_025@conv_pw_3_relu=none", 32, "flip", "float32"),
        ("mobilenet_025@conv_pw_3_relu=none", 32, "plain", "bfloat16"),
    ],
)
def test_everything_that_the_values_depend_on_moves_the_key(other):
    text, size, view, precision = other
    changed = cache.open_feature_store(parse_base(text, size), view, precision)
    assert changed.key != cache.open_feature_store(BASE, "plain", "float32").key


def test_features_are_computed_once_and_new_pictures_are_only_added(files):
    digests = list(files)
    first = extractor(files)
    before = first.features(digests[:6], "plain")
    second = extractor(files)
    after = second.features(digests, "plain")
    assert (first.computed, second.computed) == (6, 3) and (after[:6] == before).all()


def test_a_damaged_shard_is_computed_again(files):
    digests = list(files)
    first = extractor(files)
    before = first.features(digests, "plain")
    shard = next(cache.open_feature_store(BASE, "plain", "float32").folder.glob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-4] + b"\1\2\3\4")
    second = extractor(files)
    assert (second.features(digests, "plain") == before).all() and second.computed == 9


def test_a_flipped_view_is_the_base_on_flipped_pixels(files):
    digests = list(files)
    found = extractor(files)
    found.features(digests, "plain")
    pictures = pixel_cache.open_pixel_store(32).read(digests)
    assert np.allclose(found.features(digests, "flip"), found._engine(np.ascontiguousarray(pictures[:, :, ::-1])))


def test_the_cache_is_listed_verified_and_pruned(files):
    extractor(files).features(list(files), "plain")
    listed = cache.list_entries()
    assert {entry.store.spec["kind"] for entry in listed} == {"pixels", "features"}
    assert all(entry.rows == 9 and cache.verify_entry(entry) == [] for entry in listed)
    with pytest.raises(StarshiftError, match="no such store"):
        cache.prune_stores(["nosuchkey"])
    cache.prune_stores([listed[0].store.key])
    assert len(cache.list_entries()) == 1


def test_what_an_interrupted_write_left_is_pruned_and_what_is_being_written_is_not(files):
    extractor(files).features(list(files), "plain")
    folder = cache.list_entries()[0].store.folder
    left = [folder / ".x.npy.1.partial", folder / "x.npy"]
    for path in left:
        path.write_bytes(b"half")
    assert cache.prune_stores(["strays"]) == 0 and all(path.exists() for path in left)
    for path in left:
        os.utime(path, (time.time() - 3600,) * 2)
    assert cache.prune_stores(["strays"]) == 8 and not any(path.exists() for path in left)


def test_a_damaged_sidecar_is_counted_as_damaged(files):
    extractor(files).features(list(files), "plain")
    sidecar = next(path for path in cache.list_entries()[0].store.folder.glob("*.json") if path.stem != "spec")
    sidecar.write_text("{")
    entry = cache.list_entries()[0]
    assert entry.rows == 0 and cache.verify_entry(entry) == [sidecar.stem] and not sidecar.exists()


def test_features_that_are_computed_again_take_the_place_of_the_old_ones(files):
    digests = list(files)
    extractor(files).fill(digests, "plain")
    store = cache.open_feature_store(BASE, "plain", "float32")
    width = store.read(digests).shape[1]
    store.drop(digests[:4])
    store.append(digests[:4], np.zeros((4, width), np.float32))
    forced = Extractor(BASE, files, wanted="keras", force=True)
    forced.fill(digests[1:6], "plain")
    found = cache.open_feature_store(BASE, "plain", "float32").read(digests)
    assert (found[0] == 0).all() and (np.ptp(found[1:], axis=1) > 0).all() and forced.computed == 5
    forced.fill(digests[2:], "plain")
    assert forced.computed == 8, "those that were computed a moment ago are not computed again"
    names = [name for shard in store.shards() for name in read_json(store.folder / f"{shard}.json")["ids"]]
    assert sorted(names) == sorted(digests), "each picture once"
