"""Several runs made into one: means, ranks, weights, greedy selection, and a stacked linear model.

Each method is a function from held-out predictions to a fitted combiner; METHODS lists them, those that fit nothing
first, since of several that do about as well the first one is taken.
"""

from collections.abc import Callable, Iterable

import numpy as np

from pipeline.predict import loglinear
from pipeline.predict.blends import Blend, Ranks
from pipeline.predict.greedy import greedy
from pipeline.predict.held import Held
from pipeline.predict.loglinear import LogLinear
from pipeline.predict.nested import Fitted
from pipeline.predict.weights import geometric_weights, signed_weights, stacked, weighted


def single(held: Held) -> Fitted:
    """The member with the best score."""
    return best_of(range(len(held.part.predictions)))(held)


def best_of(numbers: Iterable[int]) -> Callable[[Held], Fitted]:
    """The method that takes the member with the best score among some."""
    among = list(numbers)
    return lambda held: only(best(held, among))(held)


def best(held: Held, numbers: Iterable[int]) -> int:
    """The member with the best score among some."""
    return max(numbers, key=lambda number: held.gain(held.part.predictions[number]))


def only(number: int) -> Callable[[Held], Fitted]:
    """The method that takes one member, whatever the others are."""
    return lambda held: Blend(np.eye(len(held.part.predictions))[number])


def single_calibrated(held: Held) -> LogLinear:
    """The member with the least log loss once its own temperature is fitted."""
    values = loglinear.logs(held.part.predictions)
    fitted = [loglinear.fit_weights(values[number : number + 1], held.labels) for number in range(len(values))]
    best = int(np.argmin([minimum.loss for minimum in fitted]))
    return LogLinear(np.eye(len(values))[best] * max(fitted[best].weights[0], 0.0))


def mean(held: Held) -> Blend:
    """The arithmetic mean."""
    members = len(held.part.predictions)
    return Blend(np.full(members, 1 / members))


def geometric(held: Held) -> LogLinear:
    """The geometric mean, made to sum to 1."""
    members = len(held.part.predictions)
    return LogLinear(np.full(members, 1 / members))


def ranks(held: Held) -> Ranks:
    """The mean of ranks."""
    return Ranks(np.sort(held.part.predictions, axis=1).transpose(0, 2, 1))


METHODS: dict[str, Callable[[Held], Fitted]] = {
    "mean": mean,
    "geometric mean": geometric,
    "rank mean": ranks,
    "best single": single,
    "best single, calibrated": single_calibrated,
    "weights": weighted,
    "geometric weights": geometric_weights,
    "greedy selection": greedy,
    "signed weights": signed_weights,
    "stacked linear": stacked,
}
ORDER_ONLY = ("rank mean",)
"""Methods whose values are no probabilities: of use where only their order counts."""
FOR_COMPARISON = ("best single, calibrated",)
"""Methods for log losses that are only shown: geometric weights come to the same where nothing else helps."""
