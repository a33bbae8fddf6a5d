"""Rechecks cached features by value: computes a few rows of every shard again by Keras.

Checksums only verify that a row is what was written. A damaged engine writes wrong rows with right checksums, which
this detects.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data import pixel_cache, transforms
from pipeline.data.row_store import RowStore
from pipeline.data.subsets import select_evenly
from pipeline.errors import StarshiftError
from pipeline.features.cache import CacheEntry
from pipeline.files import read_json
from pipeline.models import inference_engines
from pipeline.models.base import BASE_SYNTAX, Base, find_missing_weights
from pipeline.models.inference_engines import FEATURE_TOLERANCE, Engine, compute_relative_difference
from pipeline.models.registry import BASES
from pipeline.paths import cache_folder, runs_folder

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
    if spec["base"] not in BASES:
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
    kind, _, seed = spec["weights"].partition(":")
    if kind == "random":
        return [f"none:{seed}"]
    published = ["imagenet", *(f"imagenet:{size}" for size in BASES[spec["base"]].trained_sizes)]
    environments = (read_json(path) or {} for path in runs_folder("x").parent.glob("*/*/environment.json"))
    named = [item for environment in environments for item in (environment.get("weights") or {}).items()]
    texts = {match["weights"] for text, digest in named if digest == kind and (match := BASE_SYNTAX.fullmatch(text))}
    return [*published, *sorted(text for text in texts - {None} if text not in published)]


def remove_damaged_exports() -> list[str]:
    """Removes exported networks that do not have their digests; they are exported again when they are needed.

    Returns:
        The names of their folders.
    """
    removed = []
    for folder in sorted(cache_folder("engines").glob("*/")):
        present = [folder / name for name in inference_engines.EXPORT_FILES if (folder / name).exists()]
        if present and not inference_engines.is_export_intact(folder):
            for path in present:
                path.unlink()
            removed.append(folder.name)
    return removed
