"""Asking a learnware: pictures in, probabilities out, as its contract says; and the proof that it answers as it did."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.dataset import augment, images
from pipeline.learnware.archive import Learnware
from pipeline.learnware.contract import Contract
from pipeline.learnware.guarded import refused

BATCH = 32
TIMED = 64
"""Pictures that a model is timed with."""
TOLERANCE = 1e-4
"""Largest difference of a probability, on another machine, from what the model said when it was added."""


def probabilities(
    model: Any, contract: Contract, pixels: Mapping[int, np.ndarray], digests: Sequence[str]
) -> np.ndarray:
    """What the model says of pictures, the mean over the contract's views: (n, classes) float32, rows sum to 1.

    Args:
        model: from `Learnware.live`.
        contract: of the learnware.
        pixels: the pictures (n, size, size, 3) uint8 RGB, by size.
        digests: SHA-256 of each picture's bytes, which seeds augmented views.
    """
    from pipeline.models.feeding import Rows, fed

    found = []
    for view in contract.views:
        seen = [augment.apply(view, pixels[size], digests) for size in contract.sizes]
        found.append(model.predict(fed(Rows(seen, BATCH)), verbose=0))
    values = np.mean(found, axis=0, dtype=np.float64)
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def on_probe(model: Any, contract: Contract, pictures: np.ndarray) -> np.ndarray:
    """What the model says of a probe batch (n, side, side, 3) uint8, whose pictures are resized for smaller inputs."""
    pixels = {size: np.stack([images.resize(one, size) for one in pictures]) for size in contract.sizes}
    return probabilities(model, contract, pixels, [f"probe {number}" for number in range(len(pictures))])


def proven(learnware: Learnware, model: Any = None) -> float:
    """The largest difference between what the model says of the probe batch and what it said when it was added.

    Args:
        learnware: read whole.
        model: its model, where it is loaded already.

    Raises:
        StarshiftError: the difference is above TOLERANCE.
    """
    said = on_probe(model or learnware.live(), learnware.contract, learnware.pictures)
    difference = float(np.abs(said - learnware.predictions).max())
    if not difference <= TOLERANCE:
        raise refused(
            learnware.path.name,
            f"its model's probabilities on the probe batch differ by {difference:.2g} from those in the archive, "
            f"more than {TOLERANCE}",
        )
    return difference


def speed(model: Any, contract: Contract) -> float:
    """Pictures a second, in one view, of a batch that was seen once before."""
    shown = {size: np.zeros((TIMED, size, size, 3), np.uint8) for size in contract.sizes}
    plain, digests = replace(contract, views=("plain",)), [""] * TIMED
    probabilities(model, plain, shown, digests)
    started = time.perf_counter()
    probabilities(model, plain, shown, digests)
    return round(TIMED / (time.perf_counter() - started), 1)
