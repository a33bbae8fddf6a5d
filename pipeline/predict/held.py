"""Out-of-fold predictions joined to the truth: what combinations, calibration and their nests work on."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline.predict import metrics

Folds = frozenset[int]


@dataclass(frozen=True)
class Part:
    """Some pictures, and what is known of them without their labels.

    Args:
        predictions: (members, pictures, classes) float, rows sum to 1.
        features: (pictures, width) float32, the mean over views; None where no step needs any.
        rows: (pictures,) int, their places among all training and, after them, test pictures; None where no step asks.
    """

    predictions: np.ndarray
    features: np.ndarray | None = None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return self.predictions.shape[1]

    def take(self, rows: np.ndarray) -> "Part":
        """The pictures of these rows, (n,) bool or int."""
        features, places = (None if values is None else values[rows] for values in (self.features, self.rows))
        return Part(self.predictions[:, rows], features, places)


@dataclass(frozen=True, kw_only=True)
class Held:
    """Out-of-fold predictions and the truth.

    Args:
        part: the pictures.
        labels: (pictures,) int.
        fold_of: (pictures,) int; which fold each picture is held out in.
        metric: that is reported, see metrics.py.
        positive: the class that is asked for, or None.
    """

    part: Part
    labels: np.ndarray
    fold_of: np.ndarray
    metric: str
    positive: int | None = None

    @property
    def higher(self) -> bool:
        """Whether a larger score is a better one."""
        return metrics.higher_is_better(self.metric)

    @cached_property
    def folds(self) -> Folds:
        """All of them."""
        return frozenset(map(int, np.unique(self.fold_of)))

    @cached_property
    def parts(self) -> dict[int, Part]:
        """The pictures of each fold."""
        return {fold: self.part.take(np.flatnonzero(self.fold_of == fold)) for fold in self.folds}

    @cached_property
    def resolution(self) -> float:
        """The least step that the metric of a fold can make, the mean over folds."""
        return metrics.resolution(self.metric, self.labels, self.fold_of, self.positive)

    def among(self, folds: Folds) -> np.ndarray:
        """Whether each picture is held out in one of these folds, (pictures,) bool."""
        return np.isin(self.fold_of, list(folds))

    def take(self, folds: Folds) -> "Held":
        """The pictures of these folds only."""
        rows = self.among(folds)
        return replace(self, part=self.part.take(rows), labels=self.labels[rows], fold_of=self.fold_of[rows])

    def score(self, probabilities: np.ndarray) -> float:
        """The mean over folds of the metric."""
        return float(np.mean(self.by_fold(probabilities)))

    def by_fold(self, probabilities: np.ndarray) -> list[float]:
        """The metric on each fold, in the order of their numbers."""
        each = [self.fold_of == fold for fold in sorted(self.folds)]
        if self.metric == "auc":
            found = [(self.labels[rows], probabilities[rows]) for rows in each]
            return [metrics.score(self.metric, labels, values, self.positive) for labels, values in found]
        values = metrics.by_picture(self.metric, self.labels, probabilities)
        return [float(values[rows].mean()) for rows in each]

    def gain(self, probabilities: np.ndarray) -> float:
        """The score, its sign turned where lower is better."""
        return self.score(probabilities) * (1 if self.higher else -1)
