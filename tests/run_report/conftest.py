"""What the tests of the report share: a run whose pictures and features are in the caches."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.pixel_cache import open_pixel_store
from pipeline.features.cache import open_feature_store
from pipeline.models.base import parse_base
from tests.written import written

BASE = "mobilenet_025=none"


def cache_pictures(folder: Path, size: int = 96, noise: bool = False) -> dict[str, str]:
    """Fills the pixel and feature caches with rows for every picture of a run; returns the digests by id."""
    with np.load(folder / "oof.npz") as stored:
        ids, classes = list(map(str, stored["ids"])), stored["probabilities"].shape[1]
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ids}
    random, truth = np.random.default_rng(0), np.array([int(name[1:]) % classes for name in ids])
    pixels = np.repeat(random.integers(0, 256, (len(ids), 1, 1, 3), np.uint8), size, axis=1).repeat(size, axis=2)
    if noise:
        pixels = random.integers(0, 256, (len(ids), size, size, 3), np.uint8)
    open_pixel_store(size).append(list(digests.values()), pixels)
    rows = np.eye(classes, 130, dtype=np.float32)[truth] + random.normal(0, 0.1, (len(ids), 130)).astype(np.float32)
    open_feature_store(parse_base(BASE), "plain", "float32").append(list(digests.values()), rows)
    return digests


@pytest.fixture
def cached_run() -> tuple[Path, dict[str, str]]:
    """A run of four classes with its pictures and features in the caches."""
    folder = written(2.0, pictures=200, bases=(BASE,))
    return folder, cache_pictures(folder)
