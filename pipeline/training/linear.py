"""A linear softmax with L2 by full-batch L-BFGS, its strength chosen on the folds.

The first fold walks the strengths from strong to weak, each fit starting where the last one ended, until the held-out
loss rises; the other folds come down in larger steps and walk the neighbourhood of its best. The strength with the
lowest mean held-out loss is taken for all folds; it was chosen on those folds, so their score flatters it by a little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.models.heads import Head, softmax
from pipeline.training.distilled import Soft
from pipeline.training.lbfgs import minimize

STRENGTHS = tuple(float(10.0**exponent) for exponent in np.arange(-3.0, -7.6, -0.5))
ITERATIONS = 60
TOLERANCE = 1e-3
CURVATURE = 0.1


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold's pictures.

    Args:
        number: of the fold.
        features: training features (n, width) float32.
        labels: their classes (n,) int.
        held_features: held-out features (m, width) float32.
        held_labels: their classes (m,) int.
        soft: what a teacher says of the training pictures; None where there is none.
        views: how many views of every training picture there are, one view of all after the other.
    """

    number: int
    features: np.ndarray
    labels: np.ndarray
    held_features: np.ndarray
    held_labels: np.ndarray
    soft: Soft | None = None
    views: int = 1


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray, shares: np.ndarray | None = None) -> float:
    """Mean of -log p(label), probabilities clipped to 1e-15 from below; weighted by shares (n,) that sum to 1."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
    return float(np.mean(losses) if shares is None else shares @ losses)


class Axes:
    """Coordinates in which the loss is round: features standardised, then turned to their principal axes.

    Rows are divided by the square root of the width, so that their mean squared norm is 1 and a strength means the
    same for every base. A rotation changes neither the loss nor the L2 norm of the weights; along the axes the
    curvature is about CURVATURE / classes times the variance plus the strength, which `Softmax` scales away. All folds
    share the first one's axes: they depend on no label.

    Args:
        features: (n, width) float32.
    """

    def __init__(self, features: np.ndarray) -> None:
        self.mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.scale = 1 / (np.sqrt(features.shape[1]) * np.maximum(features.std(axis=0), 1e-6)).astype(np.float32)
        rows = (features - self.mean) * self.scale
        if len(rows) < features.shape[1]:
            variance, axes = np.linalg.eigh(rows @ rows.T / len(rows))
            kept = variance > 1e-7 * variance[-1]
            variance = variance[kept]
            axes = rows.T @ (axes[:, kept] / np.sqrt(variance * len(rows)))
        else:
            variance, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        self.variance = np.maximum(variance, 0).astype(np.float32)
        self.turn = self.scale[:, None] * axes.astype(np.float32)

    def rows(self, features: np.ndarray) -> np.ndarray:
        """Features (n, width) in these coordinates, (n, axes) float32."""
        return (features - self.mean) @ self.turn

    def head(self, weights: np.ndarray, bias: np.ndarray) -> Head:
        """The head on raw features of a head in these coordinates."""
        raw = self.turn @ weights
        return Head(((raw, bias - self.mean @ raw),))


class Softmax:
    """The regularised loss of one fold.

    Minimises mean cross entropy + strength / 2 * |W|^2 (Bishop 2006, Pattern Recognition and Machine Learning,
    section 4.3.4), or `Soft.added` in its place. The bias is not regularised. Two classes share one logit, the sigmoid.

    Args:
        rows: (n, axes) float32, from Axes.
        labels: (n,) int.
        classes: how many there are.
        variance: of the rows along each axis.
        shares: what each row counts in the mean, (n,) float32 that sum to 1; None is the same for all.
        soft: a teacher's targets.
    """

    def __init__(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        classes: int,
        variance: np.ndarray,
        shares: np.ndarray | None = None,
        soft: Soft | None = None,
    ) -> None:
        self.soft = soft
        self.rows, self.labels, self.classes, self.variance, self.shares = rows, labels, classes, variance, shares
        self.fixed = 1 if classes == 2 else 0
        self.weights = np.zeros((rows.shape[1], classes - self.fixed), np.float32)
        self.bias = np.zeros(classes - self.fixed, np.float32)

    def full(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (axes, classes) and bias (classes,); with two classes the first one's are 0."""
        return np.pad(self.weights, ((0, 0), (self.fixed, 0))), np.pad(self.bias, (self.fixed, 0))

    def fit(self, strength: float) -> int:
        """Moves the weights to the minimum for this strength. Returns the iterations that it took."""
        unit = 1 / np.sqrt(self.variance * (CURVATURE / self.classes) + np.float32(strength))[:, None]
        scaled = self.rows * unit[:, 0]
        every = np.arange(len(self.labels))

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            logits = scaled @ parameters[:-1] + parameters[-1]
            logits = np.pad(logits, ((0, 0), (1, 0))) if self.fixed else logits
            error = softmax(logits)
            weights = parameters[:-1] * unit
            value = cross_entropy(error, self.labels, self.shares)
            error[every, self.labels] -= 1
            if self.soft is not None:
                value, error = self.soft.added(logits, value, error, self.shares)
            value += strength / 2 * float(np.vdot(weights, weights))
            error = error[:, self.fixed :]
            error = error / np.float32(len(self.labels)) if self.shares is None else error * self.shares[:, None]
            gradient = np.empty_like(parameters)
            gradient[:-1] = scaled.T @ error + np.float32(strength) * (weights * unit)
            gradient[-1] = error.sum(axis=0)
            return value, gradient

        start = np.concatenate([self.weights / unit, self.bias[None]])
        found, iterations = minimize(loss, start, tolerance=TOLERANCE, iterations=ITERATIONS)
        self.weights, self.bias = (found[:-1] * unit).astype(np.float32), found[-1]
        return iterations


