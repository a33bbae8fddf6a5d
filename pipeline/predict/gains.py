"""How much better one prediction of the same pictures is than another, and whether that is noise.

Whoever compares predictions asks here, so that nobody forgets what a fold can tell apart, or McNemar's test.
"""

from dataclasses import replace

import numpy as np

from pipeline.predict import metrics
from pipeline.predict.held import Held
from pipeline.predict.intervals import Interval, over_folds, paired
from pipeline.predict.resampling import bootstrap

AUC_SAMPLES = 300
"""Fewer than for the other metrics, whose value for a picture need not be computed again."""


def gain_over_folds(held: Held, before: np.ndarray, after: np.ndarray) -> Interval:
    """What `after` is better by than `before`, above 0 where it is better; arguments as of `difference_over_folds`."""
    found = difference_over_folds(held, before, after)
    return found if held.higher else -found


def difference_over_folds(held: Held, before: np.ndarray, after: np.ndarray, *, share: float | None = None) -> Interval:
    """The metric's difference, after - before, paired over folds.

    Where a picture is right or wrong, McNemar's exact test on all of them has to find a difference, too.

    Args:
        held: the truth, the folds and the metric; two folds or more.
        before: probabilities (pictures, classes), in the order of `held`.
        after: the same.
        share: of all pictures that a fold holds out; None where `held` has all folds.
    """
    each = list(np.subtract(held.by_fold(after), held.by_fold(before)))
    return _tested(over_folds(each, share or 1 / len(held.folds), held.resolution), held, before, after)


def difference_over_pictures(held: Held, before: np.ndarray, after: np.ndarray) -> Interval:
    """The metric's difference on all pictures together, after - before, by drawing them again.

    Chance in training is not in it. Arguments as of `difference_over_folds`.
    """
    random = np.random.default_rng(0)
    if held.metric == "auc":
        return bootstrap(
            lambda classes, values: metrics.score("auc", classes, values, held.positive),
            *(held.labels, before, after, random),
            samples=AUC_SAMPLES,
        )
    first, second = (metrics.by_picture(held.metric, held.labels, values) for values in (before, after))
    found = bootstrap(lambda _, values: float(values.mean()), held.labels, first, second, random)
    return _tested(found, held, before, after)


def _tested(found: Interval, held: Held, before: np.ndarray, after: np.ndarray) -> Interval:
    """With McNemar's p-value, where the metric counts pictures that are right."""
    if held.metric not in metrics.COUNTED:
        return found
    test = paired(held.labels, before.argmax(axis=1), after.argmax(axis=1))
    return replace(found, p_value=test.p_value)
