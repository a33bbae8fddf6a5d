"""The probe: one published base whose features of pictures a store compares, and the folders of pictures it is used on.

Pictures are decoded on this machine, and their features kept in the usual cache; nothing is sent anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.data import pixel_cache
from pipeline.data.picture_files import list_pictures
from pipeline.errors import StarshiftError, require
from pipeline.features.extractor import Extractor
from pipeline.files import hash_file
from pipeline.learnware.types import Probe
from pipeline.models import base as bases
from pipeline.models.base import Base
from pipeline.terminal import open_bar

DEFAULT_BASE = "efficientnet_lite0"
"""The probe of a store for which no other is named, at its own size: its weights come with the requirements."""


@dataclass(frozen=True, kw_only=True)
class PictureFolder:
    """The pictures below a folder.

    Args:
        digests: SHA-256 of each picture that can be read, by name.
        files: where each of them lies, by digest; of equal files the first.
        unreadable: why the others cannot be read, by name.
    """

    digests: Mapping[str, str]
    files: Mapping[str, Path]
    unreadable: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class FolderFeatures:
    """The probe's features of the pictures of a folder.

    Args:
        names: of the pictures; of equal files the first.
        features: (pictures, width) float32.
        unreadable: why, by name.
        copies: files that are equal to another one, and are counted once.
    """

    names: tuple[str, ...]
    features: np.ndarray
    unreadable: Mapping[str, str]
    copies: int


def build_probe(base: Base) -> Probe:
    """Returns the probe that a base is: all that has to be equal where features are compared."""
    return Probe(
        base=str(base),
        size=base.size,
        digest=bases.compute_weights_digest(base),
        preprocessing=base.preprocessing,
    )


def load_probe_base(probe: Probe) -> Base:
    """Returns the base of a probe on this machine.

    Raises:
        StarshiftError: there is none of this name, or its weights or preprocessing here are others.
    """
    base = bases.parse_base(probe.base, probe.size)
    require_equal_probes(build_probe(base), probe, "The probe on this machine is not that of the store.")
    return base


def require_equal_probes(received: Probe, expected: Probe, message: str) -> None:
    """Refuses to compare the features of different probes, whose distances mean nothing.

    Raises:
        StarshiftError: the two are not the same in everything.
    """
    if received != expected:
        raise StarshiftError(
            message,
            expected=str(expected),
            received=str(received),
            remedy="use the same base, size and weights file; a store has one probe, and another probe another store",
        )


def extract_features(base: Base, files: Mapping[str, Path], digests: Sequence[str], engine: str = "auto") -> np.ndarray:
    """Returns the probe's features of pictures, (pictures, width) float32, in the order of `digests`.

    Args:
        base: the probe's.
        files: where each picture lies, by the SHA-256 of its bytes.
        digests: of pictures that can be read.
        engine: `auto` or the name of an engine.
    """
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(base.size), files)
    return Extractor(base, files, wanted=engine).features(digests, "plain")


def scan_folder(folder: Path, size: int) -> PictureFolder:
    """Finds the pictures below a folder that can be read, and decodes them into the pixel store of a size.

    Raises:
        StarshiftError: no such folder, or no picture in it that can be read.
    """
    expected = "--images with a folder of pictures"
    require(folder.is_dir(), "There is no such folder.", expected=expected, received=str(folder))
    pictures = list_pictures(folder)
    digests, files, unreadable = dict[str, str](), dict[str, Path](), dict[str, str]()
    for name, path in open_bar(pictures.items(), desc="read pictures", unit="picture"):
        try:
            digests[name] = hash_file(path)
        except OSError as error:
            unreadable[name] = str(error)
        else:
            files.setdefault(digests[name], path)
    store = pixel_cache.open_pixel_store(size)
    pixel_cache.fill_pixel_store(store, files)
    reasons = store.unreadable(files)
    unreadable |= {name: reasons[digest] for name, digest in digests.items() if digest in reasons}
    digests = {name: digest for name, digest in digests.items() if digest not in reasons}
    expected = f"pictures in {paths.format_path(folder)}"
    require(digests, "No picture here can be read.", expected=expected, received=len(pictures))
    return PictureFolder(
        digests=digests, files={digest: files[digest] for digest in digests.values()}, unreadable=unreadable
    )


def extract_folder_features(folder: Path, base: Base, engine: str = "auto") -> FolderFeatures:
    """Returns the probe's features of the pictures below a folder, of equal files once.

    Raises:
        StarshiftError: see `scan_folder`.
    """
    pictures = scan_folder(folder, base.size)
    name_of = {digest: name for name, digest in reversed([*pictures.digests.items()])}
    return FolderFeatures(
        names=tuple(name_of[digest] for digest in pictures.files),
        features=extract_features(base, pictures.files, list(pictures.files), engine),
        unreadable=pictures.unreadable,
        copies=len(pictures.digests) - len(pictures.files),
    )
