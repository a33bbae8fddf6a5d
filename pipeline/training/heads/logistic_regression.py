"""Limited-memory BFGS in float32 (Nocedal and Wright 2006, Numerical Optimization, algorithms 7.4 and 7.5).

SciPy's works in float64 and spends more on its own bookkeeping than the products of a softmax on 150,000 parameters
take; this one spends a fifth of it. tests/training/test_linear.py holds it against SciPy's.

A linear softmax of one strength: its regularised loss, in coordinates in which that is round, and its minimum.

A linear softmax with L2 by full-batch L-BFGS; its strength, and what its logits are multiplied by, from the folds.

A strong L2 makes the better classifier and the worse probabilities: too timid, all alike. So logits are multiplied by a
scale (temperature scaling, Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599, section 4.2;
the scale is 1 / T), and the strength is the one that is best with it. The scale of a fold's head is fitted on what the
other folds' heads say of the pictures that they hold out, so no held-out prediction has a say in its own scale (the
other folds' heads have been trained on those pictures). One fold alone has nobody to ask: its scale is 1.

The first fold walks the strengths from strong to weak, each fit starting where the last one ended, until the held-out
loss rises; the other folds come down in larger steps and walk the neighbourhood of its best. The strength with the
lowest mean held-out loss is taken for all folds; it was chosen on those folds, so their score flatters it by a little.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from tqdm import tqdm

from pipeline.models.heads import Head, softmax
from pipeline.training.soft_targets import SoftTargetLoss

HISTORY_SIZE = 6
# c1 of the Armijo condition, as Nocedal and Wright suggest (section 3.1).
SUFFICIENT_DECREASE = 1e-4
MAX_HALVINGS = 20


def minimize_lbfgs(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, *, tolerance: float, iterations: int
) -> tuple[np.ndarray, int]:
    """The minimum of a smooth function, by full steps that are halved until the function falls enough (Armijo).

    Args:
        loss: gives the value and the gradient, of the shape of `start`.
        start: float32 array of any shape; the function should be scaled so that a unit step is sensible there.
        tolerance: ends when an iteration lowers the value by less than this share of it.
        iterations: at most so many.

    Returns:
        The point, and the iterations that it took.
    """
    point: np.ndarray = start.astype(np.float32)
    value, gradient = loss(point)
    steps: list[np.ndarray] = []
    changes: list[np.ndarray] = []
    for iteration in range(iterations):
        direction = -_apply_inverse_hessian(gradient, steps, changes)
        slope = float(np.vdot(gradient, direction))
        length = 1.0
        for _ in range(MAX_HALVINGS):
            candidate = point + np.float32(length) * direction
            following, following_gradient = loss(candidate)
            if following <= value + SUFFICIENT_DECREASE * length * slope:
                break
            length /= 2
        else:
            # Even the shortest step does not lower the value: in float32 this is the minimum.
            return point, iteration
        step, change = candidate - point, following_gradient - gradient
        # Armijo alone does not ensure positive curvature; a pair without it could turn directions uphill.
        if float(np.vdot(step, change)) > 1e-10 * float(np.vdot(change, change)):
            steps, changes = [*steps[1 - HISTORY_SIZE :], step], [*changes[1 - HISTORY_SIZE :], change]
        fallen = value - following
        point, value, gradient = candidate, following, following_gradient
        if fallen <= tolerance * max(abs(value), 1e-12):
            return point, iteration + 1
    return point, iterations


def _apply_inverse_hessian(gradient: np.ndarray, steps: list[np.ndarray], changes: list[np.ndarray]) -> np.ndarray:
    """The approximate inverse Hessian times the gradient (two-loop recursion)."""
    result = gradient.copy()
    weights = []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        weight = np.vdot(step, result) / np.vdot(step, change)
        result -= weight * change
        weights.append(weight)
    # Initial Hessian: the curvature of the latest pair (equation 7.20).
    if steps:
        result *= np.vdot(steps[-1], changes[-1]) / np.vdot(changes[-1], changes[-1])
    for step, change, weight in zip(steps, changes, reversed(weights), strict=True):
        result += (weight - np.vdot(change, result) / np.vdot(step, change)) * step
    return result


MAX_ITERATIONS = 60
TOLERANCE = 1e-3
CURVATURE = 0.1


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray, shares: np.ndarray | None = None) -> float:
    """Mean of -log p(label), probabilities clipped to 1e-15 from below; weighted by shares (n,) that sum to 1."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
    return float(np.mean(losses) if shares is None else shares @ losses)


