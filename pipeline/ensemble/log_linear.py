"""Fits the model behind stacking and calibration: the softmax of weighted log probabilities and a bias a class.

    p(c) ~ exp(sum over members r of (a_r + d_rc) log p_r(c) + b_c)

Temperature scaling, class biases, vector scaling, geometric weights and the stacked linear model are this, with some of
it held fast. It is convex in (a, d, b); L2 pulls d and b to 0, and a to where it starts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions

PROBABILITY_FLOOR = 1e-7
"""Probabilities below it are no evidence, only rounding."""
DIGITS = 6
"""Fitted numbers are rounded, so that the same pictures give the same bits though the last ones of a fit may differ."""
LBFGS_OPTIONS = {"maxiter": 200, "ftol": 1e-7}
NEWTON_STEPS, MAX_HALVINGS, HESSIAN_RIDGE = 30, 20, 1e-8
ROUGH_TOLERANCE, EXACT_TOLERANCE = 1e-4, 1e-8


@dataclass(frozen=True)
class LogLinear:
    """The fitted model.

    Args:
        weights: a, (members,) float64.
        slopes: d, (members, classes), or None for none.
        bias: b, (classes,), or None for none.
    """

    weights: np.ndarray
    slopes: np.ndarray | None = None
    bias: np.ndarray | None = None

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        scores = np.zeros(part.predictions.shape[1:])
        for number, (weight, values) in enumerate(zip(self.weights, part.predictions, strict=True)):
            slope = weight if self.slopes is None else weight + self.slopes[number]
            # Skips the logarithms of members without weight.
            if np.any(slope):
                scores += compute_logs(values) * slope
        return softmax(scores if self.bias is None else scores + self.bias)

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        result: dict[str, Any] = {"weights": self.weights.tolist()}
        result |= {} if self.slopes is None else {"slopes": self.slopes.tolist()}
        return result | ({} if self.bias is None else {"bias": self.bias.tolist()})


def compute_logs(probabilities: np.ndarray) -> np.ndarray:
    """Computes logarithms, float64, of probabilities not below FLOOR."""
    return np.log(np.maximum(probabilities, PROBABILITY_FLOOR, dtype=np.float64))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns the softmax over the last axis, float64."""
    values = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class WeightFit:
    """Where the mean cross entropy is least, seen from the weights alone.

    Args:
        weights: (members,) float64.
        loss: the mean cross entropy there.
        hessian: its second derivatives, (members, members) float64.
    """

    weights: np.ndarray
    loss: float
    hessian: np.ndarray


def _mix(values: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Mixes logarithms (members, pictures, classes); returns the mean log of the sums, and the probabilities."""
    scores = np.tensordot(weights, values, 1)
    # Subtracting the maximum keeps exp from overflowing (above 709 in float64).
    top = scores.max(axis=1, keepdims=True)
    scores = np.exp(scores - top)
    whole = scores.sum(axis=1, keepdims=True)
    return np.mean(np.log(whole) + top), scores / whole


def fit_weights(
    values: np.ndarray,
    labels: np.ndarray,
    start: np.ndarray | None = None,
    tolerance: float = EXACT_TOLERANCE,
    l2: float = 0.0,
) -> WeightFit:
    """Fits the weights a alone by Newton's method: for few numbers a Hessian costs no more than a gradient.

    Args:
        values: logarithms (members, pictures, classes) float64, from `compute_logs`.
        labels: (pictures,) int.
        start: where the weights begin, (members,); None is the geometric mean.
        tolerance: ends when an iteration lowers the loss by less.
        l2: of an L2 that pulls the weights to 0; half of it times their squares is part of the loss.
    """
    members, pictures, _ = values.shape
    flat = values.reshape(members, -1)
    chosen = values[:, np.arange(pictures), labels].mean(axis=1)

    def evaluate(weights: np.ndarray) -> tuple[float, np.ndarray]:
        loss, probabilities = _mix(values, weights)
        return float(loss - weights @ chosen + l2 / 2 * weights @ weights), probabilities

    weights = np.full(members, 1 / members) if start is None else start
    loss, probabilities = evaluate(weights)
    for _ in range(NEWTON_STEPS):
        weighed = values * probabilities
        means = weighed.sum(axis=2)
        gradient = means.mean(axis=1) - chosen + l2 * weights
        # E[v v'] - E[v] E[v'], summed over pictures by one matrix product.
        hessian = (weighed.reshape(members, -1) @ flat.T - means @ means.T) / pictures
        # RIDGE keeps the Hessian invertible where two members predict the same.
        hessian += (HESSIAN_RIDGE + l2) * np.eye(members)
        step = np.linalg.solve(hessian, gradient)
        # Far from the minimum a full Newton step may raise the loss.
        for halving in range(MAX_HALVINGS):
            following, predicted = evaluate(weights - step / 2**halving)
            if following <= loss:
                break
        else:
            break
        weights, fallen = weights - step / 2**halving, loss - following
        loss, probabilities = following, predicted
        if fallen < tolerance:
            break
    return WeightFit(np.round(weights, DIGITS), loss, hessian)


def fit_log_linear(
    oof: OOFPredictions, start: np.ndarray, *, weights: bool = False, slopes: bool = False, l2: float
) -> LogLinear:
    """Minimises mean cross entropy + l2 / 2 * (|a - start|^2 + |d|^2 + |b|^2), by L-BFGS-B. b is always fitted.

    Args:
        oof: predictions of one or more members, and the truth.
        start: where a begins, (members,) float64.
        weights: fit a.
        slopes: fit d.
        l2: of the L2.
    """
    from scipy.optimize import minimize

    values = compute_logs(oof.part.predictions)
    members, pictures, classes = values.shape
    every, sizes = np.arange(pictures), (members * weights, members * classes * slopes, classes)

    def at(parameters: np.ndarray) -> LogLinear:
        first, second, third = np.split(parameters, np.cumsum(sizes)[:2])
        each = second.reshape(members, classes) if slopes else None
        return LogLinear(start + first if weights else start, each, third)

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        error = softmax(_compute_scores(at(parameters), values))
        # Taken before `error` turns from probabilities into p - y in place. 1e-300 avoids log(0).
        value = -np.mean(np.log(np.maximum(error[every, oof.labels], 1e-300)))
        error[every, oof.labels] -= 1
        error /= pictures
        by_class = np.stack([np.einsum("nc,nc->c", one, error) for one in values]) if weights or slopes else None
        parts = [by_class.sum(axis=1)] if by_class is not None and weights else []
        parts += [by_class.ravel()] if by_class is not None and slopes else []
        gradient = np.concatenate([*parts, error.sum(axis=0)]) + l2 * parameters
        return float(value + l2 / 2 * parameters @ parameters), gradient

    result = minimize(objective, np.zeros(sum(sizes)), jac=True, method="L-BFGS-B", options=LBFGS_OPTIONS)
    return at(np.round(result.x, DIGITS))


def _compute_scores(model: LogLinear, values: np.ndarray) -> np.ndarray:
    """Computes the softmax's argument (pictures, classes) from logarithms (members, pictures, classes)."""
    if model.slopes is None:
        scores = np.tensordot(model.weights, values, 1)
    else:
        each = zip(values, model.weights, model.slopes, strict=True)
        scores = np.sum([one * (weight + slopes) for one, weight, slopes in each], axis=0)
    return np.asarray(scores if model.bias is None else scores + model.bias)
