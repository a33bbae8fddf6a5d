"""The probe: one published base that every picture of a store and of a search is seen by, so that they can be compared.

Pictures are decoded and seen on this machine, and their features kept in the usual cache; nothing is sent anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import paths
from pipeline.data import pixel_cache
from pipeline.data.tables import list_pictures
from pipeline.errors import StarshiftError, require
from pipeline.features.extractor import Extractor
from pipeline.files import hash_file
from pipeline.learnware.types import Probe
from pipeline.models import base as bases
from pipeline.models.base import Base

DEFAULT_BASE, DEFAULT_SIZE = "mobilenet_v2", 224
"""The probe of a store where no other is asked for."""


@dataclass(frozen=True, kw_only=True)
class FolderFeatures:
    """The pictures of a folder, as the probe sees them.

    Args:
        names: of the pictures, by which the folder's owner knows them; of equal files the first.
        features: (pictures, width) float32.
        unreadable: why, by name.
        copies: files that are equal to another one, and are counted once.
    """

    names: tuple[str, ...]
    features: np.ndarray
    unreadable: Mapping[str, str]
    copies: int


def build_probe(base: Base) -> Probe:
    """What has to be equal where features are compared."""
    return Probe(
        base=str(base),
        size=base.size,
        digest=bases.compute_weights_digest(base),
        preprocessing=base.preprocessing,
    )


def load_probe_base(probe: Probe) -> Base:
    """The base of a probe, as it is on this machine.

    Raises:
        StarshiftError: there is none of this name, or its weights or preprocessing here are others.
    """
    base = bases.parse_base(probe.base, probe.size)
    require_equal_probes(build_probe(base), probe, "The probe on this machine is not that of the store.")
    return base


def require_equal_probes(received: Probe, expected: Probe, message: str) -> None:
    """Distances between what different probes see mean nothing.

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
    """What the probe gives for pictures, (pictures, width) float32, in the order of `digests`.

    Args:
        base: the probe's.
        files: where each picture lies, by the SHA-256 of its bytes.
        digests: of pictures that can be read.
        engine: `auto` or the name of an engine.
    """
    pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(base.size), files)
    return Extractor(base, files, wanted=engine).features(digests, "plain")


def extract_folder_features(folder: Path, base: Base, engine: str = "auto") -> FolderFeatures:
    """The pictures below a folder, as the probe sees them.

    Raises:
        StarshiftError: no such folder, or no picture in it that can be read.
    """
    require(folder.is_dir(), "There is no such folder.", expected="a folder of pictures", received=str(folder))
    found = list_pictures(folder)
    name_of: dict[str, str] = {}
    for name, path in found.items():
        name_of.setdefault(hash_file(path), name)
    files = {digest: found[name] for digest, name in name_of.items()}
    store = pixel_cache.open_pixel_store(base.size)
    pixel_cache.fill_pixel_store(store, files)
    bad = store.unreadable(files)
    good = [digest for digest in files if digest not in bad]
    require(
        good, "No picture here can be read.", expected=f"pictures in {paths.format_path(folder)}", received=len(found)
    )
    return FolderFeatures(
        names=tuple(name_of[digest] for digest in good),
        features=extract_features(base, {digest: files[digest] for digest in good}, good, engine),
        unreadable={name_of[digest]: reason for digest, reason in bad.items()},
        copies=len(found) - len(files),
    )