def compute_feature_std(features: np.ndarray) -> np.ndarray:
    """The deviation of each feature, (width,) float32; infinite where a feature never varies, so that it counts 0.

    Divided by a tiny number instead, a feature that is 0 in these pictures and not in others would drown all others
    there.

    Args:
        features: (n, width) float32.
    """
    return np.where(np.ptp(features, axis=0) > 0, np.maximum(features.std(axis=0), 1e-6), np.float32(np.inf))


class PCAWhitening:
    """Coordinates in which the loss is round: features standardised, then turned to their principal axes.

    Rows are divided by the square root of the width, so that their mean squared norm is 1 and a strength means the
    same for every base. A rotation changes neither the loss nor the L2 norm of the weights; along the axes the
    curvature is about CURVATURE / classes times the variance plus the strength, which `SoftmaxRegression` scales
    away. All folds share the first one's axes: they depend on no label.

    Args:
        features: (n, width) float32.
    """

    def __init__(self, features: np.ndarray) -> None:
        # NumPy adds rows one by one here: in float32 the mean of 150,000 rows is off by 0.1 % (measured).
        self.mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        # np.sqrt of an int is float64 and would widen all products, hence the cast.
        self.scale = 1 / (np.sqrt(features.shape[1]) * compute_feature_std(features)).astype(np.float32)
        rows = (features - self.mean) * self.scale
        # The Gram matrix is smaller here and has the same nonzero eigenvalues.
        if len(rows) < features.shape[1]:
            variance, axes = np.linalg.eigh(rows @ rows.T / len(rows))
            # The precision of float32 is 1.2e-7: smaller variances are rounding, which their roots would blow up.
            kept = variance > 1e-7 * variance[-1]
            variance = variance[kept]
            axes = rows.T @ (axes[:, kept] / np.sqrt(variance * len(rows)))
        else:
            variance, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        # Rounding makes eigenvalues of 0 slightly negative.
        self.variance = np.maximum(variance, 0).astype(np.float32)
        self.turn = self.scale[:, None] * axes.astype(np.float32)

    def rows(self, features: np.ndarray) -> np.ndarray:
        """Features (n, width) in these coordinates, (n, axes) float32."""
        return (features - self.mean) @ self.turn

    def head(self, weights: np.ndarray, bias: np.ndarray) -> Head:
        """The head on raw features of a head in these coordinates."""
        raw = self.turn @ weights
        return Head(((raw, bias - self.mean @ raw),))


class SoftmaxRegression:
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
        soft: SoftTargetLoss | None = None,
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
            # Taken before `error` turns from probabilities into p - y in place.
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

        # Starts at the minimum of the strength before, in the units of this one.
        start = np.concatenate([self.weights / unit, self.bias[None]])
        found, iterations = minimize_lbfgs(loss, start, tolerance=TOLERANCE, iterations=MAX_ITERATIONS)
        self.weights, self.bias = (found[:-1] * unit).astype(np.float32), found[-1]
        return iterations


L2_VALUES = tuple(float(10.0**exponent) for exponent in np.arange(-2.0, -7.6, -0.5))
SCALED_ONLY_COUNT = 2
"""So many of the strongest are of no use without a scale."""
SCALE_BOUNDS = (0.1, 30.0)
"""Between which the scale is looked for."""
SCALE_PRIOR_COUNT = 10.0
"""How many pictures speak for a scale of 1; without them, few pictures that are all told right would ask for any."""
SCALE_DIGITS = 3
"""Scales are rounded, so that the same pictures give the same bits though the last ones of a fit may differ."""


@dataclass(frozen=True, kw_only=True)
class FoldFeatures:
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
    soft: SoftTargetLoss | None = None
    views: int = 1


@dataclass(frozen=True, kw_only=True)
class FittedHead:
    """A fold's head of one strength.

    Args:
        head: on raw features.
        logits: what it says of the held-out pictures, (m, classes) float32.
        labels: theirs, (m,) int.
        iterations: that the fit took.
    """

    head: Head
    logits: np.ndarray
    labels: np.ndarray
    iterations: int

    def loss(self, scale: float) -> float:
        """Mean held-out cross entropy, logits multiplied by the scale."""
        return cross_entropy(softmax(np.float32(scale) * self.logits), self.labels)


def fit_scale(fitted: Sequence[FittedHead]) -> float:
    """The scale of the least mean held-out loss, + PULL * (scale - 1 - log(scale)) / pictures, which pulls it to 1.

    Both are convex in the scale, so there is one minimum.
    """
    count = sum(len(one.labels) for one in fitted)

    def loss(scale: float) -> float:
        total = sum(len(one.labels) * one.loss(scale) for one in fitted)
        return (total + SCALE_PRIOR_COUNT * (scale - 1 - math.log(scale))) / count

    return round(find_minimum(loss, SCALE_BOUNDS), SCALE_DIGITS)


