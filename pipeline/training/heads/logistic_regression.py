"""Logistic regression: a linear softmax with L2, by full-batch L-BFGS; l2 and the logits' scale come from the folds.

A strong L2 makes the better classifier and the worse probabilities: too timid, all alike. So logits are multiplied by a
scale (temperature scaling, Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599, section 4.2;
the scale is 1 / T), and the l2 is the one that is best with it. The scale of a fold's head is fitted on the validation
predictions of the other folds' heads, so no validation prediction decides its own scale (the other folds' heads have
been trained on those pictures). The scale of a single fold is 1.

The first fold walks the l2 values from strong to weak, each fit starting where the last one ended, until the validation
loss rises; the other folds come down in larger steps and walk the neighbourhood of its best. The l2 with the lowest
mean validation loss is taken for all folds; it was chosen on those folds, so their score flatters it by a little.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from pipeline.models.heads import Head, softmax
from pipeline.terminal import open_bar
from pipeline.training.soft_targets import SoftTargetLoss

HISTORY_SIZE = 6
# c1 of the Armijo condition, as Nocedal and Wright suggest (section 3.1).
SUFFICIENT_DECREASE = 1e-4
MAX_HALVINGS = 20


def minimize_lbfgs(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, *, tolerance: float, iterations: int
) -> tuple[np.ndarray, int]:
    """Minimises a smooth function by L-BFGS in float32 (Nocedal and Wright 2006, algorithms 7.4 and 7.5).

    Full steps are halved until the function falls enough (Armijo). SciPy's L-BFGS works in float64 and spends five
    times as long on its own bookkeeping. tests/training/heads/test_logistic_regression.py compares the two.

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
    """Multiplies the gradient by the approximate inverse Hessian (two-loop recursion)."""
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
    """Computes the mean of -log p(label), p at least 1e-15; weighted by shares (n,) that sum to 1."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15))
    return float(np.mean(losses) if shares is None else shares @ losses)


def compute_feature_std(features: np.ndarray) -> np.ndarray:
    """Computes the deviation of each feature, (width,) float32; infinite for a constant feature, so that it counts 0.

    Divided by a tiny number instead, a feature that is constant only in these pictures would dominate in others.

    Args:
        features: (n, width) float32.
    """
    return np.where(np.ptp(features, axis=0) > 0, np.maximum(features.std(axis=0), 1e-6), np.float32(np.inf))


class PCAWhitening:
    """Coordinates in which the loss is round: features standardised, then turned to their principal axes.

    Rows are divided by the square root of the width, so that their mean squared norm is 1 and an l2 means the same for
    every base. A rotation changes neither the loss nor the L2 norm of the weights; along the axes the
    curvature is about CURVATURE / classes times the variance plus the l2, which `SoftmaxRegression` scales
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
        # With few rows the Gram matrix is smaller and has the same nonzero eigenvalues.
        if len(rows) < features.shape[1]:
            variance, axes = np.linalg.eigh(rows @ rows.T / len(rows))
            # The precision of float32 is 1.2e-7: smaller variances are rounding, which their roots would blow up.
            nonzero = variance > 1e-7 * variance[-1]
            variance = variance[nonzero]
            axes = rows.T @ (axes[:, nonzero] / np.sqrt(variance * len(rows)))
        else:
            variance, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        # Rounding makes eigenvalues of 0 slightly negative.
        self.variance = np.maximum(variance, 0).astype(np.float32)
        self.turn = self.scale[:, None] * axes.astype(np.float32)

    def rows(self, features: np.ndarray) -> np.ndarray:
        """Transforms features (n, width) to these coordinates, (n, axes) float32."""
        return (features - self.mean) @ self.turn

    def head(self, weights: np.ndarray, bias: np.ndarray) -> Head:
        """Converts a head in these coordinates to one on raw features."""
        raw = self.turn @ weights
        return Head(((raw, bias - self.mean @ raw),))


