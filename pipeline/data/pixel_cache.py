"""The pixel cache: every picture is decoded once, at the size of a base, and stored as uint8 RGB."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.data import images, transforms
from pipeline.data.row_store import (
    DamagedShardError,
    RowStore,
    compute_row_digest,
    compute_shard_rows,
    run_in_background,
)
from pipeline.paths import cache_folder
from pipeline.terminal import open_bar

DECODE_BATCH_SIZE = 16
"""Pictures of one task of a thread: a task's overhead is a tenth of a picture's time."""
DecodeResult = tuple[np.ndarray, str] | images.UnreadableImageError | OSError
"""A picture and its digest, or why it cannot be read: by its content, or only now."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def open_pixel_store(size: int) -> RowStore:
    """Returns the store of pictures resized to a square of `size` pixels: rows (size, size, 3) uint8 RGB."""
    return RowStore(cache_folder("pixels"), {"kind": "pixels", "size": size, "resize": images.RESIZE_METHOD})


def fill_pixel_store(store: RowStore, files: Mapping[str, Path]) -> int:
    """Decodes the pictures that the store lacks, in parallel, a shard at a time, the next one begun meanwhile.

    Args:
        store: from `open_pixel_store`.
        files: path of each picture, by the SHA-256 of its bytes.

    Returns:
        The number of pictures that were decoded or refused; `store.unreadable` lists the latter. A file that is no
        picture is remembered on disk, one that the disk does not give in this store alone.
    """
    size = store.spec["size"]
    missing = store.missing(files)
    step = compute_shard_rows(size * size * 3)
    with (
        ThreadPoolExecutor(os.cpu_count()) as decoders,
        run_in_background() as write,
        open_bar(total=len(missing), desc=f"decode {size} px", unit="picture") as bar,
    ):

        def begin(part: list[str]) -> list[Future[list[DecodeResult]]]:
            batches = _split([files[identity] for identity in part], DECODE_BATCH_SIZE)
            return [decoders.submit(lambda batch: [_decode_file(path, size) for path in batch], one) for one in batches]

        for part, decoding in _prefetch(begin, _split(missing, step)):
            write(_append_shard, store, part, [item for batch in decoding for item in batch.result()])
            bar.update(len(part))
    store.refresh()
    return len(missing)


def _split(items: Sequence[Item], step: int) -> list[list[Item]]:
    """Splits items into lists of `step`, the last one maybe shorter."""
    return [list(items[start : start + step]) for start in range(0, len(items), step)]


def _prefetch(begin: Callable[[Item], Result], parts: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
    """Yields each part with what `begin` returned for it; the next part is begun before a part is yielded."""
    ahead = [begin(part) for part in parts[:1]]
    for number, part in enumerate(parts):
        current = ahead.pop()
        ahead += [begin(later) for later in parts[number + 1 : number + 2]]
        yield part, current


def _decode_file(path: Path, size: int) -> DecodeResult:
    try:
        pixels = images.decode(path.read_bytes(), size)
    except (images.UnreadableImageError, OSError) as error:
        return error
    return pixels, compute_row_digest(pixels)


def _append_shard(store: RowStore, ids: Sequence[str], decoded: Sequence[DecodeResult]) -> None:
    """Writes one shard of decoded pictures."""
    good = [(identity, *item) for identity, item in zip(ids, decoded, strict=True) if isinstance(item, tuple)]
    bad = {identity: item for identity, item in zip(ids, decoded, strict=True) if not isinstance(item, tuple)}
    rows = np.stack([pixels for _, pixels, _ in good]) if good else np.empty(0, np.uint8)
    lasting = {identity: str(item) for identity, item in bad.items() if isinstance(item, images.UnreadableImageError)}
    if good or lasting:
        store.append([identity for identity, _, _ in good], rows, [digest for _, _, digest in good], lasting)
    store.overlook({identity: str(item) for identity, item in bad.items() if identity not in lasting})


def read_pixels(
    store: RowStore, digests: Sequence[str], files: Mapping[str, Path], *, copied: bool = True, few: bool = False
) -> np.ndarray:
    """Returns pixels (n, size, size, 3) uint8; a damaged shard is decoded again. See RowStore.read, and read_few."""
    try:
        return store.read_few(digests) if few else store.read(digests, copied=copied)
    except DamagedShardError:
        fill_pixel_store(store, files)
        return read_pixels(store, digests, files, copied=copied, few=few)


def read_cached_pixels(size: int, digests: Sequence[str]) -> np.ndarray | None:
    """Reads pixels (n, size, size, 3) uint8 of pictures whose files may be gone; None where a row is not whole."""
    store = open_pixel_store(size)
    if store.missing(digests) or store.unreadable(digests):
        return None
    try:
        return store.read_few(digests)
    except DamagedShardError:
        return None


def iterate_chunks(
    store: RowStore, digests: Sequence[str], files: Mapping[str, Path], view: str, most: int | None = None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields the pictures in one view, a shard's worth at a time, and reads the next ones meanwhile.

    Args:
        store: a filled pixel store.
        digests: of the pictures.
        files: path of each picture, by digest.
        view: as in Recipe.views.
        most: pictures at a time, at most.

    Yields:
        (digests, pixels): pixels (n, size, size, 3) uint8, read-only.
    """
    step = min(compute_shard_rows(store.spec["size"] ** 2 * 3), most or len(digests))

    def load(part: list[str]) -> np.ndarray:
        return transforms.apply_view(view, read_pixels(store, part, files, copied=False), part)

    with ThreadPoolExecutor(1) as reader:
        for part, reading in _prefetch(lambda part: reader.submit(load, part), _split(digests, step)):
            yield part, reading.result()
