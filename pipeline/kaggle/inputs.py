"""What is attached to a Kaggle kernel: found by name under /kaggle/input, whichever way Kaggle lays it out.

Today's layout is competitions/SLUG, datasets/OWNER/SLUG, models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION and
notebooks/OWNER/SLUG; the older one has everything right below. So nothing here counts levels.

Public datasets that have Keras's weights files, by the files' names. Data only, and none of it was seen by us.

Source: public notebooks that read these files from there (GitHub, searched in 2026). It has resnet50 too, but from
before Keras changed that file in 2019, so it is left out. Whoever uses a file holds it against its digest. Kaggle's own
models `keras/...` hold KerasHub's presets, which are other files.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline import paths
from pipeline.kaggle import archives

MAX_DEPTH = 9
"""Levels that are looked through; a model's files lie seven below."""
COMPETITIONS_FOLDER = "competitions"


def find_competition_folder(slug: str) -> Path | None:
    """The folder of a competition's data, where it is attached; None elsewhere."""
    inputs = paths.kaggle_folder("input")
    places = (inputs / COMPETITIONS_FOLDER / slug, inputs / slug)
    return next((path for path in places if path.is_dir()), None) if paths.is_inside_kernel() else None


def find_files(name: str) -> Iterator[Path]:
    """Attached files of this name, those nearest to /kaggle/input first; competitions of today's layout left out."""
    return (path for path in _walk_inputs() if path.name == name and path.is_file())


def find_folders(name: str) -> Iterator[Path]:
    """Attached folders of this name, those nearest to /kaggle/input first."""
    return (path for path in _walk_inputs() if path.name == name and path.is_dir())


def _walk_inputs() -> Iterator[Path]:
    """Everything below /kaggle/input, a level at a time; nothing outside a kernel."""
    inputs = paths.kaggle_folder("input")
    level = [inputs] if paths.is_inside_kernel() and inputs.is_dir() else []
    for depth in range(MAX_DEPTH):
        below = []
        for folder in level:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:  # an entry knows what it is; asking each path would take minutes on Kaggle's mounts
                yield Path(entry.path)
                if entry.is_dir() and not (depth == 0 and entry.name == COMPETITIONS_FOLDER):
                    below.append(Path(entry.path))
        level = below


def list_archives(mount: Path) -> list[Path]:
    """The archives in a mounted folder, or one level below, which are meant to be unpacked."""
    found = [path for pattern in ("*.*", "*/*.*") for path in sorted(mount.glob(pattern))]
    return [path for path in found if archives.is_nested_archive(path)]


def unpack_mount(mount: Path, folder: Path) -> archives.UnpackSummary:
    """Brings a mounted competition together in a folder: its archives unpacked, all else linked to.

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


def find_public_dataset(name: str) -> str | None:
    """The public dataset, `owner/slug`, that has a file of this name."""
    return next((ref for ref, names in PUBLIC_DATASETS.items() if name in names), None)
