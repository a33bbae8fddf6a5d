"""What learnwares said of pictures, kept: a row a picture and view, asked once and read again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline import paths
from pipeline.dataset import augment, images, pixels
from pipeline.dataset.shards import DamagedShardError, RowStore
from pipeline.learnware import asking
from pipeline.learnware.archive import Learnware

CHUNK = 256
"""Pictures that are asked about at a time: a shard."""


def answers(
    learnware: Learnware, files: Mapping[str, Path], digests: Sequence[str], views: Sequence[str] = ()
) -> np.ndarray:
    """What a learnware says of pictures, (views, pictures, classes) float32, rows sum to 1.

    Args:
        learnware: of a store.
        files: where each picture lies, by the SHA-256 of its bytes; all of them can be read.
        digests: of the pictures, in the order of the answer.
        views: to be asked in; without any, the mean over the contract's own, as one view.

    Raises:
        StarshiftError: see Learnware.live and asking.proven.
    """
    asked = tuple(views) or learnware.contract.views
    stores = {view: _store(learnware, view) for view in asked}
    lacking = {view: missing for view, store in stores.items() if (missing := store.missing(digests))}
    if lacking:
        _ask(learnware, files, {view: stores[view] for view in lacking}, lacking)
    try:
        found = np.stack([stores[view].read(digests) for view in asked])
    except DamagedShardError:
        return answers(learnware, files, digests, views)
    return found if views else found.mean(axis=0, dtype=np.float64).astype(np.float32)[None]


def among(probabilities: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Probabilities of some of the classes alone, their sum 1, float64; even where all of them have none.

    Args:
        probabilities: (..., classes).
        columns: of those classes.
    """
    found = probabilities[..., columns].astype(np.float64)
    sums = found.sum(axis=-1, keepdims=True)
    return np.where(sums > 0, found / np.where(sums > 0, sums, 1), 1 / len(columns))


def _store(learnware: Learnware, view: str) -> RowStore:
    """The store of a learnware's answers in a view: rows (classes,) float32."""
    spec: dict[str, Any] = {
        "kind": "answers", "learnware": learnware.name, "digest": learnware.digest, "view": view,
        "resize": images.RESIZE,
    }  # fmt: skip
    if view not in augment.SYMMETRIES:
        spec["augmentation"] = augment.VERSION
    return RowStore(paths.cache_folder("answers"), spec)


def _ask(
    learnware: Learnware, files: Mapping[str, Path], stores: Mapping[str, RowStore], lacking: Mapping[str, list[str]]
) -> None:
    """Asks for what is lacking, and keeps it, some pictures at a time; first it is seen to answer as it did."""
    model = learnware.live()
    asking.proven(learnware, model)
    shown = {size: pixels.pixel_store(size) for size in learnware.contract.sizes}
    for store in shown.values():
        pixels.fill(store, {digest: files[digest] for missing in lacking.values() for digest in missing})
    count = sum(map(len, lacking.values()))
    with tqdm(total=count, desc=learnware.name, unit="picture", disable=None, leave=False) as bar:
        for view, missing in lacking.items():
            contract = replace(learnware.contract, views=(view,))
            for start in range(0, len(missing), CHUNK):
                part = missing[start : start + CHUNK]
                seen = {size: pixels.read(store, part, files) for size, store in shown.items()}
                stores[view].append(part, asking.probabilities(model, contract, seen, part))
                bar.update(len(part))
