"""Honest gains: what is fitted on out-of-fold predictions is judged on folds that it has never seen.

A procedure is fitted on a set of folds. One that chooses among others, or builds on what another predicts, learns that
from predictions that leave out each of its own folds in turn, so that choices are made inside the nest, too (Varma and
Simon 2006, BMC Bioinformatics 7, 91). Fits are remembered by their folds: a nest of any depth needs few.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from pipeline.predict.held import Folds, Held, Part


class Fitted(Protocol):
    """What predicts pictures: plain numbers, so that it can be written down."""

    def predict(self, part: Part) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        ...

    def told(self) -> dict[str, Any]:
        """Its numbers as plain JSON values."""
        ...


class Procedure:
    """Something that can be fitted on a set of folds.

    Args:
        held: the predictions of all folds.
        name: as tables show it.
    """

    def __init__(self, held: Held, name: str) -> None:
        self.held, self.name = held, name
        self._fitted: dict[Folds, Fitted] = {}

    def fit(self, held: Held, folds: Folds) -> Fitted:
        """Fits on `held`, the pictures of `folds`; one or more folds."""
        raise NotImplementedError

    def on(self, folds: Folds) -> Fitted:
        """Fitted on these folds, once."""
        if folds not in self._fitted:
            self._fitted[folds] = self.fit(self.held.take(folds), folds)
        return self._fitted[folds]

    def out_of(self, folds: Folds) -> np.ndarray:
        """Probabilities (pictures of `folds`, classes): each fold's predicted by what was fitted on the others.

        A single fold has no others; it is predicted by what was fitted on it, which only procedures inside a nest of
        three folds come to.
        """
        rows = np.flatnonzero(self.held.among(folds))
        found = np.empty((len(rows), self.held.part.predictions.shape[2]))
        for fold in sorted(folds):
            own = self.held.fold_of[rows] == fold
            rest = folds - {fold} or folds
            found[own] = self.on(rest).predict(self.held.parts[fold])
        return found


class Plain(Procedure):
    """A function that fits, as a procedure."""

    def __init__(self, held: Held, name: str, function: Callable[[Held], Fitted]) -> None:
        super().__init__(held, name)
        self.function = function

    def fit(self, held: Held, folds: Folds) -> Fitted:
        return self.function(held)


@dataclass(frozen=True)
class Pick:
    """What was chosen among several."""

    name: str
    fitted: Fitted

    def predict(self, part: Part) -> np.ndarray:
        return self.fitted.predict(part)

    def told(self) -> dict[str, Any]:
        return {"method": self.name, **self.fitted.told()}


class Chosen(Procedure):
    """The first of several that is not worse than the best one by more than a standard error.

    Out-of-fold scores are paired over folds (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3),
    whose spread is at least the metric's resolution; two folds say nothing of errors, and the best one is taken.
    """

    def __init__(self, held: Held, name: str, among: Sequence[Procedure]) -> None:
        super().__init__(held, name)
        self.procedures = list(among)

    def fit(self, held: Held, folds: Folds) -> Fitted:
        sign = 1 if held.higher else -1
        scores = sign * np.array([held.by_fold(procedure.out_of(folds)) for procedure in self.procedures])
        behind = scores[int(np.argmax(scores.mean(axis=1)))] - scores
        error = np.zeros(len(behind))
        if len(folds) > 2:
            error = np.maximum(behind.std(axis=1, ddof=1), held.resolution) / np.sqrt(len(folds))
        first = self.procedures[int(np.argmax(behind.mean(axis=1) <= error))]
        return Pick(first.name, first.on(folds))


class Better(Procedure):
    """The later one of two where it scores better out of fold, else the earlier one.

    So the choice is made inside the nest: judged as a whole it does not profit from having been tried on what it is
    judged on.
    """

    def __init__(self, earlier: Procedure, later: Procedure) -> None:
        super().__init__(earlier.held, later.name)
        self.earlier, self.later = earlier, later

    def is_later(self, folds: Folds) -> bool:
        """Whether the later one is better on these folds."""
        held = self.held.take(folds)
        return held.gain(self.later.out_of(folds)) > held.gain(self.earlier.out_of(folds))

    def fit(self, held: Held, folds: Folds) -> Fitted:
        return (self.later if self.is_later(folds) else self.earlier).on(folds)


@dataclass(frozen=True)
class Chain:
    """A step on what came before it."""

    first: Fitted
    step: Fitted

    def predict(self, part: Part) -> np.ndarray:
        return self.step.predict(replace(part, predictions=self.first.predict(part)[None]))

    def told(self) -> dict[str, Any]:
        return {"first": self.first.told(), "step": self.step.told()}


class After(Procedure):
    """A step fitted on another procedure's out-of-fold predictions, and applied to its predictions."""

    def __init__(self, first: Procedure, name: str, function: Callable[[Held], Fitted]) -> None:
        super().__init__(first.held, name)
        self.first, self.function = first, function

    def fit(self, held: Held, folds: Folds) -> Fitted:
        seen = replace(held.part, predictions=self.first.out_of(folds)[None])
        return Chain(self.first.on(folds), self.function(replace(held, part=seen)))
