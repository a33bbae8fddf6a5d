"""Pseudo-labels: heads trained a second time, with confident test predictions (Lee 2013, ICML workshop).

Folds stay clean: fold k's head gets pseudo-labels from fold k's own head, and a threshold from one that saw even fewer
pictures; neither has seen the pictures that fold k validates. The mean of all folds' heads has, and where test pictures
resemble those it would leak their labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config import Recipe
from pipeline.errors import require
from pipeline.models.heads import Head
from pipeline.training.heads import logistic_regression

L2_FACTORS = (100.0, 10.0, 1.0)
"""A head comes down to its l2 in these steps, each from the last one's weights."""


@dataclass(frozen=True, kw_only=True)
class PseudoLabelRule:
    """Which test pictures get pseudo-labels.

    Args:
        precision: the share of validation pictures that must be right above the threshold.
        least: the lowest threshold.
        cap: at most this share of the number of training pictures, in all and of each class.
        weight: of such a picture relative to a labelled one.
    """

    precision: float = 0.97
    least: float = 0.8
    cap: float = 0.5
    weight: float = 0.5

    def __post_init__(self) -> None:
        for name in ("precision", "least", "cap", "weight"):
            value = getattr(self, name)
            require(0 < value <= 1, f"Unusable {name} of pseudo-labels.", expected="above 0, up to 1", received=value)


@dataclass(frozen=True, kw_only=True)
class PseudoLabelData:
    """The data that heads are trained on.

    Args:
        train: features (pictures, width) float32 by view.
        test: features (test pictures, width) float32 by view.
        labels: (pictures,) int.
        fold_of: (pictures,) int.
        classes: how many there are.
        l2: of the heads.
        scales: of the logits, by fold, see `logistic_regression`; 1 where there is none.
    """

    train: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]
    labels: np.ndarray
    fold_of: np.ndarray
    classes: int
    l2: float
    scales: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PseudoLabelFold:
    """One fold's heads and pseudo-labels.

    Args:
        fold: its number.
        before: the head trained on labelled pictures alone.
        after: the head trained on test pictures, too; the same where none was confident enough.
        rows: numbers of those test pictures.
        guesses: their pseudo-labels (rows,) int.
        threshold: the least probability that is precise enough; None where none is.
        precision: of the validation pictures above it.
    """

    fold: int
    before: Head
    after: Head
    rows: np.ndarray
    guesses: np.ndarray
    threshold: float | None
    precision: float


def find_threshold(probabilities: np.ndarray, labels: np.ndarray, rule: PseudoLabelRule) -> tuple[float | None, float]:
    """Finds the lowest probability above which enough of the likeliest classes are right.

    Args:
        probabilities: (n, classes), of pictures that were not trained on.
        labels: (n,) int.
        rule: its precision and its lowest threshold.

    Returns:
        The threshold, None where there is none, and the share that is right at or above it.
    """
    sure = probabilities.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    shares = np.cumsum(right) / np.arange(1, len(right) + 1)
    last = np.append(sure[order][1:] < sure[order][:-1], True)
    enough = np.flatnonzero((shares >= rule.precision) & (sure[order] >= rule.least) & last)
    return (float(sure[order][enough[-1]]), float(shares[enough[-1]])) if len(enough) else (None, 0.0)


def select_confident(probabilities: np.ndarray, threshold: float, most: np.ndarray, total: int) -> np.ndarray:
    """Selects the test pictures with pseudo-labels, the most confident ones of each class.

    Args:
        probabilities: (test pictures, classes).
        threshold: the least probability.
        most: how many of each class at most, (classes,) int.
        total: how many at most.

    Returns:
        Their numbers (n,) int, in rising order.
    """
    sure, guess = probabilities.max(axis=1), probabilities.argmax(axis=1)
    taken = np.zeros(len(most), int)
    chosen: list[int] = []
    for row in np.argsort(-sure, kind="stable"):
        if sure[row] < threshold or len(chosen) == total:
            break
        if taken[guess[row]] < most[guess[row]]:
            taken[guess[row]] += 1
            chosen.append(int(row))
    return np.sort(np.array(chosen, int))


def predict_mean(
    head: Head, features: Mapping[str, np.ndarray], views: Sequence[str], rows: Any = slice(None)
) -> np.ndarray:
    """Averages a head's probabilities (pictures, classes) float32 over views."""
    return np.mean([head.probabilities(features[view][rows]) for view in views], axis=0)


class PseudoLabelTrainer:
    """Trains the heads of all folds.

    Args:
        recipe: its views.
        data: features and labels.
        rule: which test pictures are learned from.
    """

    def __init__(self, recipe: Recipe, data: PseudoLabelData, rule: PseudoLabelRule) -> None:
        self.recipe, self.data, self.rule = recipe, data, rule
        first = data.fold_of != 0
        self.axes = logistic_regression.PCAWhitening(
            np.concatenate([data.train[view][first] for view in recipe.training_views])
        )

    def teach(self, fold: int, folds: Sequence[int]) -> PseudoLabelFold:
        """Trains one fold's head, before and after. Labels of its validation pictures are not used."""
        train = self.data.fold_of != fold
        before = self.head(fold, train)
        threshold, precision = self.find_threshold(fold, folds)
        none = np.zeros(0, int)
        if threshold is None:
            return PseudoLabelFold(
                fold=fold, before=before, after=before, rows=none, guesses=none, threshold=None, precision=0
            )
        values = predict_mean(before, self.data.test, self.recipe.views)
        counts = np.bincount(self.data.labels[train], minlength=self.data.classes)
        most, total = np.ceil(self.rule.cap * counts).astype(int), int(self.rule.cap * train.sum())
        rows = select_confident(values, threshold, most, total)
        guesses = values[rows].argmax(axis=1)
        return PseudoLabelFold(
            fold=fold, before=before, after=self.head(fold, train, rows, guesses) if len(rows) else before, rows=rows,
            guesses=guesses, threshold=threshold, precision=precision,
        )  # fmt: skip

    def find_threshold(self, fold: int, folds: Sequence[int]) -> tuple[float | None, float]:
        """Finds a fold's threshold on the next fold's pictures, with a head that saw neither fold."""
        judge = folds[(list(folds).index(fold) + 1) % len(folds)]
        held = self.data.fold_of == judge
        head = self.head(fold, (self.data.fold_of != fold) & ~held)
        values = predict_mean(head, self.data.train, self.recipe.views, held)
        return find_threshold(values, self.data.labels[held], self.rule)

    def head(
        self, fold: int, train: np.ndarray, rows: np.ndarray | None = None, guesses: np.ndarray | None = None
    ) -> Head:
        """Trains a head on labelled pictures (mask) and pseudo-labelled ones (numbers), at the fold's scale."""
        views, data = self.recipe.training_views, self.data
        labels, counts = data.labels[train], np.ones(int(train.sum()), np.float32)
        parts = [data.train[view][train] for view in views]
        if rows is not None and guesses is not None:
            parts = [np.concatenate([one, data.test[view][rows]]) for one, view in zip(parts, views, strict=True)]
            labels = np.concatenate([labels, guesses])
            counts = np.append(counts, np.full(len(rows), self.rule.weight, np.float32))
        counts = np.tile(counts, len(views))
        objective = logistic_regression.SoftmaxRegression(
            self.axes.rows(np.concatenate(parts)), np.tile(labels, len(views)), data.classes, self.axes.variance,
            counts / counts.sum(),
        )  # fmt: skip
        for factor in L2_FACTORS:
            objective.fit(factor * data.l2)
        return self.axes.head(*objective.full()).scaled(data.scales.get(fold, 1.0))
