"""Golden keys: they name files on users' disks, so a key that moves makes a cache worthless without a word.

Whatever the code comes to call them, the literals inside a specification keep their spelling: its names (`kind`,
`base`, `cut`, `pooling`, `weights`, `size`, `preprocessing`, `directions`, `pictures`, `resize`, `view`, `precision`,
`rows`, `augmentation`), the kinds, the poolings, the names of views, `random:SEED`. Imports and calls may be renamed
here; the keys stay, unless what is stored under them has changed, too.
"""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.pixel_cache import open_pixel_store
from pipeline.features.cache import open_feature_store
from pipeline.models import base as bases
from pipeline.models import pooling
from pipeline.models.base import parse_base

WEIGHTS = "0123456789abcdef" * 4
"""Stands for the SHA-256 of a file of published weights."""
RESIZED = "stretch, bilinear to twice the size and area to it, area above three times, 2"


@pytest.fixture
def published(monkeypatch):
    """Weights files that nobody needs to have."""
    monkeypatch.setattr(bases, "compute_weights_digest", lambda base: WEIGHTS)


@pytest.mark.parametrize(
    ("size", "key"), [(224, "7acdd6c64f17b44f"), (299, "42e5e6a8fb3ab20d"), (160, "e9f9d4a02a05f46d")]
)
def test_the_key_of_decoded_pictures(size, key):
    assert open_pixel_store(size).key == key


@pytest.mark.parametrize(
    ("text", "view", "precision", "key"),
    [
        ("mobilenet_025@conv_pw_3_relu=none", "plain", "float32", "14c63c530f466bf8"),
        ("mobilenet_025+max=none:1", "flip", "bfloat16", "efcb6a396eb5cd3d"),
        ("resnet50@conv4_block6_out+both=none", "augment-1", "float32", "7bc67dd42ee89cac"),
    ],
)
def test_the_key_of_features_with_each_pooling(text, view, precision, key):
    assert open_feature_store(parse_base(text, 224), view, precision).key == key


def test_the_key_of_activations_at_a_cut():
    base = replace(parse_base("mobilenet_v2@block_12_add=none", 160), pooling="none")
    assert open_feature_store(base, "rotate90", "float32").key == "66d190907951ee92"


def test_the_key_of_second_moments():
    base = replace(parse_base("inception_v3@mixed7=none", 299), pooling="second:0123456789abcdef")
    pooling.write_directions(base, np.eye(32, 5, dtype=np.float32))
    assert open_feature_store(base, "transverse", "bfloat16").key == "645a9ab84fe4a1b0"


def test_the_name_of_directions():
    base = pooling.name_directions(parse_base("inception_v3@mixed7+second=none", 299), ("ab" * 32, "cd" * 32))
    assert base.pooling == "second:24dfbb7ac5acae00"


@pytest.mark.parametrize(
    ("text", "view", "precision", "key"),
    [
        ("xception", "plain", "float32", "0f6e8bd2788f3c4f"),
        ("xception", "augment-2", "bfloat16", "6f1fe8f2420553d6"),
        ("mobilenet_v2", "flip-vertical", "float32", "f0192fd13cc944c1"),
        ("inception_v3@mixed8+both", "rotate270", "float32", "571ce3435f4d4cb8"),
        ("efficientnet_v2_b0", "transpose", "float32", "42eef585d8f77fe8"),
        ("efficientnet_lite2", "plain", "float32", "9d1cf179e14be75a"),
    ],
)
def test_the_key_of_features_of_published_weights(published, text, view, precision, key):
    assert open_feature_store(parse_base(text), view, precision).key == key


def test_what_a_store_says_of_decoded_pictures():
    assert open_pixel_store(299).spec == {"kind": "pixels", "size": 299, "resize": RESIZED}


def test_what_a_store_says_of_features(published):
    assert open_feature_store(parse_base("xception"), "augment-2", "float32").spec == {
        "kind": "features",
        "base": "xception",
        "cut": None,
        "pooling": "avg",
        "weights": WEIGHTS,
        "size": 299,
        "preprocessing": "tf",
        "resize": RESIZED,
        "view": "augment-2",
        "precision": "float32",
        "augmentation": 1,
    }


def test_a_key_is_the_name_of_a_folder_for_its_kind(home, published):
    store = open_feature_store(parse_base("xception"), "plain", "float32")
    assert store.folder == home / "data" / "cache" / "features" / "0f6e8bd2788f3c4f"
    assert open_pixel_store(224).folder == home / "data" / "cache" / "pixels" / "7acdd6c64f17b44f"


def test_directions_lie_in_a_file_of_their_name(home):
    base = replace(parse_base("inception_v3@mixed7=none", 299), pooling="second:0123456789abcdef")
    assert pooling.find_directions_path(base) == home / "data" / "directions" / "0123456789abcdef.npz"
