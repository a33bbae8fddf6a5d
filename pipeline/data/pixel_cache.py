"""The pixel store: every picture decoded once, at the size that a base wants, kept as uint8 RGB."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.data import images, transforms
from pipeline.data.row_store import (
    DamagedShardError,
    RowStore,
    compute_row_digest,
    compute_shard_rows,
    run_in_background,
)
from pipeline.paths import cache_folder

DECODE_BATCH_SIZE = 16
"""Pictures that a thread decodes before it asks for more: asking takes a tenth of a picture's time."""
DecodeResult = tuple[np.ndarray, str] | images.UnreadableImageError | OSError
"""A picture and its digest, or why it cannot be read: by its content, or only now."""


def open_pixel_store(size: int) -> RowStore:
    """The store of pictures resized to a square of `size` pixels: rows (size, size, 3) uint8 RGB."""
    return RowStore(cache_folder("pixels"), {"kind": "pixels", "size": size, "resize": images.RESIZE_METHOD})


def fill_pixel_store(store: RowStore, files: Mapping[str, Path]) -> int:
    """Decodes the pictures that the store lacks, in parallel, a shard at a time, the next one begun meanwhile.

    Args:
        store: from `open_pixel_store`.
        files: where each picture lies, by the SHA-256 of its bytes.

    Returns:
        How many pictures were looked at; those that cannot be read are listed in `store.unreadable`. What the disk does
        not give is so for this store alone, what is no picture is remembered.
    """
    size = store.spec["size"]
    missing = store.missing(files)
    step = compute_shard_rows(size * size * 3)
    with (
        ThreadPoolExecutor(os.cpu_count()) as decoders,
        run_in_background() as write,
        tqdm(total=len(missing), desc=f"decode {size} px", unit="picture", disable=None, leave=False) as bar,
    ):

        def begun(part: Sequence[str]) -> list[Future[list[DecodeResult]]]:
            groups = (part[start : start + DECODE_BATCH_SIZE] for start in range(0, len(part), DECODE_BATCH_SIZE))
            return [decoders.submit(_decode_batch, [files[identity] for identity in group], size) for group in groups]

        parts = [missing[start : start + step] for start in range(0, len(missing), step)]
        following = [begun(part) for part in parts[:1]]
        for number, part in enumerate(parts):
            decoding = following.pop()
            following.extend(begun(later) for later in parts[number + 1 : number + 2])
            write(_append_shard, store, part, [item for group in decoding for item in group.result()])
            bar.update(len(part))
    store.refresh()
    return len(missing)


def _decode_batch(paths: Sequence[Path], size: int) -> list[DecodeResult]:
    """Some pictures, one after the other."""
    return [_decode_file(path, size) for path in paths]


def _decode_file(path: Path, size: int) -> DecodeResult:
    """One picture."""
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
    store: RowStore, digests: Sequence[str], files: Mapping[str, Path], *, copied: bool = True
) -> np.ndarray:
    """The pictures' pixels, (n, size, size, 3) uint8; a damaged shard is decoded again. See RowStore.read."""
    try:
        return store.read(digests, copied=copied)
    except DamagedShardError:
        fill_pixel_store(store, files)
        return read_pixels(store, digests, files, copied=copied)


def iterate_chunks(
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
        (digests, pixels): pixels (n, size, size, 3) uint8, to be read only.
    """
    step = min(compute_shard_rows(store.spec["size"] ** 2 * 3), most or len(digests))
    parts = [list(digests[start : start + step]) for start in range(0, len(digests), step)]

    def load(part: list[str]) -> np.ndarray:
        return transforms.apply_view(view, read_pixels(store, part, files, copied=False), part)

    with ThreadPoolExecutor(1) as reader:
        following = [reader.submit(load, part) for part in parts[:1]]
        for number, part in enumerate(parts):
            pixels = following.pop().result()
            following.extend(reader.submit(load, later) for later in parts[number + 1 : number + 2])
            yield part, pixels
