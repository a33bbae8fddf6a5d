"""Distillation: soft targets of teachers, and the loss that uses them (Hinton et al. 2015).

Second-hand leak: a picture's out-of-fold target comes from a teacher that had not seen it (fold g), but had seen the
labels of the fold f that the student validates on. A student that imitates it imitates how it fits f's pictures, and is
then scored on them: on dog-breed (linear heads, MobileNet alpha 0.25 taught by MobileNetV2, folds 0 and 1, teachers of
one size) that is worth 0.19 of log loss, more than half of the apparent gain. So `nested` targets, from teachers that
have seen neither f nor g, are the ones to score with; without them a score is flattered.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError, require
from pipeline.files import DamagedFileError, open_arrays, write_atomic

MIN_TEACHER_PROBABILITY = 1e-6
"""Smallest probability of a teacher that is not clipped."""
MIN_PROBABILITY = 1e-30
"""Smallest probability whose logarithm is taken in float32; at Keras's 1e-7 the gradient would end."""


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How a student is distilled.

    Args:
        teachers: names of runs, or `store:NAME` of learnwares; the mean of their probabilities teaches.
        temperature: divides teacher's and student's logits, at least 1.
        weight: of the soft targets against the labels, 0 to 1.
        patient: teachers predict the very view that the student is trained on (Beyer et al. 2022, arXiv 2106.05237).
        nested: for a student of fold f, targets from teachers that have not seen f's labels either.
    """

    teachers: tuple[str, ...]
    temperature: float = 2.0
    weight: float = 0.9
    patient: bool = False
    nested: bool = True

    def __post_init__(self) -> None:
        require(self.teachers, "A student needs a teacher.", expected="--teacher RUN or store:NAME",
                received=self.teachers, remedy="invoke runs and invoke store.list list them")  # fmt: skip
        require(1 <= self.temperature <= 100, "Unusable temperature.", expected="1 to 100", received=self.temperature)
        require(0 <= self.weight <= 1, "Unusable weight of soft targets.", expected="0 to 1", received=self.weight)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Computes the logarithm of the softmax over the last axis, without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Computes softmax(log p / T) over the last axis, float32, p at least MIN_TEACHER_PROBABILITY. NaN stays NaN."""
    logits = np.log(np.maximum(probabilities, MIN_TEACHER_PROBABILITY, dtype=np.float64)) / temperature
    return np.exp(log_softmax(logits)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class SoftTargetLoss:
    """Soft targets of some rows, and their part of the loss.

    Args:
        targets: the teachers' tempered probabilities (n, classes) float32.
        temperature: T.
        weight: w.
    """

    targets: np.ndarray
    temperature: float
    weight: float

    def added(
        self, logits: np.ndarray, value: float, error: np.ndarray, shares: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """Adds the soft targets to the loss of the labels and to each row's gradient by its logits.

        (1 - w) * labels + w * T^2 * KL(targets, softmax(logits / T)); T^2, because gradients of a soft cross entropy
        shrink as 1 / T^2 (Hinton et al. 2015, arXiv 1503.02531, section 2). KL is the paper's cross entropy less the
        targets' entropy, which has no gradient but would hide from L-BFGS how little is left to gain.

        Args:
            logits: (n, classes) float32.
            value: mean cross entropy of the labels.
            error: its gradient times n, softmax(logits) - one-hot, (n, classes) float32.
            shares: weight of each row, (n,) that sum to 1; None is the same for all.
        """
        temperature, weight = np.float32(self.temperature), np.float32(self.weight)
        logs = log_softmax(logits / temperature)
        warm = np.exp(logs)
        each = (self.targets * (np.log(np.maximum(self.targets, MIN_PROBABILITY)) - logs)).sum(axis=1)
        divergence = float(each.mean() if shares is None else shares @ each)
        value = (1 - self.weight) * value + self.weight * self.temperature**2 * divergence
        return value, (1 - weight) * error + weight * temperature * (warm - self.targets)


def compute_cross_entropy(labels: Any, probabilities: Any, smoothing: float = 0.0) -> Any:
    """Computes the cross entropy (n,) for Keras.

    Args:
        labels: one-hot (n, classes).
        probabilities: (n, classes).
        smoothing: of the labels.
    """
    import keras

    if keras.backend.backend() == "tensorflow":  # there Keras finds the logits behind a softmax
        return keras.losses.categorical_crossentropy(labels, probabilities, label_smoothing=smoothing)
    # Under JAX Keras clips probabilities at 1e-7 (3.15.1): a confident mistake would have no gradient.
    smoothed = labels * (1 - smoothing) + smoothing / labels.shape[-1]
    return -keras.ops.sum(smoothed * keras.ops.log(keras.ops.maximum(probabilities, MIN_PROBABILITY)), axis=-1)


def build_distillation_loss(temperature: float, weight: float, smoothing: float = 0.0) -> Callable[[Any, Any], Any]:
    """Builds the same loss for Keras.

    Args:
        temperature: T.
        weight: w.
        smoothing: of the labels.

    Returns:
        A function of truth (n, 2 * classes), one-hot labels and then tempered targets, and probabilities (n, classes).
    """
    import keras

    def loss(truth: Any, probabilities: Any) -> Any:
        classes = probabilities.shape[-1]
        labels, targets = truth[:, :classes], truth[:, classes:]
        hard = compute_cross_entropy(labels, probabilities, smoothing)
        logs = keras.ops.log_softmax(keras.ops.log(keras.ops.maximum(probabilities, MIN_PROBABILITY)) / temperature)
        soft = keras.ops.sum(targets * (keras.ops.log(keras.ops.maximum(targets, MIN_PROBABILITY)) - logs), axis=-1)
        return (1 - weight) * hard + weight * temperature**2 * soft

    return loss


TARGETS_FILE = "targets.npz"


@dataclass(frozen=True, kw_only=True)
class SoftTargetsInfo:
    """A job's record of its soft targets, which lie in its run's folder.

    Args:
        digest: SHA-256 of the targets.
        views: that teachers predicted; empty for one target a picture.
        temperature: T.
        weight: w.
    """

    digest: str
    views: tuple[str, ...]
    temperature: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class SoftTargets:
    """Soft targets for every fold.

    Args:
        answers: the teachers' mean probabilities (views, pictures, classes) float32 by the number of the fold that the
            student holds out, or for `all` folds; NaN where a fold is not to see a picture. One view where teachers
            were asked for the picture as such.
        views: names of the views; empty where teachers were asked for the picture.
        temperature: T.
        weight: w.
    """

    answers: Mapping[str, np.ndarray]
    views: tuple[str, ...] = ()
    temperature: float
    weight: float

    def of(self, fold: int, views: Sequence[str]) -> np.ndarray:
        """Returns tempered targets (views, pictures, classes) float32 for the student of a fold."""
        targets = self.answers["all"] if "all" in self.answers else self.answers[str(fold)]
        if self.views:
            targets = targets[[self.views.index(view) for view in views]]
        else:
            targets = np.broadcast_to(targets, (len(views), *targets.shape[1:]))
        return apply_temperature(targets, self.temperature)

    def soft(self, fold: int, views: Sequence[str], rows: np.ndarray) -> SoftTargetLoss:
        """Returns the targets of some pictures in these views, one view after the other."""
        targets = np.concatenate([one[rows] for one in self.of(fold, views)])
        return SoftTargetLoss(targets=targets, temperature=self.temperature, weight=self.weight)

    def info(self) -> SoftTargetsInfo:
        """Builds the record for jobs."""
        digest = hashlib.sha256()
        for name in sorted(self.answers):
            digest.update(name.encode() + np.ascontiguousarray(self.answers[name]).tobytes())
        return SoftTargetsInfo(
            digest=digest.hexdigest(), views=self.views, temperature=self.temperature, weight=self.weight
        )

    def write(self, folder: Path) -> SoftTargetsInfo:
        """Writes the targets into a run's folder, atomically."""
        write_atomic(folder / TARGETS_FILE, lambda file: np.savez(file, **self.answers))  # type: ignore[arg-type]
        return self.info()


def read_soft_targets(folder: Path, info: SoftTargetsInfo) -> SoftTargets:
    """Reads the targets in a run's folder.

    Raises:
        StarshiftError: they are damaged, or not the job's.
    """
    try:
        with open_arrays(folder / TARGETS_FILE) as stored:
            answers = {name: stored[name] for name in stored.files}
    except (FileNotFoundError, DamagedFileError) as error:
        raise StarshiftError(
            "The soft targets of this run are damaged.",
            expected=f"{TARGETS_FILE} as the run wrote it",
            received=str(error),
            remedy="the same command writes it anew and goes on",
        ) from error
    targets = SoftTargets(answers=answers, views=info.views, temperature=info.temperature, weight=info.weight)
    if targets.info() != info:
        raise StarshiftError(
            "The soft targets are not the job's.", received=str(folder / TARGETS_FILE), remedy="run it again"
        )
    return targets


class TargetSource:
    """Soft targets for batches.

    Args:
        values: tempered (views, pictures, classes) float32.
        choice: returns the view of each picture in an epoch, (pictures,) int; None where there is one view.
    """

    def __init__(self, values: np.ndarray, choice: Callable[[int], np.ndarray] | None = None) -> None:
        self.values, self.choice = values, choice

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """Returns the targets (n, classes) float32 of the pictures at these positions in this epoch."""
        return self.values[self.choice(epoch)[positions] if self.choice else 0, positions]
