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
"""Kinds of row stores: decoded pictures, features, predictions of learnwares (learnware/cached_predictions.py)."""
STRAY_FILES = "strays"
WRITE_GRACE_SECONDS = 60
"""Seconds in which another process may still write the sidecar of a file."""


def open_feature_store(base: bases.Base, view: str, precision: str) -> RowStore:
    """Returns the store of a base's features: rows (width,) float32, or maps (height, width, channels) float16.

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
    """One store in the cache, with its size and the time of its last use."""

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
    """Lists the row stores in the cache, the largest first."""
    entries = []
    for folder in _list_store_folders():
        if (spec := read_json(folder / "spec.json")) is None:
            continue
        store, stats = RowStore(folder.parent, spec), [path.stat() for path in folder.iterdir() if path.is_file()]
        entry = CacheEntry(
            store=store,
            rows=sum(len(store.ids(name)) for name in store.shards()),
            bytes=sum(stat.st_size for stat in stats),
            last_used=max(stat.st_mtime for stat in stats),
        )
        entries.append(entry)
    return sorted(entries, key=lambda entry: -entry.bytes)


def _list_store_folders() -> list[Path]:
    return [folder for kind in STORE_KINDS for folder in paths.cache_folder(kind).glob("*")]


def verify_entry(entry: CacheEntry) -> list[str]:
    """Checks every row of a store: its checksum, and that it is a plausible feature. recheck.py checks its value.

    Returns:
        The names of the damaged shards, which are removed.
    """
    store = entry.store
    damaged = [name for name in store.shards() if not (store.intact(name) and _has_usable_rows(store, name))]
    for name in damaged:
        store.remove(name)
    return damaged


def _has_usable_rows(store: RowStore, name: str) -> bool:
    """Returns whether all rows of a shard of features are finite and plausible."""
    path = store.folder / f"{name}.npy"
    if store.spec["kind"] != "features" or not path.exists():
        return True
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    return bool(find_usable_rows(rows, str(rows.dtype)).all())


def list_stray_files() -> list[Path]:
    """Lists files that belong to no shard: remains of an interrupted write, old enough not to be in progress."""
    strays = []
    for folder in _list_store_folders():
        strays += list(folder.glob(".*.partial"))
        strays += [path for path in folder.glob("*.npy") if not path.with_suffix(".json").exists()]
    return [path for path in strays if time.time() - path.stat().st_mtime > WRITE_GRACE_SECONDS]


def prune_stores(keys: Sequence[str]) -> int:
    """Removes the stores of these keys, and stray files. Returns the number of freed bytes.

    Raises:
        StarshiftError: no store has a key.
    """
    entries = list_entries()
    valid = [STRAY_FILES, *(entry.store.key for entry in entries)]
    if unknown := set(keys) - set(valid):
        raise StarshiftError(
            "The cache has no such store.",
            expected=" | ".join(valid),
            received=", ".join(sorted(unknown)),
        )
    freed = 0
    for path in list_stray_files():
        freed += path.stat().st_size
        path.unlink(missing_ok=True)
    for entry in entries:
        if entry.store.key in keys:
            freed += sum(path.stat().st_size for path in entry.store.folder.iterdir())
            shutil.rmtree(entry.store.folder)
    return freed


def summarize_entries(entries: Sequence[CacheEntry]) -> dict[str, Any]:
    """Counts stores, rows and bytes."""
    totals = {name: sum(getattr(entry, name) for entry in entries) for name in ("rows", "bytes")}
    return {"stores": len(entries), **totals}
