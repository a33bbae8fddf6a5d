"""Estimates confidence intervals of scores and of paired differences: over seeds, folds and pictures (bootstrap).

A difference is always `after - before`. It is within noise when the test that fits it cannot tell it from zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.errors import require
from pipeline.evaluation import metrics
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.terminal import open_bar

CONFIDENCE = 0.95
MIN_RELATIVE_SPREAD = 1e-9
"""A spread below this share of the estimate is rounding, and no spread."""


@dataclass(frozen=True)
class Interval:
    """An estimate and where the true value lies with 95 % confidence.

    Args:
        estimate: the value itself.
        low: the lower end.
        high: the upper end; both are infinite where nothing is known of the spread.
        p_value: of a second test, which has to find a difference, too; None where there is none.
    """

    estimate: float
    low: float
    high: float
    p_value: float | None = None

    def __neg__(self) -> "Interval":
        """Returns the same difference with the other sign."""
        return Interval(-self.estimate, -self.high, -self.low, self.p_value)

    @classmethod
    def around(cls, estimate: float, low: float, high: float) -> "Interval":
        """Returns an infinite interval where the width is zero: values that are all alike carry no spread.

        Zero itself may have no width: nothing was found to differ.
        """
        wide = not estimate or high - low > MIN_RELATIVE_SPREAD * abs(estimate)
        return cls(estimate, low, high) if wide else cls(estimate, -np.inf, np.inf)

    @property
    def is_bounded(self) -> bool:
        """Whether both ends are finite: something is known of the spread."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def holds_zero(self) -> bool:
        """Whether no difference at all is among the values that it allows."""
        return self.low <= 0 <= self.high

    @property
    def within_noise(self) -> bool:
        """Whether it cannot be told from zero, be it by the second test alone."""
        return self.holds_zero or self.overruled

    @property
    def overruled(self) -> bool:
        """Whether the second test finds no difference."""
        return self.p_value is not None and self.p_value > 1 - CONFIDENCE

    @property
    def verdict(self) -> str:
        """See `find_verdict`; above zero is better."""
        return find_verdict(self.estimate, within_noise=self.within_noise)

    @property
    def is_positive(self) -> bool:
        """Whether it is above zero, beyond noise."""
        return self.estimate > 0 and not self.within_noise

    @property
    def is_negative(self) -> bool:
        """Whether it is below zero, beyond noise."""
        return self.estimate < 0 and not self.within_noise

    def record(self) -> dict[str, float | None]:
        """Returns the numbers as plain JSON values."""
        low, high = (self.low, self.high) if self.is_bounded else (None, None)
        return {"estimate": self.estimate, "low": low, "high": high, "p_value": self.p_value}


def find_verdict(gain: float, *, within_noise: bool) -> str:
    """Returns `better`, `worse` or `within noise`: the words of every table and page.

    Args:
        gain: positive where it is better.
        within_noise: by the test that fits.
    """
    return "within noise" if within_noise or not gain else "better" if gain > 0 else "worse"


