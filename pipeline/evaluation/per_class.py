"""Compares two sets of predictions class by class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.intervals import compare_paired

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
    adjusted = false_discovery_control([pair.p_value for pair in pairs])
    return [
        ClassChange(
            name=classes[number], pictures=int(rows.sum()), before=float((before[rows] == number).mean()),
            after=float((after[rows] == number).mean()), gained=pair.gained, lost=pair.lost, p_value=pair.p_value,
            beyond_noise=bool(p < FALSE_DISCOVERY_RATE),
        )
        for number, rows, pair, p in zip(present, rows_of, pairs, adjusted, strict=True)
    ]  # fmt: skip
