"""Predictions of a learnware: computed as its contract says, checked against its probe batch, cached a row a picture.

A model has to predict its probe batch as it did when it was added, before any of its predictions are cached.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.data import images, pixel_cache, transforms
from pipeline.data.row_store import DamagedShardError, RowStore
from pipeline.learnware.archive import Learnware, ModelSignature
from pipeline.learnware.safe_loading import build_refusal
from pipeline.terminal import open_bar

BATCH_SIZE = 32
TIMING_PICTURES = 64
"""Pictures that a model is timed with."""
CHUNK_SIZE = 256
"""Pictures that are predicted at a time: a shard."""
PROBE_TOLERANCE = 1e-4
"""Largest difference of a probability, on another machine, from the prediction when the model was added."""


def predict_probabilities(
    model: Any, contract: ModelSignature, pixels: Mapping[int, np.ndarray], digests: Sequence[str]
) -> np.ndarray:
    """Predicts pictures, averaged over the contract's views: (n, classes) float32, rows sum to 1.

    Args:
        model: from `Learnware.live`.
        contract: of the learnware.
        pixels: the pictures (n, size, size, 3) uint8 RGB, by size.
        digests: SHA-256 of each picture's bytes, which seeds augmented views.
    """
    from pipeline.models.keras_input import ArraySequence, build_keras_input

    predictions = []
    for view in contract.views:
        inputs = [transforms.apply_view(view, pixels[size], digests) for size in contract.sizes]
        predictions.append(model.predict(build_keras_input(ArraySequence(inputs, BATCH_SIZE)), verbose=0))
    values = np.mean(predictions, axis=0, dtype=np.float64)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def predict_probe(model: Any, contract: ModelSignature, pictures: np.ndarray) -> np.ndarray:
    """Predicts a probe batch (n, side, side, 3) uint8, whose pictures are resized for smaller inputs."""
    pixels = {size: np.stack([images.resize(one, size) for one in pictures]) for size in contract.sizes}
    return predict_probabilities(model, contract, pixels, [f"probe {number}" for number in range(len(pictures))])


def check_probe_predictions(learnware: Learnware, model: Any = None) -> float:
    """Returns the largest difference between a model's predictions of its probe batch and those in the archive.

    Args:
        learnware: read whole.
        model: its model, where it is loaded already.

    Raises:
        StarshiftError: the difference is above PROBE_TOLERANCE.
    """
    predictions = predict_probe(model or learnware.live(), learnware.contract, learnware.pictures)
    difference = float(np.abs(predictions - learnware.predictions).max())
    if not difference <= PROBE_TOLERANCE:
        raise build_refusal(
            learnware.path.name,
            f"its model's probabilities on the probe batch differ by {difference:.2g} from those in the archive, "
            f"more than {PROBE_TOLERANCE}",
        )
    return difference


def measure_speed(model: Any, contract: ModelSignature) -> float:
    """Measures pictures per second, in one view, after a first batch to warm up."""
    pixels = {size: np.zeros((TIMING_PICTURES, size, size, 3), np.uint8) for size in contract.sizes}
    plain, digests = replace(contract, views=("plain",)), [""] * TIMING_PICTURES
    predict_probabilities(model, plain, pixels, digests)
    started = time.perf_counter()
    predict_probabilities(model, plain, pixels, digests)
    return round(TIMING_PICTURES / (time.perf_counter() - started), 1)


def predict_cached(
    learnware: Learnware, files: Mapping[str, Path], digests: Sequence[str], views: Sequence[str] = ()
) -> np.ndarray:
    """Predicts pictures, (views, pictures, classes) float32, rows sum to 1; only those that are not cached yet.

    Args:
        learnware: of a store.
        files: where each picture lies, by the SHA-256 of its bytes; all of them can be read.
        digests: of the pictures, in the order of the answer.
        views: to be predicted; without any, the mean over the contract's own, as one view.

    Raises:
        StarshiftError: see `Learnware.live` and `check_probe_predictions`.
    """
    requested = tuple(views) or learnware.contract.views
    stores = {view: _open_cache(learnware, view) for view in requested}
    missing = {view: ids for view, store in stores.items() if (ids := store.missing(digests))}
    if missing:
        _fill_cache(learnware, files, stores, missing)
    try:
        predictions = np.stack([stores[view].read(digests) for view in requested])
    except DamagedShardError:
        return predict_cached(learnware, files, digests, views)
    return predictions if views else predictions.mean(axis=0, dtype=np.float64).astype(np.float32)[None]


def select_classes(probabilities: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Returns the probabilities of some classes alone, rescaled to the sum 1, float64; uniform where all are zero.

    Args:
        probabilities: (..., classes).
        columns: of those classes.
    """
    values = probabilities[..., columns].astype(np.float64)
    sums = values.sum(axis=-1, keepdims=True)
    return np.where(sums > 0, values / np.where(sums > 0, sums, 1), 1 / len(columns))


def _open_cache(learnware: Learnware, view: str) -> RowStore:
    """Opens the store of a learnware's predictions in a view: rows (classes,) float32."""
    spec: dict[str, Any] = {
        "kind": "answers", "learnware": learnware.name, "digest": learnware.digest, "view": view,
        "resize": images.RESIZE_METHOD,
    }  # fmt: skip
    if view not in transforms.VIEWS:
        spec["augmentation"] = transforms.AUGMENTATION_VERSION
    return RowStore(paths.cache_folder("answers"), spec)


def _fill_cache(
    learnware: Learnware, files: Mapping[str, Path], stores: Mapping[str, RowStore], missing: Mapping[str, list[str]]
) -> None:
    """Predicts and stores the missing pictures of each view, a shard at a time, with a model that passed its check."""
    model = learnware.live()
    check_probe_predictions(learnware, model)
    pixel_stores = {size: pixel_cache.open_pixel_store(size) for size in learnware.contract.sizes}
    for store in pixel_stores.values():
        pixel_cache.fill_pixel_store(store, {digest: files[digest] for ids in missing.values() for digest in ids})
    total = sum(map(len, missing.values()))
    with open_bar(total=total, desc=learnware.name, unit="picture") as bar:
        for view, ids in missing.items():
            contract = replace(learnware.contract, views=(view,))
            for start in range(0, len(ids), CHUNK_SIZE):
                part = ids[start : start + CHUNK_SIZE]
                pixels = {size: pixel_cache.read_pixels(store, part, files) for size, store in pixel_stores.items()}
                stores[view].append(part, predict_probabilities(model, contract, pixels, part))
                bar.update(len(part))
