"""The pixel store: every picture decoded once, at the size that a base wants, kept as uint8 RGB."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.dataset import augment, images
from pipeline.dataset.shards import DamagedShardError, RowStore, behind, row_digest, shard_rows
from pipeline.paths import cache_folder


def pixel_store(size: int) -> RowStore:
    """The store of pictures resized to a square of `size` pixels: rows (size, size, 3) uint8 RGB."""
    return RowStore(cache_folder("pixels"), {"kind": "pixels", "size": size, "resize": images.RESIZE})


def fill(store: RowStore, files: Mapping[str, Path]) -> int:
    """Decodes the pictures that the store lacks, in parallel, a shard at a time.

    Args:
        store: from `pixel_store`.
        files: where each picture lies, by the SHA-256 of its bytes.

    Returns:
        How many pictures were looked at; those that cannot be read are listed in `store.unreadable`.
    """
    size = store.spec["size"]
    missing = store.missing(files)
    step = shard_rows(size * size * 3)
    with (
        ThreadPoolExecutor(os.cpu_count()) as decoders,
        behind() as write,
        tqdm(total=len(missing), desc=f"decode {size} px", unit="picture", disable=None, leave=False) as bar,
    ):
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            decoded = list(decoders.map(lambda identity: _decode(files[identity], size), part, chunksize=8))
            write(_append, store, part, decoded)
            bar.update(len(part))
    store.refresh()
    return len(missing)


def _decode(path: Path, size: int) -> tuple[np.ndarray, str] | str:
    """A picture and its digest, or why it cannot be read."""
    try:
        pixels = images.decode(path.read_bytes(), size)
    except (images.Unreadable, OSError) as error:
        return str(error) or type(error).__name__
    return pixels, row_digest(pixels)


def _append(store: RowStore, ids: Sequence[str], decoded: Sequence[tuple[np.ndarray, str] | str]) -> None:
    """Writes one shard of decoded pictures."""
    good = [(identity, *item) for identity, item in zip(ids, decoded, strict=True) if not isinstance(item, str)]
    bad = {identity: item for identity, item in zip(ids, decoded, strict=True) if isinstance(item, str)}
    rows = np.stack([pixels for _, pixels, _ in good]) if good else np.empty(0, np.uint8)
    store.append([identity for identity, _, _ in good], rows, [digest for _, _, digest in good], bad)


def read(store: RowStore, digests: Sequence[str], files: Mapping[str, Path]) -> np.ndarray:
    """The pictures' pixels, (n, size, size, 3) uint8; a damaged shard is decoded again."""
    try:
        return store.read(digests)
    except DamagedShardError:
        fill(store, files)
        return read(store, digests, files)


def chunks(
    store: RowStore, digests: Sequence[str], files: Mapping[str, Path], view: str, most: int | None = None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """The pictures in one view, a shard's worth at a time, the next one read while the last one is worked on.

    Args:
        store: a filled pixel store.
        digests: of the pictures.
        files: where each picture lies, by digest.
        view: as in Recipe.views.
        most: so many pictures at a time at most.

    Yields:
        (digests, pixels): pixels (n, size, size, 3) uint8.
    """
    step = min(shard_rows(store.spec["size"] ** 2 * 3), most or len(digests))
    parts = [list(digests[start : start + step]) for start in range(0, len(digests), step)]

    def load(part: list[str]) -> np.ndarray:
        return augment.apply(view, read(store, part, files), part)

    with ThreadPoolExecutor(1) as reader:
        following = [reader.submit(load, part) for part in parts[:1]]
        for number, part in enumerate(parts):
            pixels = following.pop().result()
            following.extend(reader.submit(load, later) for later in parts[number + 1 : number + 2])
            yield part, pixels
