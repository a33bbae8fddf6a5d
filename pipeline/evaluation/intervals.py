"""Estimates confidence intervals of scores and of paired differences: over pictures, seeds and folds.

A difference is always `after - before`. Where two models predict the same pictures, the pictures decide
(`estimate_difference`): McNemar's exact test where a picture is right or wrong, else an interval over each picture's
part in the metric, for an AUC DeLong's. An interval over folds stands beside it, it does not decide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.errors import require
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
        p_value: of the exact test that decides instead of the interval; None where there is none.
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
        """Whether it cannot be told from zero."""
        return self.holds_zero if self.p_value is None else self.p_value > 1 - CONFIDENCE

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


def build_difference_record(difference: Interval, *, higher: bool = True) -> dict[str, Any]:
    """Builds a difference as plain JSON values, with the verdict.

    Args:
        difference: after - before.
        higher: whether a larger value is a better one.
    """
    return {**difference.record(), "verdict": (difference if higher else -difference).verdict}


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two sets of predictions for the same pictures.

    Args:
        difference: of the accuracies, after - before, with McNemar's p-value.
        gained: pictures that only `after` has right.
        lost: pictures that only `before` has right.
    """

    difference: Interval
    gained: int
    lost: int


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


def compare_paired(
    truth: np.ndarray, before: np.ndarray, after: np.ndarray, group_of: np.ndarray | None = None
) -> PairedComparison:
    """Compares two sets of predicted classes for the same pictures, in the same order, by `estimate_paired_difference`.

    Args:
        truth: classes (n,) int.
        before: predicted classes (n,) int.
        after: predicted classes (n,) int.
        group_of: (n,) the group of each; None where each picture stands for itself.
    """
    require(
        len(truth) == len(before) == len(after) > 0,
        "The predictions are not for the same pictures.",
        expected=f"{len(truth)} and {len(truth)} predictions",
        received=(len(before), len(after)),
    )
    moved = (after == truth).astype(float) - (before == truth)
    difference = estimate_paired_difference(moved, group_of, counts_correct=True)
    return PairedComparison(difference=difference, gained=int(np.sum(moved > 0)), lost=int(np.sum(moved < 0)))


def estimate_paired_difference(
    values: np.ndarray, group_of: np.ndarray | None = None, *, counts_correct: bool
) -> Interval:
    """Estimates the mean of differences of the same pictures. It decides what is beyond noise.

    Where each picture is right or wrong, McNemar's exact test decides: gained against gained + lost tosses of a fair
    coin (McNemar 1947, Psychometrika 12, 153-157), and the interval is the adjusted Wald interval for paired shares
    (Bonett and Price 2012, J. Educ. Behav. Stat. 37, 479-488). A group of several pictures is one toss.

    Args:
        values: after - before (n,) float of each picture's part in the metric, see `metrics.compute_influences`.
        group_of: (n,) the group of each; None where each picture stands for itself.
        counts_correct: whether each picture is right or wrong.
    """
    from scipy.stats import binomtest

    interval = estimate_over_pictures(values, group_of)
    if not counts_correct:
        return interval
    moved = sum_by_group(values, group_of)
    gained, lost = int(np.sum(moved > 0)), int(np.sum(moved < 0))
    if len(moved) == len(values):
        interval = _compute_paired_wald(gained, lost, len(values), interval.estimate)
    return replace(interval, p_value=float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0)


def _compute_paired_wald(gained: int, lost: int, total: int, estimate: float) -> Interval:
    """Computes Bonett and Price's interval, at most from -1 to 1, about an estimate, which it holds."""
    z, up, down = _compute_normal_quantile(), (gained + 1) / (total + 2), (lost + 1) / (total + 2)
    half = z * float(np.sqrt((up + down - (up - down) ** 2) / (total + 2)))
    middle = up - down + estimate - (gained - lost) / total  # folds of unequal size count alike
    return Interval(estimate, max(-1.0, min(middle - half, estimate)), min(1.0, max(middle + half, estimate)))


def sum_by_group(values: np.ndarray, group_of: np.ndarray | None) -> np.ndarray:
    """Sums values (n,) within each group, (groups,) float64; each picture is its own where `group_of` is None."""
    if group_of is None:
        return values
    return np.bincount(np.unique(group_of, return_inverse=True)[1], values)


def format_difference(
    after: str, before: str, difference: Interval, *, higher: bool = True, points: bool = False
) -> str:
    """Says whether a difference is more than noise, with the numbers that it rests on.

    Args:
        after: a name.
        before: a name.
        difference: after - before.
        higher: whether a larger value is a better one.
        points: show shares as percentage points.
    """
    numbers, verdict = format_estimate(difference, points=points), (difference if higher else -difference).verdict
    if verdict == "within noise":
        return f"{after} is within noise of {before}: {numbers}"
    return f"{after} is {verdict} than {before}, beyond noise: {numbers}"


