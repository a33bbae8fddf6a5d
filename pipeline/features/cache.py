"""The feature cache: one store of rows for each base, cut, pooling, weights, size, view and precision.

A row belongs to a picture, not to a competition: runs and competitions share them, and new pictures are only added.
"""

import functools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.data import images, pixel_cache, transforms
from pipeline.data.row_store import RowStore
from pipeline.data.subsets import select_evenly
from pipeline.errors import StarshiftError, require_name
from pipeline.files import read_json
from pipeline.models import hub_presets, inference_engines
from pipeline.models.base import Base, find_missing_weights, split_base
from pipeline.models.inference_engines import (
    FEATURE_TOLERANCE,
    Engine,
    build_extractor_spec,
    compute_relative_difference,
    find_usable_rows,
)
from pipeline.models.registry import BASES

STORE_KINDS = ("pixels", "features", "answers")
"""Kinds of row stores: decoded pictures, features, predictions of learnwares (learnware/cached_predictions.py)."""
STRAY_FILES = "strays"
WRITE_GRACE_SECONDS = 60
"""Seconds in which another process may still write the sidecar of a file."""


def open_feature_store(base: Base, view: str, precision: str) -> RowStore:
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
    if view not in transforms.VIEWS:
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
    for key in keys:
        require_name(key, valid, "The cache has no such store.")
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


ROWS_PER_SHARD = 4
"""Rows of each shard that are computed again: a damaged network is wrong for nearly every picture."""


@dataclass(frozen=True)
class RecheckResult:
    """The result of rechecking one store.

    Args:
        wrong: names of shards whose rows are not what the base gives; they are removed.
        skipped: why the store could not be rechecked; empty where it was.
    """

    wrong: tuple[str, ...] = ()
    skipped: str = ""


def recheck_entry(entry: CacheEntry) -> RecheckResult:
    """Computes a few rows of every shard of features again, and removes shards whose rows differ.

    Args:
        entry: a store of any kind, whose rows have their checksums; only features are rechecked.
    """
    spec = entry.store.spec
    if spec["kind"] != "features":
        return RecheckResult()
    base = find_base(spec)
    if base is None:
        return RecheckResult(skipped="its weights are not here under a name that is known")
    pictures = pixel_cache.open_pixel_store(base.size)
    shards = list(_sample_shards(entry, pictures))
    if not shards:
        return RecheckResult(skipped="its decoded pictures are not in the cache")
    tolerance = FEATURE_TOLERANCE[spec.get("rows", spec["precision"]) if spec["precision"] == "float32" else "bfloat16"]
    wrong = []
    for name, ids, rows in shards:
        live = load_keras_engine(base)(transforms.apply_view(spec["view"], pictures.read_few(ids), ids))
        if not all(compute_relative_difference(row, right) <= tolerance for row, right in zip(rows, live, strict=True)):
            wrong.append(name)
    for name in wrong:
        entry.store.remove(name)
    return RecheckResult(tuple(wrong))


def _sample_shards(entry: CacheEntry, pictures: RowStore) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Yields name, ids and rows of a sample of each shard whose pictures are decoded."""
    store = entry.store
    for name in store.shards():
        ids = store.ids(name)
        absent = {*pictures.missing(ids), *pictures.unreadable(ids)}
        decoded = [place for place, identity in enumerate(ids) if identity not in absent]
        if decoded:
            sample = [decoded[step] for step in select_evenly(len(decoded), ROWS_PER_SHARD)]
            rows = np.load(store.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            yield name, [ids[place] for place in sample], rows[sample]


@functools.lru_cache(maxsize=1)
def load_keras_engine(base: Base) -> Engine:
    """Returns Keras's engine of a base, cached because stores of one base follow each other."""
    return inference_engines.load_engine(base, inference_engines.EngineChoice(engine="keras"))


def find_base(spec: dict[str, Any]) -> Base | None:
    """Returns the base whose features a store holds; None where its weights are not here or no run names their file."""
    if spec["base"] not in BASES and hub_presets.build_handle(spec["base"]) is None:
        return None
    for weights in _list_weights_names(spec):
        base = Base(name=spec["base"], cut=spec["cut"], pooling=spec["pooling"], weights=weights, size=spec["size"])
        try:
            if (
                find_missing_weights(base) is None
                and inference_engines.build_extractor_spec(base).items() <= spec.items()
            ):
                return base
        except StarshiftError:  # directions of second moments that are not here
            continue
    return None


def _list_weights_names(spec: dict[str, Any]) -> list[str]:
    """Lists what the weights of a digest may be called: published names, and files that a run was made with."""
    kind, _, rest = spec["weights"].partition(":")  # random:SEED, or random:SEED:BACKEND
    if kind == "random":
        return ["none:" + rest.partition(":")[0]]
    sizes = BASES[spec["base"]].trained_sizes if spec["base"] in BASES else ()
    published = ["imagenet", *(f"imagenet:{size}" for size in sizes)]
    environments = (read_json(path) or {} for path in paths.runs_folder("x").parent.glob("*/*/environment.json"))
    named = [item for environment in environments for item in (environment.get("weights") or {}).items()]
    texts = {split_base(text).weights or published[0] for text, digest in named if digest == kind}
    return [*published, *sorted(texts - set(published))]


def remove_damaged_exports() -> list[str]:
    """Removes exported networks that do not have their digests; they are exported again when they are needed.

    Returns:
        The names of their folders.
    """
    removed = []
    for folder in sorted(paths.cache_folder("engines").glob("*/")):
        present = [folder / name for name in inference_engines.EXPORT_FILES if (folder / name).exists()]
        if present and not inference_engines.is_export_intact(folder):
            for path in present:
                path.unlink()
            removed.append(folder.name)
    return removed
