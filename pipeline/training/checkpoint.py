"""A network's training, whole, after every epoch: weights, moments, best weights, patience and history in one file."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.files import DamagedFileError, open_arrays, write_atomic

log = logging.getLogger(__name__)


@dataclass
class TrainingState:
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


def copy_values(variables: Iterable[Any]) -> list[np.ndarray]:
    """Copies of the values of Keras variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign_values(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives variables their values, one each."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def save_checkpoint(path: Path, fingerprint: str, progress: TrainingState, model: Any) -> None:
    """Writes everything that the next epoch depends on, atomically.

    Args:
        path: an .npz file.
        fingerprint: of everything that decides the result.
        progress: how far training has come.
        model: a compiled keras.Model whose optimizer is built.
    """
    arrays: dict[str, Any] = {f"variable{k}": value for k, value in enumerate(copy_values(model.variables))}
    arrays |= {f"optimizer{k}": value for k, value in enumerate(copy_values(model.optimizer.variables))}
    arrays |= {f"best{k}": value for k, value in enumerate(progress.best)}
    words = {**asdict(progress), "best": [], "fingerprint": fingerprint, "arrays": sorted(arrays)}
    text = np.frombuffer(json.dumps(words).encode(), np.uint8)
    write_atomic(path, lambda file: np.savez(file, words=text, **arrays))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read whole.

    Args:
        progress: how far training had come.
        variables: of the model, in its order.
        optimizer: of its optimizer, in their order.
    """

    progress: TrainingState
    variables: list[np.ndarray]
    optimizer: list[np.ndarray]

    def put_into(self, model: Any) -> TrainingState:
        """Puts a model, compiled in the same way and its optimizer built, back where it was. Returns how far it was."""
        assign_values(model.variables, self.variables)
        assign_values(model.optimizer.variables, self.optimizer)
        return self.progress


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """Reads a checkpoint.

    Args:
        path: from `save_checkpoint`.
        fingerprint: of everything that decides the result; a file of another one is left alone.

    Returns:
        The checkpoint; None where there is none, or it is damaged, which is said: training starts anew.
    """
    try:
        with open_arrays(path) as stored:
            progress = _parse_training_state(path, stored, fingerprint)
            if progress is None:
                return None
            groups = {name: _read_arrays(stored, name) for name in ("variable", "optimizer", "best")}
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        log.warning("  warning: %s is damaged (%s): this training starts anew", path.name, error)
        return None
    progress.best = groups["best"]
    return Checkpoint(progress, groups["variable"], groups["optimizer"])


def _read_arrays(stored: Any, prefix: str) -> list[np.ndarray]:
    """Reads the arrays whose names are a prefix and a number, from 0 on; a gap is a KeyError."""
    count = sum(name.removeprefix(prefix).isdigit() for name in stored.files)
    return [stored[f"{prefix}{number}"] for number in range(count)]


def read_training_state(path: Path, fingerprint: str) -> TrainingState | None:
    """How far a training had come, without its weights; None where there is none with this fingerprint."""
    try:
        with open_arrays(path) as stored:
            return _parse_training_state(path, stored, fingerprint)
    except (FileNotFoundError, DamagedFileError):
        return None


def _parse_training_state(path: Path, stored: Any, fingerprint: str) -> TrainingState | None:
    """Reads how far a training had come; None where the file belongs to another one."""
    words = json.loads(stored["words"].tobytes())
    if words.pop("fingerprint") != fingerprint:
        log.info("          %s belongs to another training; starting anew", path.name)
        return None
    # a zip directory with a flipped bit may end early, without an error; checkpoints of before 2026-12 have no list
    if words.pop("arrays", None) not in (None, sorted(set(stored.files) - {"words"})):
        raise ValueError("arrays are missing")
    return TrainingState(**words)
