"""How much each view of a picture counts when its predictions are averaged: equally, or by weights that held-out
predictions have to justify.

The members of `Held` are here the views of one run, the plain one first; the same weights then serve its test views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.predict import ensemble
from pipeline.predict.blends import Blend
from pipeline.predict.gains import gain_over_folds
from pipeline.predict.greedy import worth_of
from pipeline.predict.held import Held
from pipeline.predict.intervals import Interval
from pipeline.predict.weights import weighted as weights_each

SHARES = tuple(float(share) for share in np.linspace(0, 1, 21))


def plain_alone(held: Held) -> Blend:
    """The first view, no other."""
    return Blend(np.eye(len(held.part.predictions))[0])


def against_the_rest(held: Held) -> Blend:
    """One weight for the first view, the rest of it shared by the others; the best on a grid, by the metric itself.

    Where several do as well it is the one that is nearest to counting all alike.
    """
    views = len(held.part.predictions)
    worth = worth_of(held)
    gains = [worth(_shared(share, views)) for share in SHARES]
    places = np.flatnonzero(np.isclose(gains, max(gains), rtol=0, atol=1e-12))
    share = min((SHARES[place] for place in places), key=lambda one: abs(one - 1 / views))
    return Blend(_shared(share, views))


def _shared(share: float, views: int) -> np.ndarray:
    """A weight for the first view, the rest of it shared by the others, (views,) float64."""
    return np.array([share, *[(1 - share) / (views - 1)] * (views - 1)])


def without_the_worst(held: Held) -> Blend:
    """The equal mean of some views: again and again the one is left out without which the mean is best."""
    views, worth = len(held.part.predictions), worth_of(held)
    kept = np.ones(views)
    best = worth(kept / views)
    while kept.sum() > 1:
        fewer = [kept - np.eye(views)[view] for view in np.flatnonzero(kept)]
        gains = [worth(some / some.sum()) for some in fewer]
        if max(gains) <= best + 1e-12:
            break
        best, kept = max(gains), fewer[int(np.argmax(gains))]
    return Blend(kept / kept.sum())


EQUAL = "all alike"
WAYS: dict[str, Callable[[Held], Blend]] = {
    EQUAL: ensemble.mean,
    "plain alone": plain_alone,
    "plain against the rest": against_the_rest,
    "without the worst": without_the_worst,
    "a weight each": weights_each,
}
"""The first is what a run does by itself; another one has to be better beyond noise, on folds that it has not seen."""


@dataclass(frozen=True)
class View:
    """What a view is worth.

    Args:
        name: of the view.
        folds: the metric of its predictions alone, on each fold.
        gain: of the mean of all views over the mean of all others, positive where it is better; None for an only view.
    """

    name: str
    folds: list[float]
    gain: Interval | None


def worths(held: Held, names: Sequence[str]) -> list[View]:
    """Each view alone, and what the mean of all gains by it; nothing is fitted, so there is nothing to nest.

    Args:
        held: the members are views.
        names: of the views, in the members' order.
    """
    predictions = held.part.predictions
    everything = predictions.mean(axis=0, dtype=np.float64)
    found = []
    for place, name in enumerate(names):
        gain = None
        if len(names) > 1:
            without = np.delete(predictions, place, axis=0).mean(axis=0, dtype=np.float64)
            gain = gain_over_folds(held, without, everything)
        found.append(View(name, held.by_fold(predictions[place]), gain))
    return found
