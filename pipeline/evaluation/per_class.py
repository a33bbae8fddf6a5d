"""Scores predictions class by class, and compares two sets of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.intervals import Interval, compare_paired, wilson_interval

FALSE_DISCOVERY_RATE = 0.05


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """One class.

    Args:
        name: of the class.
        pictures: how many there are.
        before: accuracy of A.
        after: accuracy of B.
        gained: pictures that only B has right.
        lost: pictures that only A has right.
        p_value: McNemar's exact one.
        beyond_noise: whether that holds with all classes looked at.
    """

    name: str
    pictures: int
    before: float
    after: float
    gained: int
    lost: int
    p_value: float
    beyond_noise: bool


def compare_classes(
    classes: Sequence[str], truth: np.ndarray, before: np.ndarray, after: np.ndarray
) -> list[ClassChange]:
    """Compares each class, with a correction for the number of classes.

    A class is beyond noise by Benjamini and Hochberg's rule (1995, J. R. Stat. Soc. B 57, 289-300): of all that are
    called so, about one in twenty is wrongly.

    Args:
        classes: names.
        truth: classes (n,) int.
        before: predicted classes (n,) int.
        after: predicted classes (n,) int.
    """
    from scipy.stats import false_discovery_control

    present = np.unique(truth)
    rows_of = [truth == number for number in present]
    pairs = [compare_paired(truth[rows], before[rows], after[rows]) for rows in rows_of]
    p_values = [pair.difference.p_value or 0.0 for pair in pairs]
    adjusted = false_discovery_control(p_values)
    return [
        ClassChange(
            name=classes[number], pictures=int(rows.sum()), before=float((before[rows] == number).mean()),
            after=float((after[rows] == number).mean()), gained=pair.gained, lost=pair.lost,
            p_value=p_value, beyond_noise=bool(p < FALSE_DISCOVERY_RATE),
        )
        for number, rows, pair, p_value, p in zip(present, rows_of, pairs, p_values, adjusted, strict=True)
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class of one set of predictions.

    Args:
        name: of the class.
        pictures: how many there are.
        precision: the share of the predictions of this class that are right; None where there is none.
        recall: the share of its pictures that are right; None where there is none.
        f1: the harmonic mean of both; None where there is neither.
    """

    name: str
    pictures: int
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None


def score_classes(classes: Sequence[str], confusion: np.ndarray) -> list[ClassScore]:
    """Scores each class, with 95 % intervals.

    Precision and recall have Wilson's interval. F1 is 2 J / (1 + J), where J = TP / (TP + FP + FN) is a share (Jaccard
    1912, New Phytol. 11, 37-50), and grows with it: its interval has the ends of J's.

    Args:
        classes: names.
        confusion: see confusion.compute_confusion.
    """

    def share(right: int, total: int) -> Interval | None:
        return wilson_interval(right, total) if total else None

    scores = []
    for number, name in enumerate(classes):
        right, actual, predicted = (
            int(part) for part in (confusion[number, number], confusion[number].sum(), confusion[:, number].sum())
        )
        jaccard = share(right, actual + predicted - right)
        f1 = jaccard and Interval(*(2 * one / (1 + one) for one in (jaccard.estimate, jaccard.low, jaccard.high)))
        scores.append(
            ClassScore(
                name=name, pictures=actual, precision=share(right, predicted), recall=share(right, actual), f1=f1
            )
        )
    return scores
