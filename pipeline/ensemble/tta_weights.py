"""Fits how much each view counts in test-time augmentation: equally, or by weights from out-of-fold predictions.

The members of `OOFPredictions` are here the views of one run, the plain one first; the same weights then serve its
test views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.ensemble import methods
from pipeline.ensemble.methods import WeightedAverage, build_objective
from pipeline.evaluation.gains import estimate_fold_gain
from pipeline.evaluation.intervals import Interval
from pipeline.evaluation.nested_cv import OOFPredictions

SHARE_GRID = tuple(float(share) for share in np.linspace(0, 1, 21))


def fit_first_against_rest(oof: OOFPredictions) -> WeightedAverage:
    """Fits one weight for the first view, the rest shared by the others, on a grid, by the metric itself.

    Where several do as well it is the one that is nearest to counting all alike.
    """
    views = len(oof.part.predictions)
    worth = build_objective(oof)
    gains = [worth(_build_weights(share, views)) for share in SHARE_GRID]
    places = np.flatnonzero(np.isclose(gains, max(gains), rtol=0, atol=1e-12))
    share = min((SHARE_GRID[place] for place in places), key=lambda one: abs(one - 1 / views))
    return WeightedAverage(_build_weights(share, views))


def _build_weights(share: float, views: int) -> np.ndarray:
    """Builds a weight for the first view, the rest of it shared by the others, (views,) float64."""
    return np.array([share, *[(1 - share) / (views - 1)] * (views - 1)])


def fit_without_worst(oof: OOFPredictions) -> WeightedAverage:
    """Averages some views: drops, again and again, the view without which the mean is best."""
    views, worth = len(oof.part.predictions), build_objective(oof)
    kept = np.ones(views)
    best = worth(kept / views)
    while kept.sum() > 1:
        fewer = [kept - np.eye(views)[view] for view in np.flatnonzero(kept)]
        gains = [worth(some / some.sum()) for some in fewer]
        if max(gains) <= best + 1e-12:
            break
        best, kept = max(gains), fewer[int(np.argmax(gains))]
    return WeightedAverage(kept / kept.sum())


EQUAL_WEIGHTS = "all alike"
WEIGHTINGS: dict[str, Callable[[OOFPredictions], WeightedAverage]] = {
    EQUAL_WEIGHTS: methods.fit_mean,
    "plain alone": methods.build_single(0),
    "plain against the rest": fit_first_against_rest,
    "without the worst": fit_without_worst,
    "a weight each": methods.fit_weighted_mean,
}
"""The first is what a run does by itself; another one has to be better beyond noise, on folds that it has not seen."""


@dataclass(frozen=True)
class ViewScore:
    """What a view is worth.

    Args:
        name: of the view.
        folds: the metric of its predictions alone, on each fold.
        gain: of the mean of all views over the mean of all others, positive where it is better; None for an only view.
    """

    name: str
    folds: list[float]
    gain: Interval | None


def score_views(oof: OOFPredictions, names: Sequence[str]) -> list[ViewScore]:
    """Scores each view alone, and the gain of the mean of all by it; nothing is fitted, so nothing is nested.

    Args:
        oof: the members are views.
        names: of the views, in the members' order.
    """
    predictions = oof.part.predictions
    everything = predictions.mean(axis=0, dtype=np.float64)
    result = []
    for place, name in enumerate(names):
        gain = None
        if len(names) > 1:
            without = np.delete(predictions, place, axis=0).mean(axis=0, dtype=np.float64)
            gain = estimate_fold_gain(oof, without, everything)
        result.append(ViewScore(name, oof.by_fold(predictions[place]), gain))
    return result
