"""Pseudo-labels: heads trained a second time, with the test pictures that they are sure of (Lee 2013, ICML workshop).

Folds stay clean: what fold k's head learns from test pictures was told by fold k's own head, and how sure is sure
enough by one that saw even fewer; neither has seen the pictures that fold k holds out. The mean of all folds' heads
has, and where test pictures resemble those it would hand their labels over.
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
"""A head comes down to its strength in these steps, each from the last one's weights."""


@dataclass(frozen=True, kw_only=True)
class PseudoLabelRule:
    """Which test pictures are learned from.

    Args:
        precision: the share of pictures that has to be right at the confidence asked for, on held-out ones.
        least: the least probability that is taken for sure, however precise.
        cap: at most this share of the number of training pictures, in all and of each class.
        weight: what such a picture counts against a labelled one.
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
    """What heads are trained on.

    Args:
        train: features (pictures, width) float32 by view.
        test: features (test pictures, width) float32 by view.
        labels: (pictures,) int.
        fold_of: (pictures,) int.
        classes: how many there are.
        strength: of the L2.
        scales: what the logits of each fold's heads are multiplied by, by fold, see `linear`; 1 where there is none.
    """

    train: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]
    labels: np.ndarray
    fold_of: np.ndarray
    classes: int
    strength: float
    scales: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PseudoLabelFold:
    """What one fold's head was taught.

    Args:
        fold: its number.
        before: the head trained on labelled pictures alone.
        after: the head trained on test pictures, too; the same where none was sure enough.
        rows: numbers of those test pictures.
        guesses: their pseudo-labels (rows,) int.
        threshold: the least probability that is precise enough; None where none is.
        precision: of the held-out pictures above it.
    """

    fold: int
    before: Head
    after: Head
    rows: np.ndarray
    guesses: np.ndarray
    threshold: float | None
    precision: float


def find_threshold(probabilities: np.ndarray, labels: np.ndarray, rule: PseudoLabelRule) -> tuple[float | None, float]:
    """The least probability above which enough of the likeliest classes are right.

    Args:
        probabilities: (n, classes), of pictures that were not trained on.
        labels: (n,) int.
        rule: how many have to be right, and how sure a picture must be at least.

    Returns:
        The probability, None where there is none, and the share that is right at it or above.
    """
    sure = probabilities.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    shares = np.cumsum(right) / np.arange(1, len(right) + 1)
    last = np.append(sure[order][1:] < sure[order][:-1], True)
    enough = np.flatnonzero((shares >= rule.precision) & (sure[order] >= rule.least) & last)
    return (float(sure[order][enough[-1]]), float(shares[enough[-1]])) if len(enough) else (None, 0.0)


def select_confident(probabilities: np.ndarray, threshold: float, most: np.ndarray, total: int) -> np.ndarray:
    """The test pictures to learn from, the surest first of each class.

    Args:
        probabilities: (test pictures, classes).
        threshold: the least probability.
        most: how many of each class at most, (classes,) int.
        total: how many in all at most.

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
    """Probabilities (pictures, classes) float32, the mean over views."""
    return np.mean([head.probabilities(features[view][rows]) for view in views], axis=0)


class PseudoLabelTrainer:
    """Trains the heads of all folds.

    Args:
        recipe: its views.
        material: features and labels.
        rule: which test pictures are learned from.
    """

    def __init__(self, recipe: Recipe, material: PseudoLabelData, rule: PseudoLabelRule) -> None:
        self.recipe, self.material, self.rule = recipe, material, rule
        first = material.fold_of != 0
        self.axes = logistic_regression.PCAWhitening(
            np.concatenate([material.train[view][first] for view in recipe.training_views])
        )

    def teach(self, fold: int, folds: Sequence[int]) -> PseudoLabelFold:
        """One fold's head, before and after. The labels of the pictures that it holds out are not looked at."""
        known = self.material.fold_of != fold
        before = self.head(fold, known)
        threshold, precision = self.sure_enough(fold, folds)
        nobody = np.zeros(0, int)
        if threshold is None:
            return PseudoLabelFold(
                fold=fold, before=before, after=before, rows=nobody, guesses=nobody, threshold=None, precision=0
            )
        values = predict_mean(before, self.material.test, self.recipe.views)
        counts = np.bincount(self.material.labels[known], minlength=self.material.classes)
        most, total = np.ceil(self.rule.cap * counts).astype(int), int(self.rule.cap * known.sum())
        rows = select_confident(values, threshold, most, total)
        guesses = values[rows].argmax(axis=1)
        return PseudoLabelFold(
            fold=fold, before=before, after=self.head(fold, known, rows, guesses) if len(rows) else before, rows=rows,
            guesses=guesses, threshold=threshold, precision=precision,
        )  # fmt: skip

    def sure_enough(self, fold: int, folds: Sequence[int]) -> tuple[float | None, float]:
        """The threshold for a fold, from a head that saw neither it nor the next one, on whose pictures it is set."""
        judge = folds[(list(folds).index(fold) + 1) % len(folds)]
        held = self.material.fold_of == judge
        head = self.head(fold, (self.material.fold_of != fold) & ~held)
        values = predict_mean(head, self.material.train, self.recipe.views, held)
        return find_threshold(values, self.material.labels[held], self.rule)

    def head(
        self, fold: int, known: np.ndarray, rows: np.ndarray | None = None, guesses: np.ndarray | None = None
    ) -> Head:
        """A head on labelled pictures (mask), and on test pictures (numbers) with their pseudo-labels; with the scale
        of the fold's own.
        """
        views, material = self.recipe.training_views, self.material
        labels, counts = material.labels[known], np.ones(int(known.sum()), np.float32)
        parts = [material.train[view][known] for view in views]
        if rows is not None and guesses is not None:
            parts = [np.concatenate([one, material.test[view][rows]]) for one, view in zip(parts, views, strict=True)]
            labels = np.concatenate([labels, guesses])
            counts = np.append(counts, np.full(len(rows), self.rule.weight, np.float32))
        counts = np.tile(counts, len(views))
        objective = logistic_regression.SoftmaxRegression(
            self.axes.rows(np.concatenate(parts)), np.tile(labels, len(views)), material.classes, self.axes.variance,
            counts / counts.sum(),
        )  # fmt: skip
        for factor in L2_FACTORS:
            objective.fit(factor * material.strength)
        return self.axes.head(*objective.full()).scaled(material.scales.get(fold, 1.0))
