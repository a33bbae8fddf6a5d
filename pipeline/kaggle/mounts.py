"""What is attached to a Kaggle kernel: found by name under /kaggle/input, whichever way Kaggle lays it out.

Today's layout is competitions/SLUG, datasets/OWNER/SLUG, models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION and
notebooks/OWNER/SLUG; the older one has everything right below. So nothing here counts levels.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline import paths
from pipeline.kaggle import archives

DEPTH = 9
"""Levels that are looked through; a model's files lie seven below."""
COMPETITIONS = "competitions"


def competition(slug: str) -> Path | None:
    """The folder of a competition's data, where it is attached; None elsewhere."""
    inputs = paths.kaggle("input")
    places = (inputs / COMPETITIONS / slug, inputs / slug)
    return next((path for path in places if path.is_dir()), None) if paths.inside_kernel() else None


def files(name: str) -> Iterator[Path]:
    """Attached files of this name, those nearest to /kaggle/input first; competitions of today's layout left out."""
    return (path for path in _walk() if path.name == name and path.is_file())


def folders(name: str) -> Iterator[Path]:
    """Attached folders of this name, those nearest to /kaggle/input first."""
    return (path for path in _walk() if path.name == name and path.is_dir())


def _walk() -> Iterator[Path]:
    """Everything below /kaggle/input, a level at a time; nothing outside a kernel."""
    inputs = paths.kaggle("input")
    level = [inputs] if paths.inside_kernel() and inputs.is_dir() else []
    for depth in range(DEPTH):
        below = []
        for folder in level:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:  # an entry knows what it is; asking each path would take minutes on Kaggle's mounts
                yield Path(entry.path)
                if entry.is_dir() and not (depth == 0 and entry.name == COMPETITIONS):
                    below.append(Path(entry.path))
        level = below


def packed(mount: Path) -> list[Path]:
    """The archives in a mounted folder, or one level below, which are meant to be unpacked."""
    found = [path for pattern in ("*.*", "*/*.*") for path in sorted(mount.glob(pattern))]
    return [path for path in found if archives.is_inner(path)]


def gather(mount: Path, folder: Path) -> archives.Summary:
    """Brings a mounted competition together in a folder: its archives unpacked, all else linked to.

    Args:
        mount: cannot be written to.
        folder: is made.

    Raises:
        StarshiftError: see archives.unpack.
    """
    holders = {path.parent for path in packed(mount)} - {mount}
    folder.mkdir(parents=True)
    for path in sorted(mount.iterdir()):
        place = folder / path.name
        place.mkdir() if path in holders else place.symlink_to(path)
        for inner in sorted(path.iterdir()) if path in holders else ():
            (place / inner.name).symlink_to(inner)
    return archives.unpack_inside(folder)
