"""Rechecks cached features by value: a few rows of every shard are computed again by Keras and compared.

Checksums only tell that a row is what was written. A damaged engine writes wrong rows with right checksums; they are
found here, whatever computed them.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.dataset import augment, pixels
from pipeline.errors import StarshiftError
from pipeline.features.cache import Entry
from pipeline.files import read_json
from pipeline.models import choice
from pipeline.models.bases import BASES, SYNTAX, Base, missing_weights
from pipeline.models.engines import FEATURE_TOLERANCE, Engine, relative_difference
from pipeline.paths import cache_folder, runs_folder

ROWS = 4
"""Rows of each shard that are computed again: a damaged network is wrong for nearly every picture."""


@dataclass(frozen=True)
class Recheck:
    """What a recheck of one store found.

    Args:
        wrong: names of shards whose rows are not what the base gives; they are removed.
        skipped: why the store could not be rechecked; empty where it was.
    """

    wrong: tuple[str, ...] = ()
    skipped: str = ""


def recheck(entry: Entry) -> Recheck:
    """Computes a few rows of every shard of features again, and removes shards whose rows differ.

    Args:
        entry: a store of any kind, whose rows have their checksums; only features are rechecked.
    """
    spec = entry.store.spec
    if spec["kind"] != "features":
        return Recheck()
    base = find_base(spec)
    if base is None:
        return Recheck(skipped="its weights are not here under a name that is known")
    shards = list(_sampled(entry))
    if not shards:
        return Recheck(skipped="its decoded pictures are not in the cache")
    tolerance = FEATURE_TOLERANCE[spec.get("rows", spec["precision"]) if spec["precision"] == "float32" else "bfloat16"]
    wrong = []
    for name, ids, rows in shards:
        live = engine_of(base)(augment.apply(spec["view"], pixels.pixel_store(base.size).read(ids), ids))
        if not all(relative_difference(row, right) <= tolerance for row, right in zip(rows, live, strict=True)):
            wrong.append(name)
    for name in wrong:
        entry.store.remove(name)
    return Recheck(tuple(wrong))


def _sampled(entry: Entry) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Yields name, ids and rows of a sample of each shard whose pictures are decoded."""
    store, pictures = entry.store, pixels.pixel_store(entry.store.spec["size"])
    for name in store.shards():
        ids = store.ids(name)
        absent = {*pictures.missing(ids), *pictures.unreadable(ids)}
        decoded = [place for place, identity in enumerate(ids) if identity not in absent]
        if decoded:
            sample = [decoded[place] for place in np.unique(np.linspace(0, len(decoded) - 1, ROWS).astype(int))]
            rows = np.load(store.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            yield name, [ids[place] for place in sample], rows[sample]


@functools.lru_cache(maxsize=1)
def engine_of(base: Base) -> Engine:
    """Returns Keras's engine of a base; stores of one base follow each other, so that one is built once."""
    return choice.load(base, choice.Choice(engine="keras"))


def find_base(spec: dict[str, Any]) -> Base | None:
    """Returns the base whose features a store holds; None where its weights are not here or no run names their file."""
    if spec["base"] not in BASES:
        return None
    for weights in _weights_names(spec):
        base = Base(name=spec["base"], cut=spec["cut"], pooling=spec["pooling"], weights=weights, size=spec["size"])
        try:
            if missing_weights(base) is None and choice.extractor_spec(base).items() <= spec.items():
                return base
        except StarshiftError:  # directions of second moments that are not here
            continue
    return None


def _weights_names(spec: dict[str, Any]) -> list[str]:
    """Lists what the weights of a digest may be called: published names, and files that a run was made with."""
    kind, _, seed = spec["weights"].partition(":")
    if kind == "random":
        return [f"none:{seed}"]
    published = ["imagenet", *(f"imagenet:{size}" for size in BASES[spec["base"]].trained_sizes)]
    environments = (read_json(path) or {} for path in runs_folder("x").parent.glob("*/*/environment.json"))
    named = [item for environment in environments for item in (environment.get("weights") or {}).items()]
    texts = {match["weights"] for text, digest in named if digest == kind and (match := SYNTAX.fullmatch(text))}
    return [*published, *sorted(text for text in texts - {None} if text not in published)]


def remove_damaged_exports() -> list[str]:
    """Removes exported networks that do not have their digests; they are exported again when they are needed.

    Returns:
        The names of their folders.
    """
    removed = []
    for folder in sorted(cache_folder("engines").glob("*/")):
        present = [folder / name for name in choice.EXPORTED if (folder / name).exists()]
        if present and not choice.is_whole(folder):
            for path in present:
                path.unlink()
            removed.append(folder.name)
    return removed
