"""Weights for members: on the simplex for a mean, free for logarithms, and a stacked linear model on top of these."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.predict import loglinear
from pipeline.predict.blends import Blend, rounded, true_class
from pipeline.predict.held import Held, Part
from pipeline.predict.loglinear import FLOOR, LogLinear

STACKED = 30.0
"""Strength of the stacked model's L2, in pictures."""


def weighted(held: Held) -> Blend:
    """Weights on the simplex with the least log loss of the weighted mean.

    Only each member's probability of the true class matters. Convex, by sequential quadratic programming (Kraft 1988,
    DFVLR-FB 88-28; SciPy's SLSQP).
    """
    likelihood = true_class(held)

    def fit(kept: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        return _mixture(likelihood[:, kept], start / start.sum())

    kept, weights = _sparse(fit, likelihood.shape[1], len(likelihood))
    return Blend(rounded(_spread(weights, kept, likelihood.shape[1])))


def _mixture(likelihood: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (members,) that maximise the mean log of likelihood (pictures, members) times weights; and the loss."""
    from scipy.optimize import minimize

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(np.einsum("nr,r->n", likelihood, weights), FLOOR)
        return float(-np.mean(np.log(mixed))), -np.einsum("nr,n->r", likelihood, 1 / mixed) / len(mixed)

    members = likelihood.shape[1]
    found = minimize(
        loss, start, jac=True, method="SLSQP", bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}, options={"ftol": 1e-9},
    )  # fmt: skip
    weights = np.maximum(found.x, 0)
    return np.asarray(weights / weights.sum()), float(found.fun)


def geometric_weights(held: Held) -> LogLinear:
    """Weights of 0 or more on the logarithms with the least log loss; their sum sharpens or flattens."""
    values = loglinear.logs(held.part.predictions)

    def fit(kept: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        return loglinear.fit_weights(values[kept], held.labels, start)

    kept, weights = _sparse(fit, len(values), len(held.labels))
    return LogLinear(_spread(np.maximum(weights, 0), kept, len(values)))


def _sparse(
    fit: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]], members: int, pictures: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out the member of least weight while that is negative, or costs less than a number to fit is worth.

    That is a log likelihood of 1 (Akaike 1974, IEEE Trans. Autom. Control 19, 716-723): a mean loss of 1 / pictures.

    Returns:
        The numbers of the members that stay, and their weights.
    """
    kept = np.arange(members)
    weights, loss = fit(kept, np.full(members, 1 / members))
    while len(kept) > 1:
        least = int(np.argmin(weights))
        fewer = np.delete(kept, least)
        others, without = fit(fewer, np.delete(weights, least))
        if weights.min() >= 0 and without > loss + 1 / pictures:
            break
        kept, weights, loss = fewer, others, without
    return kept, weights


def _spread(values: np.ndarray, kept: np.ndarray, members: int) -> np.ndarray:
    """The values of those kept, and 0 for the others, (members, ...)."""
    found = np.zeros((members, *values.shape[1:]))
    found[kept] = values
    return found


def stacked(held: Held) -> LogLinear:
    """A linear model on logarithms, a slope for each member and class, pulled towards the geometric weights.

    Stacked generalisation (Wolpert 1992, Neural Networks 5, 241-259; for classes, Ting and Witten 1999, J. Artif.
    Intell. Res. 10, 271-289). Members without geometric weight have none here.
    """
    start = geometric_weights(held).weights
    kept = np.flatnonzero(start)
    fewer = replace(held, part=Part(held.part.predictions[kept]))
    model = loglinear.fit(fewer, start[kept], slopes=True, strength=STACKED / len(held.labels))
    slopes = None if model.slopes is None else _spread(model.slopes, kept, len(start))
    return LogLinear(start, slopes, model.bias)
