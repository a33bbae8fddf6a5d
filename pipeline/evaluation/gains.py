"""How much better one prediction of the same pictures is than another, and whether that is noise.

Whoever compares predictions asks here, so that nobody forgets what a fold can tell apart, or McNemar's test.
"""

from dataclasses import replace

import numpy as np

from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import Interval, bootstrap_difference, compare_paired, estimate_over_folds
from pipeline.evaluation.nested_cv import OOFPredictions

BOOTSTRAP_SAMPLES = 300
"""Of a metric that is no mean over pictures: fewer than of others, since it is computed anew for each."""


def estimate_fold_gain(held: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """Estimates what `after` gains over `before`, above 0 where it is better. See `estimate_fold_difference`."""
    found = estimate_fold_difference(held, before, after)
    return found if held.higher else -found


def estimate_fold_difference(
    held: OOFPredictions, before: np.ndarray, after: np.ndarray, *, share: float | None = None
) -> Interval:
    """The metric's difference, after - before, paired over folds.

    Where a picture is right or wrong, McNemar's exact test on all of them has to find a difference, too.

    Args:
        held: the truth, the folds and the metric; two folds or more.
        before: probabilities (pictures, classes), in the order of `held`.
        after: the same.
        share: of all pictures that a fold holds out; None where `held` has all folds.
    """
    each = list(np.subtract(held.by_fold(after), held.by_fold(before)))
    return _add_mcnemar(estimate_over_folds(each, share or 1 / len(held.folds), held.resolution), held, before, after)


def estimate_picture_difference(held: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """The metric's difference on all pictures together, after - before, by drawing them again.

    Chance in training is not in it. Arguments as of `estimate_fold_difference`.
    """
    random = np.random.default_rng(0)
    score_pictures = held.scorer.score_pictures
    if score_pictures is None:
        return bootstrap_difference(
            lambda classes, values: metrics.score(held.metric, classes, values, held.positive),
            *(held.labels, before, after, random),
            samples=BOOTSTRAP_SAMPLES,
        )
    first, second = (score_pictures(held.labels, values) for values in (before, after))
    found = bootstrap_difference(lambda _, values: float(values.mean()), held.labels, first, second, random)
    return _add_mcnemar(found, held, before, after)


def _add_mcnemar(found: Interval, held: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """With McNemar's p-value, where the metric counts pictures that are right."""
    if not held.scorer.counts_correct:
        return found
    test = compare_paired(held.labels, before.argmax(axis=1), after.argmax(axis=1))
    return replace(found, p_value=test.p_value)
