"""Combines members' predictions: means, ranks, weights, greedy selection, and a stacked linear model.

Each method is a function from out-of-fold predictions to a fitted predictor. METHODS lists them, those that fit nothing
first, since of several that do about as well the first one is taken.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.ensemble import log_linear
from pipeline.ensemble.log_linear import DIGITS, PROBABILITY_FLOOR, ROUGH_TOLERANCE, LogLinear, WeightFit
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions, Predictor


@dataclass(frozen=True)
class WeightedAverage:
    """A weighted mean of probabilities.

    Args:
        weights: (members,) float64, 0 or more, summing to 1.
    """

    weights: np.ndarray

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        result = np.zeros(part.predictions.shape[1:])
        for weight, values in zip(self.weights, part.predictions, strict=True):
            if weight:
                result += weight * values.astype(np.float64)
        return np.asarray(result / result.sum(axis=1, keepdims=True))

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        return {"weights": self.weights.tolist()}


@dataclass(frozen=True)
class RankAverage:
    """The mean over members of where a picture's probability stands among those that the member has been fitted on.

    So a member's scale does not matter, and a picture's rank does not depend on which others are predicted with it.

    Args:
        sorted: (members, classes, pictures) float, each member's and class's probabilities from small to large.
    """

    sorted: np.ndarray

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Predicts mean ranks (pictures, classes) float64, rows normalized to sum to 1."""
        result = np.zeros(part.predictions.shape[1:])
        for known, values in zip(self.sorted, part.predictions, strict=True):
            for label, column in enumerate(known):
                result[:, label] += _compute_rank(column, values[:, label])
        result += PROBABILITY_FLOOR
        return np.asarray(result / result.sum(axis=1, keepdims=True))

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        return {"ranked_among": self.sorted.shape[2]}