def walk(
    fold: Fold, strengths: Sequence[float], classes: int, axes: Axes
) -> tuple[dict[float, Head], list[dict[str, Any]]]:
    """One fold's heads along the strengths until the held-out loss rises, and what each reached."""
    objective = Softmax(axes.rows(fold.features), fold.labels, classes, axes.variance, soft=fold.soft)
    held_rows = axes.rows(fold.held_features)
    heads, history = {}, list[dict[str, Any]]()
    for stronger in [one for one in STRENGTHS if one > strengths[0]][::-2][:2][::-1]:
        objective.fit(stronger)
    for strength in strengths:
        iterations = objective.fit(strength)
        weights, bias = objective.full()
        heads[strength] = axes.head(weights, bias)
        held = cross_entropy(softmax(held_rows @ weights + bias), fold.held_labels)
        history.append({"fold": fold.number, "strength": strength, "iterations": iterations, "held_loss": held})
        if len(history) > 1 and held > history[-2]["held_loss"]:
            break
    return heads, history


def fit(folds: Sequence[Fold], classes: int, strength: float | None = None) -> tuple[list[Head], list[dict[str, Any]]]:
    """One head a fold, all of one strength.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.
        strength: of the L2; None chooses it.

    Returns:
        The heads, and one record a fit: fold, strength, iterations, held_loss, chosen.
    """
    walked, history = [], list[dict[str, Any]]()
    strengths: Sequence[float] = STRENGTHS if strength is None else (strength,)
    axes = Axes(folds[0].features)
    for fold in tqdm(folds, desc="linear head", unit="fold", disable=None, leave=False):
        heads, records = walk(fold, strengths, classes, axes)
        if strengths is STRENGTHS:
            best = min(records, key=lambda record: record["held_loss"])["strength"]
            place = STRENGTHS.index(best)
            strengths = STRENGTHS[max(0, place - 1) : place + 2]
        walked.append(heads)
        history += records
    shared = [strength for strength in strengths if all(strength in heads for heads in walked)]

    def mean_loss(strength: float) -> float:
        return float(np.mean([record["held_loss"] for record in history if record["strength"] == strength]))

    chosen = min(shared, key=mean_loss)
    for record in history:
        record["chosen"] = record["strength"] == chosen
    return [heads[chosen] for heads in walked], history
