"""Finds what is attached to a Kaggle kernel by name under /kaggle/input, and public datasets of weights.

Today's layout is competitions/SLUG, datasets/OWNER/SLUG, models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION and
notebooks/OWNER/SLUG; the older one has everything right below /kaggle/input. So nothing here counts levels.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline import paths
from pipeline.kaggle import archives

MAX_DEPTH = 9
"""Levels that are searched; a model's files lie seven below."""
COMPETITIONS_FOLDER = "competitions"


def find_competition_folder(slug: str) -> Path | None:
    """Returns the folder of a competition's data, where it is attached; None elsewhere."""
    inputs = paths.kaggle_folder("input")
    places = (inputs / COMPETITIONS_FOLDER / slug, inputs / slug)
    found = (path for path in itertools.chain(places, find_folders(slug)) if path.is_dir())
    return next(found, None) if paths.is_inside_kernel() else None


def find_files(name: str) -> Iterator[Path]:
    """Yields attached files of this name, those nearest to /kaggle/input first; today's competitions are left out."""
    return (path for path in _walk_inputs() if path.name == name and path.is_file())


def find_folders(name: str) -> Iterator[Path]:
    """Yields attached folders of this name, those nearest to /kaggle/input first."""
    return (path for path in _walk_inputs() if path.name == name and path.is_dir())


def _walk_inputs() -> Iterator[Path]:
    """Yields everything below /kaggle/input, a level at a time; nothing outside a kernel."""
    inputs = paths.kaggle_folder("input")
    level = [inputs] if paths.is_inside_kernel() and inputs.is_dir() else []
    for depth in range(MAX_DEPTH):
        below = []
        for folder in level:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
            for entry in ordered:  # an entry has its type; a stat of each path would take minutes on Kaggle's mounts
                yield Path(entry.path)
                if entry.is_dir() and not (depth == 0 and entry.name == COMPETITIONS_FOLDER):
                    below.append(Path(entry.path))
        level = below


def list_archives(mount: Path) -> list[Path]:
    """Returns the archives to unpack in a mounted folder, or one level below."""
    files = [path for pattern in ("*.*", "*/*.*") for path in sorted(mount.glob(pattern))]
    return [path for path in files if archives.is_nested_archive(path)]


def unpack_mount(mount: Path, folder: Path) -> archives.UnpackSummary:
    """Builds a mounted competition's folder: archives are unpacked, all else is linked.

    Args:
        mount: cannot be written to.
        folder: is made.

    Raises:
        StarshiftError: see archives.unpack_archive.
    """
    holders = {path.parent for path in list_archives(mount)} - {mount}
    folder.mkdir(parents=True)
    for path in sorted(mount.iterdir()):
        place = folder / path.name
        place.mkdir() if path in holders else place.symlink_to(path)
        for inner in sorted(path.iterdir()) if path in holders else ():
            (place / inner.name).symlink_to(inner)
    return archives.unpack_nested(folder)


NOTOP_SUFFIX = "weights_tf_dim_ordering_tf_kernels_notop.h5"
PUBLIC_DATASETS = {
    "gaborfodor/keras-pretrained-models": tuple(
        f"{name}_{NOTOP_SUFFIX}" for name in ("xception", "inception_v3", "inception_resnet_v2", "vgg16", "vgg19")
    ),
}
"""Weights files of Keras by dataset. Source: public notebooks that read them (GitHub, searched in 2026); not seen by
us, so a file's digest is checked. The dataset's resnet50 is left out: Keras changed that file in 2019. Kaggle's own
models `keras/...` hold KerasHub's presets, which are other files."""


def find_public_dataset(name: str) -> str | None:
    """Returns the public dataset, `owner/slug`, that has a file of this name."""
    return next((ref for ref, names in PUBLIC_DATASETS.items() if name in names), None)
