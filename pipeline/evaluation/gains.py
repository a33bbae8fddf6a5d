"""Estimates the gain of one prediction over another on the same pictures, with the test that fits the metric.

All comparisons go through here, so that none forgets the resolution of a fold, or McNemar's test.
"""

from dataclasses import replace

import numpy as np

from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import Interval, bootstrap_difference, compare_paired, estimate_over_folds
from pipeline.evaluation.nested_cv import OOFPredictions

BOOTSTRAP_SAMPLES = 300
"""Of a metric that is no mean over pictures: fewer than of others, since it is computed anew for each."""


def estimate_fold_gain(oof: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """Estimates what `after` gains over `before`, above 0 where it is better. See `estimate_fold_difference`."""
    result = estimate_fold_difference(oof, before, after)
    return result if oof.higher else -result


def estimate_fold_difference(
    oof: OOFPredictions, before: np.ndarray, after: np.ndarray, *, share: float | None = None
) -> Interval:
    """Estimates the metric's difference, after - before, paired over folds.

    Where a picture is right or wrong, McNemar's exact test on all of them has to find a difference, too.

    Args:
        oof: the truth, the folds and the metric; two folds or more.
        before: probabilities (pictures, classes), in the order of `oof`.
        after: the same.
        share: of all pictures that a fold holds out; None where `oof` has all folds.
    """
    each = list(np.subtract(oof.by_fold(after), oof.by_fold(before)))
    return _add_mcnemar(estimate_over_folds(each, share or 1 / len(oof.folds), oof.resolution), oof, before, after)


def estimate_picture_difference(oof: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """Estimates the metric's difference on all pictures together, after - before, by drawing them again.

    Chance in training is not in it. Arguments as of `estimate_fold_difference`.
    """
    random = np.random.default_rng(0)
    score_pictures = oof.scorer.score_pictures
    if score_pictures is None:
        return bootstrap_difference(
            lambda classes, values: metrics.score(oof.metric, classes, values, oof.positive),
            *(oof.labels, before, after, random),
            samples=BOOTSTRAP_SAMPLES,
        )
    first, second = (score_pictures(oof.labels, values) for values in (before, after))
    result = bootstrap_difference(lambda _, values: float(values.mean()), oof.labels, first, second, random)
    return _add_mcnemar(result, oof, before, after)


def _add_mcnemar(result: Interval, oof: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """Adds McNemar's p-value, where the metric counts pictures that are right."""
    if not oof.scorer.counts_correct:
        return result
    test = compare_paired(oof.labels, before.argmax(axis=1), after.argmax(axis=1))
    return replace(result, p_value=test.p_value)
