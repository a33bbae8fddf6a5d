"""Corrects the two classes that are confused most by a binary classifier, where they are the likeliest two.

It is a support vector machine on features of these classes alone; its weight against the predictions that it corrects
is fitted on pictures that neither has learned from.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.ensemble.log_linear import DIGITS, compute_logs
from pipeline.evaluation.nested_cv import Folds, MemberPredictions, OOFPredictions, Predictor

SVM_C = 10.0
CORRECTION_C = 1.0
"""Of the support vector machine, and of the blend (scikit-learn's C)."""


@dataclass(frozen=True)
class PairClassifier:
    """The fitted specialist.

    Args:
        pair: two class numbers; the first is the smaller one.
        machine: a scikit-learn pipeline with a decision_function over features (n, width).
        trust: what the log odds of the second class are: trust[0] + trust[1] * those predicted + trust[2] * decision.
    """

    pair: tuple[int, int]
    machine: Any
    trust: tuple[float, float, float]

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Probabilities (pictures, classes) float64; where the pair leads, its two share their sum anew."""
        result = part.predictions[0].astype(np.float64)
        rows = np.flatnonzero(is_likeliest_pair(result, self.pair))
        if len(rows):
            odds = self.trust[1] * compute_log_odds(result[rows], self.pair)
            odds += self.trust[0] + self.trust[2] * self.machine.decision_function(select_features(part, rows))
            share = 1 / (1 + np.exp(-odds))
            both = result[rows][:, self.pair].sum(axis=1)
            result[rows[:, None], self.pair] = np.stack([both * (1 - share), both * share], axis=1)
        return result

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        return {"pair": list(self.pair), "trust": list(self.trust)}


@dataclass(frozen=True)
class Passthrough:
    """Leaves predictions as they are, where there is nobody to train.

    Args:
        reason: why that is.
    """

    reason: str

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        return part.predictions[0].astype(np.float64)

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        return {"not_tried": self.reason}


def find_confused_pair(labels: np.ndarray, probabilities: np.ndarray) -> tuple[int, int] | None:
    """Finds the two classes taken for each other most often, the smaller number first; None where nothing is confused.

    Args:
        labels: (n,) int.
        probabilities: (n, classes).
    """
    classes = probabilities.shape[1]
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    mistaken = np.triu(counts + counts.T, 1)
    if not mistaken.any():
        return None
    first, second = np.unravel_index(int(mistaken.argmax()), mistaken.shape)
    return int(first), int(second)


def is_likeliest_pair(probabilities: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """Returns whether the pair are the likeliest two, (n,) bool."""
    rest = np.delete(probabilities, pair, axis=1)
    least = probabilities[:, pair].min(axis=1)
    return least > (rest.max(axis=1) if rest.shape[1] else -1.0)


def compute_log_odds(probabilities: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """Computes the log odds of the pair's second class against its first, (n,) float64."""
    return np.asarray(compute_logs(probabilities[:, pair[1]]) - compute_logs(probabilities[:, pair[0]]))


def select_features(part: MemberPredictions, rows: np.ndarray) -> np.ndarray:
    """Features (rows, width) float32 of these pictures."""
    if part.features is None:
        raise ValueError("a specialist needs features")
    return part.features[rows]


class PairClassifierStep:
    """Fits specialists; a step of a nest. Machines are remembered by their pair and folds, of which a nest has few."""

    def __init__(self) -> None:
        self._machines: dict[tuple[tuple[int, int], Folds], Any] = {}

    def __call__(self, oof: OOFPredictions) -> Predictor:
        """Finds the pair, trains a machine on it, and fits how far to believe it."""
        from sklearn.linear_model import LogisticRegression

        pair = find_confused_pair(oof.labels, oof.part.predictions[0])
        if pair is None:
            return Passthrough("nothing is confused")
        others = {fold: oof.folds - {fold} or oof.folds for fold in oof.folds}
        if any(len(np.intersect1d(oof.labels[oof.among(folds)], pair)) < 2 for folds in others.values()):
            return Passthrough("the two classes that are confused most lie in too few folds")
        of_pair = np.isin(oof.labels, pair)
        decision = np.zeros(len(oof.labels))
        for fold in oof.folds:
            own = of_pair & (oof.fold_of == fold)
            machine = self._machine(oof, pair, others[fold])
            if own.any():
                decision[own] = machine.decision_function(select_features(oof.part, own))
        logits = np.stack([compute_log_odds(oof.part.predictions[0], pair), decision], axis=1)[of_pair]
        model = LogisticRegression(C=CORRECTION_C).fit(logits, oof.labels[of_pair] == pair[1])
        base, own, other = np.round([model.intercept_[0], *model.coef_[0]], DIGITS).tolist()
        return PairClassifier(pair, self._machine(oof, pair, oof.folds), (base, own, other))

    def _machine(self, oof: OOFPredictions, pair: tuple[int, int], folds: Folds) -> Any:
        """Trains a support vector machine with a Gaussian kernel on the pair's pictures in these folds, once."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        if (pair, folds) not in self._machines:
            rows = np.isin(oof.labels, pair) & oof.among(folds)
            machine = make_pipeline(StandardScaler(), SVC(C=SVM_C))
            self._machines[pair, folds] = machine.fit(select_features(oof.part, rows), oof.labels[rows] == pair[1])
        return self._machines[pair, folds]
