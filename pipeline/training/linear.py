"""A linear softmax with L2 by full-batch L-BFGS; its strength, and what its logits are multiplied by, from the folds.

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
from pipeline.training.distilled import Soft
from pipeline.training.logistic import Axes, Softmax, cross_entropy

STRENGTHS = tuple(float(10.0**exponent) for exponent in np.arange(-2.0, -7.6, -0.5))
TIMID = 2
"""So many of the strongest are of no use without a scale."""
SCALES = (0.1, 30.0)
"""Between which the scale is looked for."""
PULL = 10.0
"""How many pictures speak for a scale of 1; without them, few pictures that are all told right would ask for any."""
DIGITS = 3
"""Scales are rounded, so that the same pictures give the same bits though the last ones of a fit may differ."""


@dataclass(frozen=True, kw_only=True)
class Fold:
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
    soft: Soft | None = None
    views: int = 1


@dataclass(frozen=True, kw_only=True)
class Fitted:
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


def scale_of(fitted: Sequence[Fitted]) -> float:
    """The scale of the least mean held-out loss, + PULL * (scale - 1 - log(scale)) / pictures, which pulls it to 1.

    Both are convex in the scale, so there is one minimum.
    """
    count = sum(len(one.labels) for one in fitted)

    def loss(scale: float) -> float:
        total = sum(len(one.labels) * one.loss(scale) for one in fitted)
        return (total + PULL * (scale - 1 - math.log(scale))) / count

    return round(lowest(loss, SCALES), DIGITS)


def lowest(loss: Callable[[float], float], between: tuple[float, float]) -> float:
    """Where a function with one minimum is least, to about a hundredth of the value."""
    # Searched over the logarithm: a scale is a factor, and a single minimum stays single.
    found = minimize_scalar(
        lambda power: loss(math.exp(power)), bounds=np.log(between), method="bounded", options={"xatol": 0.01}
    )
    return math.exp(found.x)


def walk(
    fold: Fold, strengths: Sequence[float], classes: int, axes: Axes, scale: float | None = 1.0
) -> tuple[dict[float, Fitted], float]:
    """One fold's heads along the strengths until the held-out loss rises, by strength; and the best one's strength.

    Args:
        fold: its pictures.
        strengths: strong ones first; the way down to them is made in larger steps.
        classes: how many there are.
        axes: shared by all folds.
        scale: at which the loss is taken; None takes it at the best one of each head.
    """
    objective = Softmax(axes.rows(fold.features), fold.labels, classes, axes.variance, soft=fold.soft)
    held_rows = axes.rows(fold.held_features)
    found, losses, last = dict[float, Fitted](), dict[float, float](), math.inf
    for stronger in [one for one in strengths_with(scale) if one > strengths[0]][::-2][:2][::-1]:
        objective.fit(stronger)
    for strength in strengths:
        iterations = objective.fit(strength)
        weights, bias = objective.full()
        one = Fitted(
            head=axes.head(weights, bias),
            logits=held_rows @ weights + bias,
            labels=fold.held_labels,
            iterations=iterations,
        )
        found[strength], losses[strength] = one, one.loss(scale_of([one]) if scale is None else scale)
        if losses[strength] > last:
            break
        last = losses[strength]
    return found, min(losses, key=lambda one: losses[one])


def strengths_with(scale: float | None) -> tuple[float, ...]:
    """The strengths that are walked, strong ones first; fewer where the scale is not free."""
    return STRENGTHS if scale is None else STRENGTHS[TIMID:]


def fit(
    folds: Sequence[Fold], classes: int, strength: float | None = None, scale: float | None = None
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
    every = strengths_with(scale)
    strengths = every if strength is None else (strength,)
    axes, walked = Axes(folds[0].features), list[dict[float, Fitted]]()
    for fold in tqdm(folds, desc="linear head", unit="fold", disable=None, leave=False):
        found, best = walk(fold, strengths, classes, axes, scale)
        if strength is None and not walked:
            place = every.index(best)
            strengths = every[max(0, place - 1) : place + 2]
        walked.append(found)
    scales = {
        one: scales_of([found[one] for found in walked], scale)
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


def scales_of(fitted: Sequence[Fitted], scale: float | None) -> list[float]:
    """The scale of each fold's head: the given one, or what the other folds' held-out pictures ask for."""
    if scale is not None:
        return [scale] * len(fitted)
    return [scale_of([*fitted[:place], *fitted[place + 1 :]]) for place in range(len(fitted))]
