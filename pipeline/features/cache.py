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
from pipeline.data import images, transforms
from pipeline.data.row_store import RowStore
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.models import base as bases
from pipeline.models.inference_engines import build_extractor_spec, find_usable_rows

STORE_KINDS = ("pixels", "features", "answers")
"""Stores of rows: decoded pictures, features, predictions of learnwares (learnware/cached_predictions.py)."""
STRAY_FILES = "strays"
WRITE_GRACE_SECONDS = 60
"""Seconds in which a file without its sidecar may still be one that another process is writing."""


def open_feature_store(base: bases.Base, view: str, precision: str) -> RowStore:
    """The store of what a base gives in a view: rows (width,) float32, or maps (height, width, channels) float16.

    Args:
        base: name, cut, pooling, weights, size.
        view: as in Recipe.views.
        precision: of the arithmetic, `float32` or `bfloat16`.
    """
    spec = {
        "kind": "features",
        **build_extractor_spec(base),
        "resize": images.RESIZE_METHOD,
        "view": view,
        "precision": precision,
    }
    if base.pooling == "none":
        spec["rows"] = "float16"
    if view not in transforms.SYMMETRIES:
        spec["augmentation"] = transforms.AUGMENTATION_VERSION
    return RowStore(paths.cache_folder("features"), spec)


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
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


def list_entries() -> list[CacheEntry]:
    """Every store of rows in the cache, the largest first."""
    found = []
    for kind in STORE_KINDS:
        for folder in paths.cache_folder(kind).glob("*"):
            spec = read_json(folder / "spec.json")
            if spec is None:
                continue
            files = [path for path in folder.iterdir() if path.is_file()]
            store = RowStore(folder.parent, spec)
            rows = sum(len(store.ids(name)) for name in store.shards())
            size = sum(path.stat().st_size for path in files)
            found.append(
                CacheEntry(store=store, rows=rows, bytes=size, last_used=max(path.stat().st_mtime for path in files))
            )
    return sorted(found, key=lambda entry: -entry.bytes)


def verify_entry(entry: CacheEntry) -> list[str]:
    """Checks every row of a store: its checksum, and that it can be a feature at all. See `recheck.py` for its value.

    Returns:
        The names of the shards that were damaged; they are removed.
    """
    damaged = [
        name for name in entry.store.shards() if not entry.store.intact(name) or not _has_usable_rows(entry, name)
    ]
    for name in damaged:
        entry.store.remove(name)
    return damaged


def _has_usable_rows(entry: CacheEntry, name: str) -> bool:
    """Whether all rows of a whole shard are finite and of a size that features can have."""
    path = entry.store.folder / f"{name}.npy"
    if entry.store.spec["kind"] != "features" or not path.exists():
        return True
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    return bool(find_usable_rows(rows, str(rows.dtype)).all())


def list_stray_files() -> list[Path]:
    """Files that belong to no shard: what an interrupted write left behind, and nobody is just writing."""
    left = []
    for kind in STORE_KINDS:
        for folder in paths.cache_folder(kind).glob("*"):
            left += list(folder.glob(".*.partial"))
            left += [path for path in folder.glob("*.npy") if not path.with_suffix(".json").exists()]
    return [path for path in left if time.time() - path.stat().st_mtime > WRITE_GRACE_SECONDS]


def prune_stores(keys: Sequence[str]) -> int:
    """Removes the stores of these keys, and strays. Returns the bytes that are free again.

    Raises:
        StarshiftError: a key that no store has.
    """
    listed = list_entries()
    known = [entry.store.key for entry in listed]
    if unknown := set(keys) - {*known, STRAY_FILES}:
        raise StarshiftError(
            "The cache has no such store.",
            expected=" | ".join((STRAY_FILES, *known)),
            received=", ".join(sorted(unknown)),
        )
    freed = 0
    for path in list_stray_files():
        freed += path.stat().st_size
        path.unlink(missing_ok=True)
    for entry in listed:
        if entry.store.key in keys:
            freed += sum(path.stat().st_size for path in entry.store.folder.iterdir())
            shutil.rmtree(entry.store.folder)
    return freed


def summarize_entries(listed: Sequence[CacheEntry]) -> dict[str, Any]:
    """Number of stores, rows and bytes."""
    return {
        "stores": len(listed),
        "rows": sum(entry.rows for entry in listed),
        "bytes": sum(entry.bytes for entry in listed),
    }