def build_difference_record(
    difference: Interval, *, higher: bool = True, within_noise: bool | None = None
) -> dict[str, Any]:
    """Builds a difference as plain JSON values, with the verdict.

    Args:
        difference: after - before.
        higher: whether a larger value is a better one.
        within_noise: by another test; `difference.within_noise` where it is None.
    """
    noise = difference.within_noise if within_noise is None else within_noise
    verdict = find_verdict(difference.estimate if higher else -difference.estimate, within_noise=noise)
    return {**difference.record(), "verdict": verdict}


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two sets of predictions for the same pictures.

    Args:
        difference: of the accuracies, after - before.
        gained: pictures that only `after` has right.
        lost: pictures that only `before` has right.
        p_value: how often a difference as large comes up by chance alone, two-sided.
    """

    difference: Interval
    gained: int
    lost: int
    p_value: float

    @property
    def within_noise(self) -> bool:
        """Whether chance gives such a difference more often than one time in twenty."""
        return self.p_value > 1 - CONFIDENCE


def wilson_interval(right: float, total: int) -> Interval:
    """Computes the score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212); good near 0 and 1 too.

    Args:
        right: how many were right, 0 to total; a mean over seeds need not be whole.
        total: of how many pictures, at least 1.
    """
    require(0 <= right <= total and total > 0, "No share.", expected="0 <= right <= total", received=(right, total))
    share, z = right / total, _compute_normal_quantile()
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return Interval(share, float(max(0.0, min(centre - half, share))), float(min(1.0, max(centre + half, share))))


def estimate_over_seeds(values: Sequence[float], resolution: float = 0.0) -> Interval:
    """Estimates the mean of independent repetitions ± t s / sqrt(n) (Student 1908, Biometrika 6, 1-25).

    Args:
        values: one a seed, n >= 1. One alone says nothing about spread: its interval is infinite.
        resolution: the least step that a value can make; see over_folds.
    """
    return _compute_t_interval(values, 1 / len(values), resolution)


def estimate_over_folds(differences: Sequence[float], validation_share: float, resolution: float = 0.0) -> Interval:
    """Estimates the mean of one difference a fold, by the corrected resampled t interval.

    Folds share most of their training pictures, so that plain t is too sure of itself; the variance is multiplied by
    1 / n + validation_share / (1 - validation_share) instead of 1 / n (Nadeau and Bengio 2003, Machine Learning 52,
    239-281). Few folds that all move by one picture seem to have no spread at all: it is taken to be at least the
    metric's resolution.

    Args:
        differences: after - before on each fold, n >= 1.
        validation_share: the share of pictures that a fold holds out, between 0 and 1.
        resolution: the least step that the metric of a fold can make, see metrics.compute_resolution.
    """
    require(
        0 < validation_share < 1,
        "Unusable validation_share-out share.",
        expected="between 0 and 1",
        received=validation_share,
    )
    return _compute_t_interval(
        differences, 1 / len(differences) + validation_share / (1 - validation_share), resolution
    )


def estimate_over_seeds_and_pictures(differences: np.ndarray) -> Interval:
    """Estimates the mean difference of repetitions on the same pictures, over seeds and pictures together.

    The squared standard error is that over seeds plus that over pictures, its degrees of freedom Satterthwaite's (1946,
    Biometrics Bulletin 2, 110-114). The second also holds a part of the first, so the interval is rather too wide.

    Args:
        differences: after - before (seeds, pictures), two of each at least.
    """
    from scipy.stats import t

    parts = [each.var(ddof=1) / len(each) for each in (differences.mean(axis=1), differences.mean(axis=0))]
    spread = sum(part**2 / (count - 1) for part, count in zip(parts, differences.shape, strict=True))
    mean, error = float(differences.mean()), float(np.sqrt(sum(parts)))
    half = error * float(t.ppf((1 + CONFIDENCE) / 2, sum(parts) ** 2 / spread)) if spread > 0 else 0.0
    return Interval.around(mean, mean - half, mean + half)


def compare_paired(truth: np.ndarray, before: np.ndarray, after: np.ndarray) -> PairedComparison:
    """Compares two sets of predicted classes for the same pictures, in the same order.

    The p-value is the exact McNemar test's: gained against gained + lost tosses of a fair coin (McNemar 1947,
    Psychometrika 12, 153-157). The interval of the difference is the adjusted Wald interval for paired shares (Bonett
    and Price 2012, J. Educ. Behav. Stat. 37, 479-488).

    Args:
        truth: classes (n,) int.
        before: predicted classes (n,) int.
        after: predicted classes (n,) int.
    """
    from scipy.stats import binomtest

    require(
        len(truth) == len(before) == len(after) > 0,
        "The predictions are not for the same pictures.",
        expected=f"{len(truth)} and {len(truth)} predictions",
        received=(len(before), len(after)),
    )
    gained = int(np.sum((after == truth) & (before != truth)))
    lost = int(np.sum((before == truth) & (after != truth)))
    total, z = len(truth), _compute_normal_quantile()
    up, down = (gained + 1) / (total + 2), (lost + 1) / (total + 2)
    estimate, half = (gained - lost) / total, z * np.sqrt((up + down - (up - down) ** 2) / (total + 2))
    low, high = max(-1.0, min(up - down - half, estimate)), min(1.0, max(up - down + half, estimate))
    return PairedComparison(
        difference=Interval(estimate, float(low), float(high)),
        gained=gained,
        lost=lost,
        p_value=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def format_difference(
    after: str, before: str, difference: Interval, *, within_noise: bool, higher: bool = True, points: bool = False
) -> str:
    """Says whether a difference is more than noise, with the numbers that it rests on.

    Args:
        after: a name.
        before: a name.
        difference: after - before.
        within_noise: by the test that fits; `difference.within_noise` where there is no other.
        higher: whether a larger value is a better one.
        points: show shares as percentage points.
    """
    scale, form, unit = (100, "+.1f", " points") if points else (1, "+.4f", "")
    value = format(scale * difference.estimate, form)
    numbers = f"{value}{unit} (95 % interval {format_interval(difference, form, scale)})"
    verdict = find_verdict(difference.estimate if higher else -difference.estimate, within_noise=within_noise)
    if verdict == "within noise":
        return f"{after} is within noise of {before}: {numbers}"
    return f"{after} is {verdict} than {before}, beyond noise: {numbers}"


def format_interval(result: Interval, form: str, scale: float = 1) -> str:
    """Formats the ends of an interval, and the second test's p-value where that overrules them.

    Args:
        result: the interval.
        form: of the numbers.
        scale: what they are multiplied by.
    """
    if not result.is_bounded:
        return "unknown: all that was measured is alike"
    ends = f"{format(scale * result.low, form)} to {format(scale * result.high, form)}"
    return ends + _format_overruling(result)


def format_plus_minus(result: Interval, digits: int) -> str:
    """Formats an estimate ± half its interval, and the second test's p-value where that overrules it."""
    half = f"{(result.high - result.low) / 2:.{digits}f}" if result.is_bounded else "unknown"
    estimate = round(result.estimate, digits) + 0.0  # no -0
    return f"{estimate:+.{digits}f} ± {half}{_format_overruling(result)}"


