"""What learnwares said of pictures, kept: a row a picture and view, asked once and read again.

Asking a learnware: pictures in, probabilities out, as its contract says; and the proof that it answers as it did.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline import paths
from pipeline.data import images, pixel_cache, transforms
from pipeline.data.row_store import DamagedShardError, RowStore
from pipeline.learnware.archive import Learnware, ModelSignature
from pipeline.learnware.safe_loading import build_refusal

BATCH_SIZE = 32
TIMING_PICTURES = 64
"""Pictures that a model is timed with."""
PROBE_TOLERANCE = 1e-4
"""Largest difference of a probability, on another machine, from what the model said when it was added."""


def predict_probabilities(
    model: Any, contract: ModelSignature, pixels: Mapping[int, np.ndarray], digests: Sequence[str]
) -> np.ndarray:
    """What the model says of pictures, the mean over the contract's views: (n, classes) float32, rows sum to 1.

    Args:
        model: from `Learnware.live`.
        contract: of the learnware.
        pixels: the pictures (n, size, size, 3) uint8 RGB, by size.
        digests: SHA-256 of each picture's bytes, which seeds augmented views.
    """
    from pipeline.models.keras_input import ArraySequence, build_keras_input

    found = []
    for view in contract.views:
        seen = [transforms.apply_view(view, pixels[size], digests) for size in contract.sizes]
        found.append(model.predict(build_keras_input(ArraySequence(seen, BATCH_SIZE)), verbose=0))
    values = np.mean(found, axis=0, dtype=np.float64)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def predict_probe(model: Any, contract: ModelSignature, pictures: np.ndarray) -> np.ndarray:
    """What the model says of a probe batch (n, side, side, 3) uint8, whose pictures are resized for smaller inputs."""
    pixels = {size: np.stack([images.resize(one, size) for one in pictures]) for size in contract.sizes}
    return predict_probabilities(model, contract, pixels, [f"probe {number}" for number in range(len(pictures))])


def check_probe_predictions(learnware: Learnware, model: Any = None) -> float:
    """The largest difference between what the model says of the probe batch and what it said when it was added.

    Args:
        learnware: read whole.
        model: its model, where it is loaded already.

    Raises:
        StarshiftError: the difference is above TOLERANCE.
    """
    said = predict_probe(model or learnware.live(), learnware.contract, learnware.pictures)
    difference = float(np.abs(said - learnware.predictions).max())
    if not difference <= PROBE_TOLERANCE:
        raise build_refusal(
            learnware.path.name,
            f"its model's probabilities on the probe batch differ by {difference:.2g} from those in the archive, "
            f"more than {PROBE_TOLERANCE}",
        )
    return difference


def measure_speed(model: Any, contract: ModelSignature) -> float:
    """Pictures a second, in one view, of a batch that was seen once before."""
    shown = {size: np.zeros((TIMING_PICTURES, size, size, 3), np.uint8) for size in contract.sizes}
    plain, digests = replace(contract, views=("plain",)), [""] * TIMING_PICTURES
    predict_probabilities(model, plain, shown, digests)
    started = time.perf_counter()
    predict_probabilities(model, plain, shown, digests)
    return round(TIMING_PICTURES / (time.perf_counter() - started), 1)


CHUNK_SIZE = 256
"""Pictures that are asked about at a time: a shard."""


def predict_cached(
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
    stores = {view: _open_cache(learnware, view) for view in asked}
    lacking = {view: missing for view, store in stores.items() if (missing := store.missing(digests))}
    if lacking:
        _fill_cache(learnware, files, {view: stores[view] for view in lacking}, lacking)
    try:
        found = np.stack([stores[view].read(digests) for view in asked])
    except DamagedShardError:
        return predict_cached(learnware, files, digests, views)
    return found if views else found.mean(axis=0, dtype=np.float64).astype(np.float32)[None]


def select_classes(probabilities: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Probabilities of some of the classes alone, their sum 1, float64; even where all of them have none.

    Args:
        probabilities: (..., classes).
        columns: of those classes.
    """
    found = probabilities[..., columns].astype(np.float64)
    sums = found.sum(axis=-1, keepdims=True)
    return np.where(sums > 0, found / np.where(sums > 0, sums, 1), 1 / len(columns))


def _open_cache(learnware: Learnware, view: str) -> RowStore:
    """The store of a learnware's answers in a view: rows (classes,) float32."""
    spec: dict[str, Any] = {
        "kind": "answers", "learnware": learnware.name, "digest": learnware.digest, "view": view,
        "resize": images.RESIZE_METHOD,
    }  # fmt: skip
    if view not in transforms.SYMMETRIES:
        spec["augmentation"] = transforms.AUGMENTATION_VERSION
    return RowStore(paths.cache_folder("answers"), spec)


def _fill_cache(
    learnware: Learnware, files: Mapping[str, Path], stores: Mapping[str, RowStore], lacking: Mapping[str, list[str]]
) -> None:
    """Asks for what is lacking, and keeps it, some pictures at a time; first it is seen to answer as it did."""
    model = learnware.live()
    check_probe_predictions(learnware, model)
    shown = {size: pixel_cache.open_pixel_store(size) for size in learnware.contract.sizes}
    for store in shown.values():
        pixel_cache.fill_pixel_store(
            store, {digest: files[digest] for missing in lacking.values() for digest in missing}
        )
    count = sum(map(len, lacking.values()))
    with tqdm(total=count, desc=learnware.name, unit="picture", disable=None, leave=False) as bar:
        for view, missing in lacking.items():
            contract = replace(learnware.contract, views=(view,))
            for start in range(0, len(missing), CHUNK_SIZE):
                part = missing[start : start + CHUNK_SIZE]
                seen = {size: pixel_cache.read_pixels(store, part, files) for size, store in shown.items()}
                stores[view].append(part, predict_probabilities(model, contract, seen, part))
                bar.update(len(part))
