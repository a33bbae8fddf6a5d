"""A folder of pictures of one's own: which of them can be read, and their pixels, some at a time."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.dataset import images
from pipeline.dataset.listing import list_pictures
from pipeline.errors import require
from pipeline.files import sha256_of_file

CHUNK = 256
"""Pictures that are decoded at a time."""


def decoded(files: Mapping[str, Path], sizes: Sequence[int]) -> Iterator[tuple[list[str], dict[int, np.ndarray]]]:
    """Digests and pixels (n, size, size, 3) uint8 by size, some pictures at a time.

    Raises:
        images.Unreadable: one of them cannot be read.
    """
    digests = list(files)
    with ThreadPoolExecutor() as pool:
        for start in tqdm(range(0, len(digests), CHUNK), desc="predict", unit="part", disable=None, leave=False):
            part = digests[start : start + CHUNK]
            data = [files[digest].read_bytes() for digest in part]
            yield (
                part,
                {
                    size: np.stack(list(pool.map(lambda one, size=size: images.decode(one, size), data)))
                    for size in sizes
                },
            )


def look(folder: Path) -> tuple[dict[str, str], dict[str, Path], dict[str, str]]:
    """The pictures below a folder.

    Returns:
        The digest of each that can be read, by name; the file, by digest; why the others cannot be read, by name.

    Raises:
        StarshiftError: no such folder, or no picture in it.
    """
    require(
        folder.is_dir(), "There is no such folder.", expected="--images with a folder of pictures", received=str(folder)
    )
    found = list_pictures(folder)
    require(found, "There is no picture.", expected=f"pictures in {folder}", received=0)
    with ThreadPoolExecutor() as pool:
        reasons = dict(zip(found, pool.map(_unreadable, found.values()), strict=True))
    digest_of = {name: sha256_of_file(path) for name, path in found.items() if not reasons[name]}
    files = {digest: found[name] for name, digest in digest_of.items()}
    return digest_of, files, {name: reason for name, reason in reasons.items() if reason}


def _unreadable(path: Path) -> str:
    """Why a picture cannot be read; empty where it can."""
    try:
        images.decode(path.read_bytes(), 32)
    except (images.Unreadable, OSError) as error:
        return str(error) or type(error).__name__
    return ""