def format_mean(mean: float, spread: float, digits: int = 4) -> str:
    """Formats a mean and its sample deviation."""
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def _format_overruling(result: Interval) -> str:
    return f", but p = {result.p_value:.2g}" if result.overruled and not result.holds_zero else ""


def _compute_normal_quantile() -> float:
    """Computes how many standard deviations hold CONFIDENCE of a normal distribution."""
    from scipy.stats import norm

    return float(norm.ppf((1 + CONFIDENCE) / 2))


def _compute_t_interval(values: Sequence[float], factor: float, resolution: float) -> Interval:
    """Computes mean ± t sqrt(factor) times the sample deviation, which is at least `resolution`."""
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(mean, -np.inf, np.inf)
    deviation = max(float(np.std(values, ddof=1)), resolution)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.sqrt(factor) * deviation)
    return Interval.around(mean, mean - half, mean + half)


def estimate_score(metric: str, truth: np.ndarray, probabilities: np.ndarray, positive: int | None = None) -> Interval:
    """Estimates the score over all pictures at once: by Wilson for the share of right pictures, else by the bootstrap.

    Args:
        metric: its name.
        truth: classes (n,) int.
        probabilities: (n, classes).
        positive: see metrics.score.
    """
    if metrics.find_metric(metric).counts_correct:
        return wilson_interval(int(metrics.find_correct_pictures(truth, probabilities).sum()), len(truth))
    return bootstrap_score(
        lambda labels, values: metrics.score(metric, labels, values, positive),
        truth, probabilities, np.random.default_rng(0),
    )  # fmt: skip


def bootstrap_score(
    score: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    probabilities: np.ndarray,
    random: np.random.Generator,
    *,
    samples: int = 200,
) -> Interval:
    """Bootstraps a metric's percentile interval (Efron and Tibshirani 1993, chapter 13), without training's chance.

    Pictures are drawn with replacement within each class, so that no class goes missing.

    Args:
        score: gives a metric from classes (n,) int and probabilities (n, classes).
        truth: classes (n,) int.
        probabilities: (n, classes).
        random: draws the pictures.
        samples: how many times.
    """
    return _compute_percentiles(lambda rows: score(truth[rows], probabilities[rows]), truth, random, samples)


def bootstrap_difference(
    score: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    random: np.random.Generator,
    *,
    samples: int = 1000,
) -> Interval:
    """Bootstraps the percentile interval of a metric's difference (Efron and Tibshirani 1993, chapter 13).

    The same pictures are drawn for both sides, with replacement, and within each class, so that no class goes missing.

    Args:
        score: gives a metric from classes (n,) int and probabilities (n, classes).
        truth: classes (n,) int.
        before: probabilities (n, classes).
        after: probabilities (n, classes).
        random: draws the pictures.
        samples: how many times.
    """

    def difference(rows: np.ndarray) -> float:
        return score(truth[rows], after[rows]) - score(truth[rows], before[rows])

    return _compute_percentiles(difference, truth, random, samples)


def _compute_percentiles(
    value: Callable[[np.ndarray], float],
    truth: np.ndarray,
    random: np.random.Generator,
    samples: int,
) -> Interval:
    """Computes a value of rows and its percentiles when rows are drawn anew within each class."""
    rows_of = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    estimate = value(np.arange(len(truth)))
    repeats = open_bar(range(samples), desc="bootstrap", unit="sample")
    drawn = [value(np.concatenate([random.choice(rows, len(rows)) for rows in rows_of])) for _ in repeats]
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval.around(estimate, float(min(low, estimate)), float(max(high, estimate)))


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
