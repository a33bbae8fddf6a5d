"""The feature cache: one store of rows for each base, cut, pooling, weights, size, view and precision.

A row belongs to a picture, not to a competition: runs and competitions share them, and new pictures are only added.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.dataset import augment, images
from pipeline.dataset.shards import RowStore
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.models import bases
from pipeline.models.choice import extractor_spec
from pipeline.models.engines import usable

KINDS = ("pixels", "features", "answers")
"""Stores of rows in the cache: decoded pictures, what bases see, what learnwares say (learnware/answers.py)."""
STRAYS = "strays"
WRITING = 60
"""Seconds in which a file without its sidecar may still be one that another process is writing."""


def feature_store(base: bases.Base, view: str, precision: str) -> RowStore:
    """The store of what a base gives in a view: rows (width,) float32, or maps (height, width, channels) float16.

    Args:
        base: name, cut, pooling, weights, size.
        view: as in Recipe.views.
        precision: of the arithmetic, `float32` or `bfloat16`.
    """
    spec = {"kind": "features", **extractor_spec(base), "resize": images.RESIZE, "view": view, "precision": precision}
    if base.pooling == "none":
        spec["rows"] = "float16"
    if view not in augment.SYMMETRIES:
        spec["augmentation"] = augment.VERSION
    return RowStore(paths.cache_folder("features"), spec)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One store in the cache: what it is, and how large."""

    store: RowStore
    rows: int
    bytes: int
    last_used: float

    @property
    def description(self) -> str:
        """The specification in one line."""
        spec = self.store.spec
        if spec["kind"] == "pixels":
            return f"pixels {spec['size']} px"
        if spec["kind"] == "answers":
            return f"answers of {spec['learnware']} {spec['view']}"
        cut = f"@{spec['cut']}" if spec["cut"] else ""
        return f"{spec['base']}{cut}+{spec['pooling']} {spec['size']} px {spec['view']} {spec['precision']}"


def entries() -> list[Entry]:
    """Every store of rows in the cache, the largest first."""
    found = []
    for kind in KINDS:
        for folder in paths.cache_folder(kind).glob("*"):
            spec = read_json(folder / "spec.json")
            if spec is None:
                continue
            files = [path for path in folder.iterdir() if path.is_file()]
            store = RowStore(folder.parent, spec)
            rows = sum(len(store.ids(name)) for name in store.shards())
            size = sum(path.stat().st_size for path in files)
            found.append(
                Entry(store=store, rows=rows, bytes=size, last_used=max(path.stat().st_mtime for path in files))
            )
    return sorted(found, key=lambda entry: -entry.bytes)


def verify(entry: Entry) -> list[str]:
    """Checks every row of a store: its checksum, and that it can be a feature at all. See `recheck.py` for its value.

    Returns:
        The names of the shards that were damaged; they are removed.
    """
    damaged = [name for name in entry.store.shards() if not entry.store.intact(name) or not _is_usable(entry, name)]
    for name in damaged:
        entry.store.remove(name)
    return damaged


def _is_usable(entry: Entry, name: str) -> bool:
    """Whether all rows of a whole shard are finite and of a size that features can have."""
    path = entry.store.folder / f"{name}.npy"
    if entry.store.spec["kind"] != "features" or not path.exists():
        return True
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    return bool(usable(rows, str(rows.dtype)).all())


def strays() -> list[Path]:
    """Files that belong to no shard: what an interrupted write left behind, and nobody is just writing."""
    left = []
    for kind in KINDS:
        for folder in paths.cache_folder(kind).glob("*"):
            left += list(folder.glob(".*.partial"))
            left += [path for path in folder.glob("*.npy") if not path.with_suffix(".json").exists()]
    return [path for path in left if time.time() - path.stat().st_mtime > WRITING]


def prune(keys: Sequence[str]) -> int:
    """Removes the stores of these keys, and strays. Returns the bytes that are free again.

    Raises:
        StarshiftError: a key that no store has.
    """
    listed = entries()
    known = [entry.store.key for entry in listed]
    if unknown := set(keys) - {*known, STRAYS}:
        raise StarshiftError(
            "The cache has no such store.",
            expected=" | ".join((STRAYS, *known)),
            received=", ".join(sorted(unknown)),
        )
    freed = 0
    for path in strays():
        freed += path.stat().st_size
        path.unlink(missing_ok=True)
    for entry in listed:
        if entry.store.key in keys:
            freed += sum(path.stat().st_size for path in entry.store.folder.iterdir())
            shutil.rmtree(entry.store.folder)
    return freed


def summary(listed: Sequence[Entry]) -> dict[str, Any]:
    """Number of stores, rows and bytes."""
    return {
        "stores": len(listed),
        "rows": sum(entry.rows for entry in listed),
        "bytes": sum(entry.bytes for entry in listed),
    }
