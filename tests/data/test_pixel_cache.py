"""The pixel store: every picture is decoded into its own row, however many threads and shards there are."""

import cv2
import numpy as np
import pytest

from pipeline.data import images, pixel_cache
from tests.conftest import drawn


@pytest.fixture
def files(tmp_path):
    """Fifty pictures, of which two cannot be read."""
    paths = {}
    for number in range(50):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), drawn(number))
        paths[f"{number:064x}"] = path
    for number in (17, 40):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    return paths


def test_pictures_of_many_shards_lie_in_rows_of_their_own(files, monkeypatch):
    monkeypatch.setattr(pixel_cache, "compute_shard_rows", lambda row_bytes: 19)
    store = pixel_cache.open_pixel_store(32)
    assert pixel_cache.fill_pixel_store(store, files) == 50
    assert len(store.shards()) == 3
    assert sorted(store.unreadable(files)) == [f"{17:064x}", f"{40:064x}"]
    readable = {identity: path for identity, path in files.items() if identity not in store.unreadable(files)}
    expected = np.stack([images.decode(path.read_bytes(), 32) for path in readable.values()])
    assert (store.read(list(readable)) == expected).all()
    assert pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(32), files) == 0


def test_what_the_disk_does_not_give_is_not_remembered_as_unreadable(files):
    away = files[f"{3:064x}"].rename(files[f"{3:064x}"].with_suffix(".away"))
    store = pixel_cache.open_pixel_store(32)
    pixel_cache.fill_pixel_store(store, files)
    assert f"{3:064x}" in store.unreadable(files)
    away.rename(files[f"{3:064x}"])
    again = pixel_cache.open_pixel_store(32)
    assert pixel_cache.fill_pixel_store(again, files) == 1 and sorted(again.unreadable(files)) == [
        f"{17:064x}",
        f"{40:064x}",
    ]


def test_chunks_in_a_view_are_the_pictures_in_that_view(files, monkeypatch):
    del files[f"{17:064x}"], files[f"{40:064x}"]
    store = pixel_cache.open_pixel_store(32)
    pixel_cache.fill_pixel_store(store, files)
    monkeypatch.setattr(pixel_cache, "compute_shard_rows", lambda row_bytes: 19)
    digests = list(files)[::-1] + list(files)[:10]
    plain = store.read(digests)
    for view, seen in (("plain", plain), ("flip", plain[:, :, ::-1])):
        parts = list(pixel_cache.iterate_chunks(store, digests, files, view))
        assert [identity for part, _ in parts for identity in part] == digests
        assert (np.concatenate([shown for _, shown in parts]) == seen).all()
