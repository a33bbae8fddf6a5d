"""What a student is taught beside its labels: soft targets, and the loss that they enter (Hinton et al. 2015).

Second-hand leak: a picture's out-of-fold target comes from a teacher that had not seen it (fold g), but had seen the
labels of the fold f that the student holds out. A student that imitates it imitates how it fits f's pictures, and is
then judged on them: on dog-breed (linear heads, MobileNet alpha 0.25 taught by MobileNetV2, folds 0 and 1, teachers of
one size) that is worth 0.19 of log loss, more than half of the gain one would believe in. So `nested` targets, from
teachers that have seen neither f nor g, are the ones to judge by; without them a score is flattered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import require

CLIP = 1e-6
"""Least probability of a teacher whose logarithm still means something."""
LEAST = 1e-30
"""Smallest probability whose logarithm is taken in float32; at Keras's 1e-7 the gradient would end."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a student is taught.

    Args:
        teachers: names of runs, or `store:NAME` of learnwares; the mean of their probabilities teaches.
        temperature: divides teacher's and student's logits, at least 1.
        weight: of the soft targets against the labels, 0 to 1.
        patient: teachers answer for the very view that the student sees (Beyer et al. 2022, arXiv 2106.05237).
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
    """Logarithm of the softmax over the last axis, without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log p / T) over the last axis, float32; p is clipped to CLIP from below. Rows of NaN stay so."""
    logits = np.log(np.maximum(probabilities, CLIP, dtype=np.float64)) / temperature
    return np.exp(log_softmax(logits)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Soft:
    """Soft targets of some rows.

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
        """The loss with soft targets and each row's slope by its logits, from those of the labels alone.

        (1 - w) * labels + w * T^2 * KL(targets, softmax(logits / T)); T^2, because the slopes of a soft cross entropy
        shrink as 1 / T^2 (Hinton et al. 2015, arXiv 1503.02531, section 2). KL is the paper's cross entropy less the
        targets' entropy, which has no slope but would hide from L-BFGS how little is left to gain.

        Args:
            logits: (n, classes) float32.
            value: mean cross entropy of the labels.
            error: its slope times n, softmax(logits) - one-hot, (n, classes) float32.
            shares: what each row counts, (n,) that sum to 1; None is the same for all.
        """
        temperature, weight = np.float32(self.temperature), np.float32(self.weight)
        logs = log_softmax(logits / temperature)
        warm = np.exp(logs)
        each = (self.targets * (np.log(np.maximum(self.targets, LEAST)) - logs)).sum(axis=1)
        divergence = float(each.mean() if shares is None else shares @ each)
        value = (1 - self.weight) * value + self.weight * self.temperature**2 * divergence
        return value, (1 - weight) * error + weight * temperature * (warm - self.targets)


def loss_of(temperature: float, weight: float, smoothing: float = 0.0) -> Callable[[Any, Any], Any]:
    """The same loss for Keras.

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
        hard = keras.losses.categorical_crossentropy(labels, probabilities, label_smoothing=smoothing)
        logs = keras.ops.log_softmax(keras.ops.log(keras.ops.maximum(probabilities, LEAST)) / temperature)
        soft = keras.ops.sum(targets * (keras.ops.log(keras.ops.maximum(targets, LEAST)) - logs), axis=-1)
        return (1 - weight) * hard + weight * temperature**2 * soft

    return loss
