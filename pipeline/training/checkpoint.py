"""A network's training, whole, after every epoch: weights, moments, best weights, patience and history in one file."""

import json
import logging
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.files import write_atomic

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far training has come.

    Args:
        epoch: epochs that are done.
        waited: epochs since the best one.
        best_epoch: number of the best one, -1 before the first.
        best_score: its metric.
        best_loss: its held-out log loss.
        parts: batches that one batch was split into for want of memory.
        history: one record an epoch.
        seconds: of each epoch, training and scoring; not in the history, which repeats to the bit.
        best: the weights of the best epoch, in the order of `model.variables`.
    """

    epoch: int = 0
    waited: int = 0
    best_epoch: int = -1
    best_score: float = 0.0
    best_loss: float = float("inf")
    parts: int = 1
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)


def values_of(variables: Iterable[Any]) -> list[np.ndarray]:
    """Copies of the values of Keras variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def put_back(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives variables their values, one each."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def save(path: Path, fingerprint: str, progress: Progress, model: Any) -> None:
    """Writes everything that the next epoch depends on, atomically.

    Args:
        path: an .npz file.
        fingerprint: of everything that decides the result.
        progress: how far training has come.
        model: a compiled keras.Model whose optimizer is built.
    """
    words = {**asdict(progress), "fingerprint": fingerprint}
    del words["best"]
    arrays: dict[str, Any] = {f"variable{k}": value for k, value in enumerate(values_of(model.variables))}
    arrays |= {f"optimizer{k}": value for k, value in enumerate(values_of(model.optimizer.variables))}
    arrays |= {f"best{k}": value for k, value in enumerate(progress.best)}
    text = np.frombuffer(json.dumps(words).encode(), np.uint8)
    write_atomic(path, lambda file: np.savez(file, words=text, **arrays))


def load(path: Path, fingerprint: str, model: Any) -> Progress | None:
    """Puts a training back where it was.

    Args:
        path: from `save`.
        fingerprint: of everything that decides the result; a file of another one is left alone.
        model: compiled in the same way, its optimizer built.

    Returns:
        How far it had come; None where there is nothing to go on from.
    """
    progress = peek(path, fingerprint)
    if progress is None:
        return None
    with np.load(path) as stored:
        for prefix, variables in (("variable", model.variables), ("optimizer", model.optimizer.variables)):
            put_back(variables, [stored[f"{prefix}{number}"] for number in range(len(variables))])
        progress.best = [stored[f"best{k}"] for k in range(len(model.variables)) if f"best{k}" in stored]
    return progress


def peek(path: Path, fingerprint: str) -> Progress | None:
    """How far a training had come, without its weights; None where there is none with this fingerprint."""
    try:
        with np.load(path) as stored:
            words = json.loads(stored["words"].tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    if words.pop("fingerprint") != fingerprint:
        log.info("          %s belongs to another training; starting anew", path.name)
        return None
    return Progress(**words)
