"""Weights for members: on the simplex for a mean, free for logarithms, of either sign, and a stacked linear model."""

from dataclasses import replace

import numpy as np

from pipeline.predict import loglinear
from pipeline.predict.blends import Blend, rounded, true_class
from pipeline.predict.held import Held, Part
from pipeline.predict.loglinear import FLOOR, ROUGH, LogLinear, Minimum

STACKED, SIGNED = 30.0, 4.0
"""Strengths of the L2 of the stacked model and of weights of either sign, in pictures."""
WORTH = 1.0
"""The log likelihood that a number to fit has to bring (Akaike 1974, IEEE Trans. Autom. Control 19, 716-723)."""


def weighted(held: Held) -> Blend:
    """Weights on the simplex with the least log loss of the weighted mean.

    Only each member's probability of the true class matters. Convex, by sequential quadratic programming (Kraft 1988,
    DFVLR-FB 88-28; SciPy's SLSQP).
    """
    likelihood = true_class(held)
    kept, weights = _sparse(likelihood)
    return Blend(rounded(_spread(weights, kept, likelihood.shape[1])))


def _mixture(likelihood: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (members,) that maximise the mean log of likelihood (pictures, members) times weights; and the loss."""
    from scipy.optimize import minimize

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(np.einsum("nr,r->n", likelihood, weights), FLOOR)
        return float(-np.mean(np.log(mixed))), -np.einsum("nr,n->r", likelihood, 1 / mixed) / len(mixed)

    members = likelihood.shape[1]
    found = minimize(
        loss, np.full(members, 1 / members), jac=True, method="SLSQP", bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}, options={"ftol": 1e-9},
    )  # fmt: skip
    weights = np.maximum(found.x, 0)
    return np.asarray(weights / weights.sum()), float(found.fun)


def _sparse(likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out the member of least weight while that costs less than a number to fit is worth.

    Returns:
        The numbers of the members that stay, and their weights.
    """
    kept = np.arange(likelihood.shape[1])
    weights, loss = _mixture(likelihood)
    while len(kept) > 1:
        fewer = np.delete(kept, int(np.argmin(weights)))
        others, without = _mixture(likelihood[:, fewer])
        if without > loss + WORTH / len(likelihood):
            break
        kept, weights, loss = fewer, others, without
    return kept, weights


def geometric_weights(held: Held) -> LogLinear:
    """Weights of 0 or more on the logarithms with the least log loss; their sum sharpens or flattens."""
    return _on_logarithms(held, signed=False)


def signed_weights(held: Held) -> LogLinear:
    """The same with weights of either sign: two runs may say most by what the one says more than the other.

    A run of two bases together, less what runs of each alone have said already, is such a contrast.
    """
    return _on_logarithms(held, signed=True)


def _on_logarithms(held: Held, *, signed: bool) -> LogLinear:
    values = loglinear.logs(held.part.predictions)
    kept, weights, strength = np.arange(len(values)), None, SIGNED / len(held.labels) if signed else 0.0
    while True:
        minimum = loglinear.fit_weights(values[kept], held.labels, weights, ROUGH, strength)
        stay, weights = _pruned(minimum, len(held.labels), signed=signed)
        kept = kept[stay]
        if len(stay) == len(minimum.weights):
            break
    minimum = loglinear.fit_weights(values[kept], held.labels, weights, strength=strength)
    return LogLinear(_spread(minimum.weights if signed else np.maximum(minimum.weights, 0), kept, len(values)))


def _pruned(minimum: Minimum, pictures: int, *, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out members while one is worth less than a number to fit or, unless `signed`, has a negative weight.

    What that costs, and where the other weights go, is read from the Hessian (Hassibi and Stork 1993, Optimal Brain
    Surgeon, NIPS 5, 164-171), so that nothing is fitted again on the way.

    Returns:
        The numbers of the members that stay, and about their weights.
    """
    kept, weights = np.arange(len(minimum.weights)), minimum.weights
    while len(kept) > 1:
        inverse = np.linalg.inv(minimum.hessian[np.ix_(kept, kept)])
        costs = np.where((weights < 0) & (not signed), -1.0, weights**2 / (2 * np.diag(inverse)))
        least = int(np.argmin(costs))
        if costs[least] > WORTH / pictures:
            break
        weights = np.delete(weights - weights[least] / inverse[least, least] * inverse[least], least)
        kept = np.delete(kept, least)
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
