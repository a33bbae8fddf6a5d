"""Checkpoints: weights, optimizer, best weights, patience and history of a training, in one file after every epoch."""

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
    """The state of a training.

    Args:
        epoch: epochs that are done.
        waited: epochs since the best one.
        best_epoch: number of the best one, -1 before the first.
        best_score: its metric.
        best_loss: its validation log loss.
        parts: batches that one batch was split into for want of memory.
        history: one record an epoch.
        seconds: of each epoch, training and scoring; not in the history, which repeats to the bit.
        restored_seconds: of those that an earlier process trained.
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
    restored_seconds: float = 0.0
    best: list[np.ndarray] = field(default_factory=list)


def copy_values(variables: Iterable[Any]) -> list[np.ndarray]:
    """Copies the values of Keras variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign_values(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Assigns values to variables, one each."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def save_checkpoint(path: Path, fingerprint: str, state: TrainingState, model: Any) -> None:
    """Writes everything that the next epoch depends on, atomically.

    Args:
        path: an .npz file.
        fingerprint: of everything that decides the result.
        state: of the training.
        model: a compiled keras.Model whose optimizer is built.
    """
    arrays: dict[str, Any] = {f"variable{k}": value for k, value in enumerate(copy_values(model.variables))}
    arrays |= {f"optimizer{k}": value for k, value in enumerate(copy_values(model.optimizer.variables))}
    arrays |= {f"best{k}": value for k, value in enumerate(state.best)}
    values = {**asdict(state), "best": [], "fingerprint": fingerprint, "arrays": sorted(arrays)}
    text = np.frombuffer(json.dumps(values).encode(), np.uint8)
    write_atomic(path, lambda file: np.savez(file, words=text, **arrays))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Args:
        state: of the training.
        variables: of the model, in its order.
        optimizer: of its optimizer, in their order.
    """

    state: TrainingState
    variables: list[np.ndarray]
    optimizer: list[np.ndarray]

    def restore(self, model: Any) -> TrainingState:
        """Restores a model that is compiled in the same way, its optimizer built. Returns the state."""
        assign_values(model.variables, self.variables)
        assign_values(model.optimizer.variables, self.optimizer)
        return self.state


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """Reads a checkpoint.

    Args:
        path: from `save_checkpoint`.
        fingerprint: of everything that decides the result; a file of another one is left alone.

    Returns:
        The checkpoint; None where there is none, or it is damaged (with a warning): training starts anew.
    """
    try:
        with open_arrays(path) as stored:
            state = _parse_training_state(path, stored, fingerprint)
            if state is None:
                return None
            groups = {name: _read_arrays(stored, name) for name in ("variable", "optimizer", "best")}
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        log.warning("  warning: %s is damaged (%s): this training starts anew", path.name, error)
        return None
    state.best, state.restored_seconds = groups["best"], sum(state.seconds)
    return Checkpoint(state, groups["variable"], groups["optimizer"])


def _read_arrays(stored: Any, prefix: str) -> list[np.ndarray]:
    """Reads the arrays whose names are a prefix and a number, from 0 on; a gap is a KeyError."""
    count = sum(name.removeprefix(prefix).isdigit() for name in stored.files)
    return [stored[f"{prefix}{number}"] for number in range(count)]


def _parse_training_state(path: Path, stored: Any, fingerprint: str) -> TrainingState | None:
    """Reads the state of a training; None where the file belongs to another one."""
    values = json.loads(stored["words"].tobytes())
    if values.pop("fingerprint") != fingerprint:
        log.info("          %s belongs to another training; starting anew", path.name)
        return None
    # a zip directory with a flipped bit may end early, without an error; checkpoints of before 2026-12 have no list
    if values.pop("arrays", None) not in (None, sorted(set(stored.files) - {"words"})):
        raise ValueError("arrays are missing")
    return TrainingState(**values)