class SoftmaxRegression:
    """The regularised loss of one fold.

    Minimises mean cross entropy + l2 / 2 * |W|^2 (Bishop 2006, Pattern Recognition and Machine Learning,
    section 4.3.4); with soft targets `SoftTargetLoss.added` replaces the cross entropy. The bias is not regularised.
    Two classes share one logit, the sigmoid.

    Args:
        rows: (n, axes) float32, from PCAWhitening.
        labels: (n,) int.
        classes: how many there are.
        variance: of the rows along each axis.
        shares: weight of each row in the mean, (n,) float32 that sum to 1; None is the same for all.
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
        """Returns weights (axes, classes) and bias (classes,); with two classes the first one's are 0."""
        return np.pad(self.weights, ((0, 0), (self.fixed, 0))), np.pad(self.bias, (self.fixed, 0))

    def fit(self, l2: float) -> int:
        """Moves the weights to the minimum for an l2. Returns the iterations that it took."""
        unit = 1 / np.sqrt(self.variance * (CURVATURE / self.classes) + np.float32(l2))[:, None]
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
            value += l2 / 2 * float(np.vdot(weights, weights))
            error = error[:, self.fixed :]
            error = error / np.float32(len(self.labels)) if self.shares is None else error * self.shares[:, None]
            gradient = np.empty_like(parameters)
            gradient[:-1] = scaled.T @ error + np.float32(l2) * (weights * unit)
            gradient[-1] = error.sum(axis=0)
            return value, gradient

        # Starts at the minimum of the last l2, in the units of this one.
        start = np.concatenate([self.weights / unit, self.bias[None]])
        minimum, iterations = minimize_lbfgs(loss, start, tolerance=TOLERANCE, iterations=MAX_ITERATIONS)
        self.weights, self.bias = (minimum[:-1] * unit).astype(np.float32), minimum[-1]
        return iterations


L2_VALUES = tuple(float(10.0**exponent) for exponent in np.arange(-2.0, -7.6, -0.5))
SCALED_ONLY_COUNT = 2
"""Number of the strongest values that are of no use without a scale."""
SCALE_BOUNDS = (0.1, 30.0)
"""Bounds of the scale."""
SCALE_PRIOR_COUNT = 10.0
"""Weight, in pictures, of a scale of 1; without it, few pictures that are all right would allow any scale."""
SCALE_DIGITS = 3
"""Scales are rounded, so that the same pictures give the same bits though the last ones of a fit may differ."""