def format_estimate(result: Interval, *, points: bool = False) -> str:
    """Formats an estimate and its interval, shares as percentage points where `points` is set."""
    scale, form, unit = (100, "+.1f", " points") if points else (1, "+.4f", "")
    return f"{format(scale * result.estimate, form)}{unit} (95 % interval {format_interval(result, form, scale)})"


def format_interval(result: Interval, form: str, scale: float = 1) -> str:
    """Formats the ends of an interval, and the p-value where the exact test decides otherwise.

    Args:
        result: the interval.
        form: of the numbers.
        scale: what they are multiplied by.
    """
    if not result.is_bounded:
        return "unknown: all that was measured is alike"
    ends = f"{format(scale * result.low, form)} to {format(scale * result.high, form)}"
    return ends + _format_p_value(result)


def format_plus_minus(result: Interval, digits: int) -> str:
    """Formats an estimate ± half its interval, and the p-value where the exact test decides otherwise."""
    half = f"{(result.high - result.low) / 2:.{digits}f}" if result.is_bounded else "unknown"
    estimate = round(result.estimate, digits) + 0.0  # no -0
    return f"{estimate:+.{digits}f} ± {half}{_format_p_value(result)}"


def format_mean(mean: float, spread: float, digits: int = 4) -> str:
    """Formats a mean and its sample deviation."""
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def _format_p_value(result: Interval) -> str:
    return f", but p = {result.p_value:.2g}" if result.within_noise != result.holds_zero else ""


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


def estimate_score(oof: OOFPredictions, probabilities: np.ndarray) -> Interval:
    """Estimates the score, the mean over folds: Wilson's interval for a share of right pictures, else over pictures.

    Args:
        oof: the truth, the folds, the groups and the metric.
        probabilities: (pictures, classes), in the order of `oof`.
    """
    values = oof.by_picture(probabilities)
    if oof.scorer.counts_correct:
        return wilson_interval(float(np.clip(values.mean(), 0, 1)) * len(values), len(values))
    return estimate_over_pictures(values, oof.group_of)


def estimate_over_pictures(values: np.ndarray, group_of: np.ndarray | None = None) -> Interval:
    """Estimates the mean of one number a picture, by Student's interval.

    Pictures of one group are not independent: their deviations are summed first (Liang and Zeger 1986, Biometrika 73,
    13-22). Where each picture is a group of its own, this is the plain standard error.

    Args:
        values: (n,) float, n >= 1; see `metrics.compute_influences`.
        group_of: (n,) the group of each; None where each picture stands for itself.
    """
    from scipy.stats import t

    mean = float(values.mean())
    deviations = sum_by_group(values - mean, group_of)
    count = len(deviations)
    if count == 1:
        return Interval(mean, -np.inf, np.inf)
    error = float(np.sqrt(count / (count - 1) * np.sum(deviations**2))) / len(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return Interval.around(mean, mean - half, mean + half)


def bootstrap_score(
    score: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    probabilities: np.ndarray,
    random: np.random.Generator,
    *,
    samples: int,
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
    rows_of = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    estimate, drawn = score(truth, probabilities), []
    for _ in open_bar(range(samples), desc="bootstrap", unit="sample"):
        rows = np.concatenate([random.choice(rows, len(rows)) for rows in rows_of])
        drawn.append(score(truth[rows], probabilities[rows]))
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval.around(estimate, float(min(low, estimate)), float(max(high, estimate)))


def estimate_gain(oof: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """Estimates what `after` gains over `before`, above 0 where it is better. See `estimate_difference`."""
    result = estimate_difference(oof, before, after)
    return result if oof.higher else -result


def estimate_difference(oof: OOFPredictions, before: np.ndarray, after: np.ndarray) -> Interval:
    """Estimates the metric's difference, after - before, by `estimate_paired_difference`.

    The chance in training is not in it: another seed may say something else.

    Args:
        oof: the truth, the folds, the groups and the metric.
        before: probabilities (pictures, classes), in the order of `oof`.
        after: the same.
    """
    values = oof.by_picture(after) - oof.by_picture(before)
    return estimate_paired_difference(values, oof.group_of, counts_correct=oof.scorer.counts_correct)


def estimate_fold_difference(
    oof: OOFPredictions, before: np.ndarray, after: np.ndarray, *, share: float | None = None
) -> Interval:
    """Estimates the same paired over folds, which also has some of the chance in training in it.

    Args:
        oof: the truth, the folds and the metric; two folds or more.
        before: probabilities (pictures, classes), in the order of `oof`.
        after: the same.
        share: of all pictures that a fold holds out; None where `oof` has all folds.
    """
    each = list(np.subtract(oof.by_fold(after), oof.by_fold(before)))
    return estimate_over_folds(each, share or 1 / len(oof.folds), oof.resolution)
