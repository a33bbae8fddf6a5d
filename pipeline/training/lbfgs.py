"""Limited-memory BFGS in float32 (Nocedal and Wright 2006, Numerical Optimization, algorithms 7.4 and 7.5).

SciPy's works in float64 and spends more on its own bookkeeping than the products of a softmax on 150,000 parameters
take; this one spends a fifth of it. tests/training/test_linear.py holds it against SciPy's.
"""

from collections.abc import Callable

import numpy as np

MEMORY = 6
# c1 of the Armijo condition, as Nocedal and Wright suggest (section 3.1).
SUFFICIENT = 1e-4
HALVINGS = 20


def minimize(
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
        direction = -_product(gradient, steps, changes)
        slope = float(np.vdot(gradient, direction))
        length = 1.0
        for _ in range(HALVINGS):
            candidate = point + np.float32(length) * direction
            following, following_gradient = loss(candidate)
            if following <= value + SUFFICIENT * length * slope:
                break
            length /= 2
        else:
            # Even the shortest step does not lower the value: in float32 this is the minimum.
            return point, iteration
        step, change = candidate - point, following_gradient - gradient
        # Armijo alone does not ensure positive curvature; a pair without it could turn directions uphill.
        if float(np.vdot(step, change)) > 1e-10 * float(np.vdot(change, change)):
            steps, changes = [*steps[1 - MEMORY :], step], [*changes[1 - MEMORY :], change]
        fallen = value - following
        point, value, gradient = candidate, following, following_gradient
        if fallen <= tolerance * max(abs(value), 1e-12):
            return point, iteration + 1
    return point, iterations


def _product(gradient: np.ndarray, steps: list[np.ndarray], changes: list[np.ndarray]) -> np.ndarray:
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