@dataclass(frozen=True, kw_only=True)
class FoldFeatures:
    """One fold's pictures.

    Args:
        number: of the fold.
        features: training features (n, width) float32.
        labels: their classes (n,) int.
        held_features: validation features (m, width) float32.
        held_labels: their classes (m,) int.
        soft: a teacher's targets for the training pictures; None where there are none.
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
    """A fold's head of one l2.

    Args:
        head: on raw features.
        logits: of the validation pictures, (m, classes) float32.
        labels: of the validation pictures, (m,) int.
        iterations: that the fit took.
    """

    head: Head
    logits: np.ndarray
    labels: np.ndarray
    iterations: int

    def loss(self, scale: float) -> float:
        """Computes the mean validation cross entropy, logits multiplied by the scale."""
        return cross_entropy(softmax(np.float32(scale) * self.logits), self.labels)


def fit_scale(fitted: Sequence[FittedHead]) -> float:
    """Fits the scale: least mean validation loss + SCALE_PRIOR_COUNT * (scale - 1 - log(scale)) / pictures.

    The second term pulls the scale to 1. Both are convex in the scale, so there is one minimum.
    """
    count = sum(len(one.labels) for one in fitted)

    def loss(scale: float) -> float:
        total = sum(len(one.labels) * one.loss(scale) for one in fitted)
        return (total + SCALE_PRIOR_COUNT * (scale - 1 - math.log(scale))) / count

    return round(find_minimum(loss, SCALE_BOUNDS), SCALE_DIGITS)


def find_minimum(loss: Callable[[float], float], bounds: tuple[float, float]) -> float:
    """Finds where a function with one minimum is least, to about a hundredth of the value."""
    # Searched over the logarithm: a scale is a factor, and a single minimum stays single.
    result = minimize_scalar(
        lambda power: loss(math.exp(power)), bounds=np.log(bounds), method="bounded", options={"xatol": 0.01}
    )
    return math.exp(result.x)


def fit_l2_path(
    fold: FoldFeatures, values: Sequence[float], classes: int, axes: PCAWhitening, scale: float | None = 1.0
) -> tuple[dict[float, FittedHead], float]:
    """Fits one fold's heads along the l2 values until the validation loss rises; returns them by l2, and the best l2.

    Args:
        fold: its pictures.
        values: l2 values, strong ones first; the way down to them is made in larger steps.
        classes: how many there are.
        axes: shared by all folds.
        scale: of the loss; None takes the best one of each head.
    """
    objective = SoftmaxRegression(axes.rows(fold.features), fold.labels, classes, axes.variance, soft=fold.soft)
    validation_rows = axes.rows(fold.held_features)
    fits, losses, last = dict[float, FittedHead](), dict[float, float](), math.inf
    for stronger in [one for one in list_l2_values(scale) if one > values[0]][::-2][:2][::-1]:
        objective.fit(stronger)
    for l2 in values:
        iterations = objective.fit(l2)
        weights, bias = objective.full()
        one = FittedHead(
            head=axes.head(weights, bias),
            logits=validation_rows @ weights + bias,
            labels=fold.held_labels,
            iterations=iterations,
        )
        fits[l2], losses[l2] = one, one.loss(fit_scale([one]) if scale is None else scale)
        if losses[l2] > last:
            break
        last = losses[l2]
    return fits, min(losses, key=lambda one: losses[one])


def list_l2_values(scale: float | None) -> tuple[float, ...]:
    """Lists the l2 values to try, strong ones first; fewer where the scale is fixed."""
    return L2_VALUES if scale is None else L2_VALUES[SCALED_ONLY_COUNT:]


def fit(
    folds: Sequence[FoldFeatures], classes: int, l2: float | None = None, scale: float | None = None
) -> tuple[list[Head], list[dict[str, Any]]]:
    """Fits one head a fold, all of one l2.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.
        l2: the l2; None chooses it.
        scale: of the logits; None fits each fold's on the others, or is 1 for a single fold.

    Returns:
        The heads, and one record a fit: fold, l2, iterations, scale, val_loss (at that scale), chosen. Values
        that not all folds have tried are recorded at scale 1.
    """
    scale = 1.0 if scale is None and len(folds) == 1 else scale
    every = list_l2_values(scale)
    values = every if l2 is None else (l2,)
    axes, paths = PCAWhitening(folds[0].features), list[dict[float, FittedHead]]()
    for fold in open_bar(folds, desc="linear head", unit="fold"):
        fits, best = fit_l2_path(fold, values, classes, axes, scale)
        if l2 is None and not paths:
            place = every.index(best)
            values = every[max(0, place - 1) : place + 2]
        paths.append(fits)
    scales = {
        one: fit_scales([fits[one] for fits in paths], scale)
        for one in values
        # Only values that every fold reached can be compared.
        if all(one in fits for fits in paths)
    }

    def mean_loss(one: float) -> float:
        return float(np.mean([fits[one].loss(own) for fits, own in zip(paths, scales[one], strict=True)]))

    chosen, history = min(scales, key=mean_loss), list[dict[str, Any]]()
    for place, (fold, fits) in enumerate(zip(folds, paths, strict=True)):
        for one, fitted in fits.items():
            own = scales[one][place] if one in scales else 1.0
            history.append(
                {
                    "fold": fold.number, "l2": one, "iterations": fitted.iterations, "scale": own,
                    "val_loss": fitted.loss(own), "chosen": one == chosen,
                }
            )  # fmt: skip
    return [fits[chosen].head.scaled(own) for fits, own in zip(paths, scales[chosen], strict=True)], history


def fit_scales(fitted: Sequence[FittedHead], scale: float | None) -> list[float]:
    """Returns the scale of each fold's head: the fixed one, or the one fitted on the other folds."""
    if scale is not None:
        return [scale] * len(fitted)
    return [fit_scale([*fitted[:place], *fitted[place + 1 :]]) for place in range(len(fitted))]