def find_minimum(loss: Callable[[float], float], between: tuple[float, float]) -> float:
    """Where a function with one minimum is least, to about a hundredth of the value."""
    # Searched over the logarithm: a scale is a factor, and a single minimum stays single.
    found = minimize_scalar(
        lambda power: loss(math.exp(power)), bounds=np.log(between), method="bounded", options={"xatol": 0.01}
    )
    return math.exp(found.x)


def fit_l2_path(
    fold: FoldFeatures, strengths: Sequence[float], classes: int, axes: PCAWhitening, scale: float | None = 1.0
) -> tuple[dict[float, FittedHead], float]:
    """One fold's heads along the strengths until the held-out loss rises, by strength; and the best one's strength.

    Args:
        fold: its pictures.
        strengths: strong ones first; the way down to them is made in larger steps.
        classes: how many there are.
        axes: shared by all folds.
        scale: at which the loss is taken; None takes it at the best one of each head.
    """
    objective = SoftmaxRegression(axes.rows(fold.features), fold.labels, classes, axes.variance, soft=fold.soft)
    held_rows = axes.rows(fold.held_features)
    found, losses, last = dict[float, FittedHead](), dict[float, float](), math.inf
    for stronger in [one for one in list_l2_values(scale) if one > strengths[0]][::-2][:2][::-1]:
        objective.fit(stronger)
    for strength in strengths:
        iterations = objective.fit(strength)
        weights, bias = objective.full()
        one = FittedHead(
            head=axes.head(weights, bias),
            logits=held_rows @ weights + bias,
            labels=fold.held_labels,
            iterations=iterations,
        )
        found[strength], losses[strength] = one, one.loss(fit_scale([one]) if scale is None else scale)
        if losses[strength] > last:
            break
        last = losses[strength]
    return found, min(losses, key=lambda one: losses[one])


def list_l2_values(scale: float | None) -> tuple[float, ...]:
    """The strengths that are walked, strong ones first; fewer where the scale is not free."""
    return L2_VALUES if scale is None else L2_VALUES[SCALED_ONLY_COUNT:]


def fit(
    folds: Sequence[FoldFeatures], classes: int, strength: float | None = None, scale: float | None = None
) -> tuple[list[Head], list[dict[str, Any]]]:
    """One head a fold, all of one strength.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.
        strength: of the L2; None chooses it.
        scale: of the logits; None fits each fold's on the others, and is 1 for one fold alone.

    Returns:
        The heads, and one record a fit: fold, strength, iterations, scale, held_loss (at that scale), chosen. Strengths
        that not all folds have tried are recorded at scale 1.
    """
    scale = 1.0 if scale is None and len(folds) == 1 else scale
    every = list_l2_values(scale)
    strengths = every if strength is None else (strength,)
    axes, walked = PCAWhitening(folds[0].features), list[dict[float, FittedHead]]()
    for fold in tqdm(folds, desc="linear head", unit="fold", disable=None, leave=False):
        found, best = fit_l2_path(fold, strengths, classes, axes, scale)
        if strength is None and not walked:
            place = every.index(best)
            strengths = every[max(0, place - 1) : place + 2]
        walked.append(found)
    scales = {
        one: fit_scales([found[one] for found in walked], scale)
        for one in strengths
        # Only strengths that every fold reached can be compared.
        if all(one in found for found in walked)
    }

    def mean_loss(one: float) -> float:
        return float(np.mean([found[one].loss(own) for found, own in zip(walked, scales[one], strict=True)]))

    chosen, history = min(scales, key=mean_loss), list[dict[str, Any]]()
    for place, (fold, found) in enumerate(zip(folds, walked, strict=True)):
        for one, fitted in found.items():
            own = scales[one][place] if one in scales else 1.0
            history.append(
                {
                    "fold": fold.number, "strength": one, "iterations": fitted.iterations, "scale": own,
                    "held_loss": fitted.loss(own), "chosen": one == chosen,
                }
            )  # fmt: skip
    return [found[chosen].head.scaled(own) for found, own in zip(walked, scales[chosen], strict=True)], history


def fit_scales(fitted: Sequence[FittedHead], scale: float | None) -> list[float]:
    """The scale of each fold's head: the given one, or what the other folds' held-out pictures ask for."""
    if scale is not None:
        return [scale] * len(fitted)
    return [fit_scale([*fitted[:place], *fitted[place + 1 :]]) for place in range(len(fitted))]
