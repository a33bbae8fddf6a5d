"""Drawn pictures, by the digest of their file."""

from pathlib import Path

import pytest

from pipeline.data import pixel_cache
from pipeline.files import hash_file
from tests.conftest import drawn, encoded


def pictures(folder: Path, count: int) -> dict[str, Path]:
    """So many pictures, written into a folder."""
    found = {}
    for number in range(count):
        path = folder / f"{number}.jpg"
        path.write_bytes(encoded(drawn(number)))
        found[hash_file(path)] = path
    return found


@pytest.fixture
def files(tmp_path):
    """Five pictures, decoded at 32 px."""
    found = pictures(tmp_path, 5)
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), found)
    return found