def _compute_rank(column: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Computes the ranks of values in a sorted column, 0 to 1, interpolated between its numbers."""
    levels, first = np.unique(column, return_index=True)
    last = np.append(first[1:], len(column)) - 1
    return np.interp(values, levels, (first + last) / 2 / max(1, len(column) - 1))


def select_true_class(oof: OOFPredictions) -> np.ndarray:
    """Selects each member's probability of the true class, (pictures, members) float64, not below FLOOR."""
    chosen = oof.part.predictions[:, np.arange(len(oof.labels)), oof.labels]
    return np.maximum(chosen.T, PROBABILITY_FLOOR, dtype=np.float64)


def round_weights(weights: np.ndarray) -> np.ndarray:
    """Weights with DIGITS digits that sum to 1; the largest one takes what rounding leaves."""
    result = np.round(weights, DIGITS)
    result[int(np.argmax(result))] += 1 - result.sum()
    return result


MAX_MEMBERS, PATIENCE = 50, 10
"""At most so many members, and so many that may be added in vain."""


def fit_greedy(oof: OOFPredictions) -> WeightedAverage:
    """Selects with replacement: adds, again and again, the member that helps the mean most, by the metric itself.

    Caruana et al. 2004, Ensemble Selection from Libraries of Models (ICML), section 2.2. The best stop of all is taken.
    """
    counts = np.zeros(len(oof.part.predictions))
    worth = build_objective(oof)
    best, chosen = -np.inf, counts
    for _ in range(MAX_MEMBERS):
        if counts.sum() - chosen.sum() > PATIENCE:
            break
        steps = counts + np.eye(len(counts))
        reached = [worth(step / step.sum()) for step in steps]
        counts = steps[int(np.argmax(reached))]
        if max(reached) > best + 1e-9:
            best, chosen = max(reached), counts
    return WeightedAverage(round_weights(chosen / chosen.sum()))


def build_objective(oof: OOFPredictions) -> Callable[[np.ndarray], float]:
    """Builds the objective of weights: the metric on these pictures, or a cheaper one that rises with it."""
    if oof.scorer.is_log_loss:
        likelihood = select_true_class(oof)
        return lambda weights: float(np.mean(np.log(np.einsum("nr,r->n", likelihood, weights))))
    predictions = oof.part.predictions.astype(np.float64)

    def mixed(weights: np.ndarray, column: int | slice = slice(None)) -> np.ndarray:
        return np.tensordot(weights, predictions[..., column], 1)

    score_pictures, score_ranks = oof.scorer.score_pictures, oof.scorer.score_ranks
    if score_pictures:
        return lambda weights: oof.scorer.sign * float(np.mean(score_pictures(oof.labels, mixed(weights))))
    if score_ranks is None:
        return lambda weights: oof.gain(mixed(weights))
    wanted = predictions.shape[2] - 1 if oof.positive is None else oof.positive
    each = [(oof.fold_of == fold, oof.labels[oof.fold_of == fold] == wanted) for fold in sorted(oof.folds)]

    def area(weights: np.ndarray) -> float:
        values = mixed(weights, wanted)
        return float(np.mean([score_ranks(truth, values[rows]) for rows, truth in each]))

    return area


STACKED_L2, SIGNED_L2 = 30.0, 4.0
"""Strengths of the L2 of the stacked model and of weights of either sign, in pictures."""
PARAMETER_COST = 1.0
"""The log likelihood that a number to fit has to bring (Akaike 1974, IEEE Trans. Autom. Control 19, 716-723)."""


def fit_weighted_mean(oof: OOFPredictions) -> WeightedAverage:
    """Weights on the simplex with the least log loss of the weighted mean.

    Only each member's probability of the true class matters. Convex, by sequential quadratic programming (Kraft 1988,
    DFVLR-FB 88-28; SciPy's SLSQP).
    """
    likelihood = select_true_class(oof)
    kept, weights = _prune_mixture(likelihood)
    return WeightedAverage(round_weights(_scatter_weights(weights, kept, likelihood.shape[1])))


def _fit_mixture(likelihood: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (members,) that maximise the mean log of likelihood (pictures, members) times weights; and the loss."""
    from scipy.optimize import minimize

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(np.einsum("nr,r->n", likelihood, weights), PROBABILITY_FLOOR)
        return float(-np.mean(np.log(mixed))), -np.einsum("nr,n->r", likelihood, 1 / mixed) / len(mixed)

    members = likelihood.shape[1]
    result = minimize(
        loss, np.full(members, 1 / members), jac=True, method="SLSQP", bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}, options={"ftol": 1e-9},
    )  # fmt: skip
    weights = np.maximum(result.x, 0)
    return np.asarray(weights / weights.sum()), float(result.fun)


def _prune_mixture(likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out the member of least weight while that costs less than a number to fit is worth.

    Returns:
        The numbers of the members that stay, and their weights.
    """
    kept = np.arange(likelihood.shape[1])
    weights, loss = _fit_mixture(likelihood)
    while len(kept) > 1:
        fewer = np.delete(kept, int(np.argmin(weights)))
        others, without = _fit_mixture(likelihood[:, fewer])
        if without > loss + PARAMETER_COST / len(likelihood):
            break
        kept, weights, loss = fewer, others, without
    return kept, weights


def fit_geometric_weights(oof: OOFPredictions) -> LogLinear:
    """Weights of 0 or more on the logarithms with the least log loss; their sum sharpens or flattens."""
    return _fit_log_weights(oof, signed=False)


def fit_signed_weights(oof: OOFPredictions) -> LogLinear:
    """Fits weights of either sign on the logarithms: the contrast between two runs may be worth most.

    A run of two bases together, less what runs of each alone have said already, is such a contrast.
    """
    return _fit_log_weights(oof, signed=True)


def _fit_log_weights(oof: OOFPredictions, *, signed: bool) -> LogLinear:
    values = log_linear.compute_logs(oof.part.predictions)
    kept, weights, l2 = np.arange(len(values)), None, SIGNED_L2 / len(oof.labels) if signed else 0.0
    while True:
        minimum = log_linear.fit_weights(values[kept], oof.labels, weights, ROUGH_TOLERANCE, l2)
        stay, weights = _prune_weights(minimum, len(oof.labels), signed=signed)
        kept = kept[stay]
        if len(stay) == len(minimum.weights):
            break
    minimum = log_linear.fit_weights(values[kept], oof.labels, weights, l2=l2)
    return LogLinear(_scatter_weights(minimum.weights if signed else np.maximum(minimum.weights, 0), kept, len(values)))


def _prune_weights(minimum: WeightFit, pictures: int, *, signed: bool) -> tuple[np.ndarray, np.ndarray]:
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
        if costs[least] > PARAMETER_COST / pictures:
            break
        weights = np.delete(weights - weights[least] / inverse[least, least] * inverse[least], least)
        kept = np.delete(kept, least)
    return kept, weights


def _scatter_weights(values: np.ndarray, kept: np.ndarray, members: int) -> np.ndarray:
    """Puts the values of the remaining members back among all, with 0 for the others, (members, ...)."""
    result = np.zeros((members, *values.shape[1:]))
    result[kept] = values
    return result


def fit_stacked(oof: OOFPredictions) -> LogLinear:
    """Fits a linear model on logarithms, a slope for each member and class, with L2 towards the geometric weights.

    Stacked generalisation (Wolpert 1992, Neural Networks 5, 241-259; for classes, Ting and Witten 1999, J. Artif.
    Intell. Res. 10, 271-289). Members without geometric weight have none here.
    """
    start = fit_geometric_weights(oof).weights
    kept = np.flatnonzero(start)
    fewer = replace(oof, part=MemberPredictions(oof.part.predictions[kept]))
    model = log_linear.fit_log_linear(fewer, start[kept], slopes=True, l2=STACKED_L2 / len(oof.labels))
    slopes = None if model.slopes is None else _scatter_weights(model.slopes, kept, len(start))
    return LogLinear(start, slopes, model.bias)


def fit_best_single(oof: OOFPredictions) -> Predictor:
    """Takes the member with the best score."""
    return build_best_of(range(len(oof.part.predictions)))(oof)


def build_best_of(numbers: Iterable[int]) -> Callable[[OOFPredictions], Predictor]:
    """Builds the method that takes the member with the best score among some."""
    among = list(numbers)
    return lambda oof: build_single(find_best_member(oof, among))(oof)


def find_best_member(oof: OOFPredictions, numbers: Iterable[int]) -> int:
    """Finds the member with the best score among some."""
    return max(numbers, key=lambda number: oof.gain(oof.part.predictions[number]))


def build_single(number: int) -> Callable[[OOFPredictions], WeightedAverage]:
    """Builds the method that takes one member, whatever the others are."""
    return lambda oof: WeightedAverage(np.eye(len(oof.part.predictions))[number])


def fit_calibrated_single(oof: OOFPredictions) -> LogLinear:
    """Takes the member with the least log loss after its own temperature scaling."""
    values = log_linear.compute_logs(oof.part.predictions)
    fitted = [log_linear.fit_weights(values[number : number + 1], oof.labels) for number in range(len(values))]
    best = int(np.argmin([minimum.loss for minimum in fitted]))
    return LogLinear(np.eye(len(values))[best] * max(fitted[best].weights[0], 0.0))


def fit_mean(oof: OOFPredictions) -> WeightedAverage:
    """Averages probabilities with equal weights."""
    members = len(oof.part.predictions)
    return WeightedAverage(np.full(members, 1 / members))


def fit_geometric_mean(oof: OOFPredictions) -> LogLinear:
    """Averages logarithms with equal weights."""
    members = len(oof.part.predictions)
    return LogLinear(np.full(members, 1 / members))


def fit_rank_mean(oof: OOFPredictions) -> RankAverage:
    """Averages ranks."""
    return RankAverage(np.sort(oof.part.predictions, axis=1).transpose(0, 2, 1))


METHODS: dict[str, Callable[[OOFPredictions], Predictor]] = {
    "mean": fit_mean,
    "geometric mean": fit_geometric_mean,
    "rank mean": fit_rank_mean,
    "best single": fit_best_single,
    "best single, calibrated": fit_calibrated_single,
    "weights": fit_weighted_mean,
    "geometric weights": fit_geometric_weights,
    "greedy selection": fit_greedy,
    "signed weights": fit_signed_weights,
    "stacked linear": fit_stacked,
}
RANK_METHODS = ("rank mean",)
"""Methods whose values are no probabilities: of use where only their order counts."""
REFERENCE_METHODS = ("best single, calibrated",)
"""Methods for log losses that are only shown: geometric weights come to the same where nothing else helps."""
