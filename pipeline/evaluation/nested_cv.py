"""Nested cross-validation on out-of-fold predictions: what is fitted on some folds is scored on the others.

A procedure is fitted on a set of folds. One that chooses among others, or builds on another's predictions, learns from
predictions that leave out each of its own folds in turn, so that choices are made inside the nest, too (Varma and
Simon 2006, BMC Bioinformatics 7, 91). Fits are cached by their folds: a nest of any depth needs few.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from pipeline.evaluation.metrics import Metric, compute_fold_influences, compute_resolution, find_metric, score_folds

Folds = frozenset[int]


@dataclass(frozen=True)
class MemberPredictions:
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

    def take(self, rows: np.ndarray) -> "MemberPredictions":
        """Returns the pictures of these rows, (n,) bool or int."""
        features, places = (None if values is None else values[rows] for values in (self.features, self.rows))
        return MemberPredictions(self.predictions[:, rows], features, places)


@dataclass(frozen=True, kw_only=True)
class OOFPredictions:
    """Out-of-fold predictions and the truth.

    Args:
        part: the pictures.
        labels: (pictures,) int.
        fold_of: (pictures,) int; which fold each picture is held out in.
        metric: that is reported, see metrics.py.
        positive: the class that is asked for, or None.
        group_of: (pictures,) numbers or names of the groups that pictures were split by, which are not independent of
            each other; None where each picture stands for itself.
    """

    part: MemberPredictions
    labels: np.ndarray
    fold_of: np.ndarray
    metric: str
    positive: int | None = None
    group_of: np.ndarray | None = None

    @classmethod
    def build(
        cls,
        predictions: Sequence[np.ndarray],
        labels: np.ndarray,
        fold_of: np.ndarray,
        metric: str,
        positive: int | None,
        group_of: np.ndarray | None = None,
    ) -> "OOFPredictions":
        """Joins the members' predictions (members, pictures, classes) to the truth, without features."""
        part = MemberPredictions(np.stack(predictions))
        return cls(part=part, labels=labels, fold_of=fold_of, metric=metric, positive=positive, group_of=group_of)

    @property
    def scorer(self) -> Metric:
        """The metric's record."""
        return find_metric(self.metric)

    @property
    def higher(self) -> bool:
        """Whether a larger score is a better one."""
        return self.scorer.higher_is_better

    @cached_property
    def folds(self) -> Folds:
        """All of them."""
        return frozenset(map(int, np.unique(self.fold_of)))

    @cached_property
    def parts(self) -> dict[int, MemberPredictions]:
        """The pictures of each fold."""
        return {fold: self.part.take(np.flatnonzero(self.fold_of == fold)) for fold in self.folds}

    @cached_property
    def resolution(self) -> float:
        """The least step that the metric of a fold can make, the mean over folds."""
        return compute_resolution(self.metric, self.labels, self.fold_of, self.positive)

    def among(self, folds: Folds) -> np.ndarray:
        """Returns whether each picture is held out in one of these folds, (pictures,) bool."""
        return np.isin(self.fold_of, list(folds))

    def take(self, folds: Folds) -> "OOFPredictions":
        """Returns the pictures of these folds only."""
        rows = self.among(folds)
        return replace(
            self, part=self.part.take(rows), labels=self.labels[rows], fold_of=self.fold_of[rows],
            group_of=None if self.group_of is None else self.group_of[rows],
        )  # fmt: skip

    def score(self, probabilities: np.ndarray) -> float:
        """Returns the mean over folds of the metric."""
        return float(np.mean(self.by_fold(probabilities)))

    def by_fold(self, probabilities: np.ndarray) -> list[float]:
        """Returns the metric on each fold, in the order of their numbers."""
        return score_folds(self.metric, self.labels, probabilities, self.fold_of, self.positive, quick=True)

    def by_picture(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns each picture's part in the score, (pictures,) float64; see `metrics.compute_influences`."""
        return compute_fold_influences(self.metric, self.labels, probabilities, self.fold_of, self.positive)

    def gain(self, probabilities: np.ndarray) -> float:
        """Returns the score, its sign turned where lower is better."""
        return self.score(probabilities) * self.scorer.sign


class Predictor(Protocol):
    """What predicts pictures: plain numbers, so that it can be written down."""

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        ...

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        ...


class Procedure:
    """Something that can be fitted on a set of folds.

    Args:
        oof: the predictions of all folds.
        name: as tables show it.
    """

    def __init__(self, oof: OOFPredictions, name: str) -> None:
        self.oof, self.name = oof, name
        self._fitted: dict[Folds, Predictor] = {}

    def fit(self, oof: OOFPredictions, folds: Folds) -> Predictor:
        """Fits on `oof`, the pictures of `folds`; one or more folds."""
        raise NotImplementedError

    def on(self, folds: Folds) -> Predictor:
        """Returns the predictor fitted on these folds, fitted once."""
        if folds not in self._fitted:
            self._fitted[folds] = self.fit(self.oof.take(folds), folds)
        return self._fitted[folds]

    def out_of(self, folds: Folds) -> np.ndarray:
        """Probabilities (pictures of `folds`, classes): each fold's predicted by what was fitted on the others.

        A single fold has no others; it is predicted by what was fitted on it, which only procedures inside a nest of
        three folds come to.
        """
        rows = np.flatnonzero(self.oof.among(folds))
        result = np.empty((len(rows), self.oof.part.predictions.shape[2]))
        for fold in sorted(folds):
            own = self.oof.fold_of[rows] == fold
            rest = folds - {fold} or folds
            result[own] = self.on(rest).predict(self.oof.parts[fold])
        return result


class FunctionProcedure(Procedure):
    """A function that fits, as a procedure."""

    def __init__(self, oof: OOFPredictions, name: str, function: Callable[[OOFPredictions], Predictor]) -> None:
        super().__init__(oof, name)
        self.function = function

    def fit(self, oof: OOFPredictions, folds: Folds) -> Predictor:
        return self.function(oof)


@dataclass(frozen=True)
class SelectedModel:
    """What was chosen among several."""

    name: str
    fitted: Predictor

    def predict(self, part: MemberPredictions) -> np.ndarray:
        return self.fitted.predict(part)

    def record(self) -> dict[str, Any]:
        return {"method": self.name, **self.fitted.record()}


class OneStandardErrorRule(Procedure):
    """The first of several that is not worse than the best one by more than a standard error.

    Out-of-fold scores are paired over folds (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3),
    whose spread is at least the metric's resolution; two folds say nothing of errors, and the best one is taken.
    """

    def __init__(self, oof: OOFPredictions, name: str, among: Sequence[Procedure]) -> None:
        super().__init__(oof, name)
        self.procedures = list(among)

    def fit(self, oof: OOFPredictions, folds: Folds) -> Predictor:
        scores = oof.scorer.sign * np.array([oof.by_fold(procedure.out_of(folds)) for procedure in self.procedures])
        behind = scores[int(np.argmax(scores.mean(axis=1)))] - scores
        error = np.zeros(len(behind))
        if len(folds) > 2:
            error = np.maximum(behind.std(axis=1, ddof=1), oof.resolution) / np.sqrt(len(folds))
        first = self.procedures[int(np.argmax(behind.mean(axis=1) <= error))]
        return SelectedModel(first.name, first.on(folds))


class BetterOfTwo(Procedure):
    """The later one of two where it scores better out of fold, else the earlier one.

    So the choice is made inside the nest: judged as a whole it does not profit from having been tried on what it is
    judged on.
    """

    def __init__(self, earlier: Procedure, later: Procedure) -> None:
        super().__init__(earlier.oof, later.name)
        self.earlier, self.later = earlier, later

    def is_later(self, folds: Folds) -> bool:
        """Returns whether the later one is better on these folds."""
        oof = self.oof.take(folds)
        return oof.gain(self.later.out_of(folds)) > oof.gain(self.earlier.out_of(folds))

    def fit(self, oof: OOFPredictions, folds: Folds) -> Predictor:
        return (self.later if self.is_later(folds) else self.earlier).on(folds)


@dataclass(frozen=True)
class EstimatorChain:
    """A step on what came before it."""

    first: Predictor
    step: Predictor

    def predict(self, part: MemberPredictions) -> np.ndarray:
        return self.step.predict(replace(part, predictions=self.first.predict(part)[None]))

    def record(self) -> dict[str, Any]:
        return {"first": self.first.record(), "step": self.step.record()}


class ChainedProcedure(Procedure):
    """A step fitted on another procedure's out-of-fold predictions, and applied to its predictions."""

    def __init__(self, first: Procedure, name: str, function: Callable[[OOFPredictions], Predictor]) -> None:
        super().__init__(first.oof, name)
        self.first, self.function = first, function

    def fit(self, oof: OOFPredictions, folds: Folds) -> Predictor:
        corrected = replace(oof.part, predictions=self.first.out_of(folds)[None])
        return EstimatorChain(self.first.on(folds), self.function(replace(oof, part=corrected)))
