"""What combinations come to: a weighted mean of probabilities, or a mean of ranks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.predict.held import Held, Part
from pipeline.predict.loglinear import DIGITS, FLOOR


@dataclass(frozen=True)
class Blend:
    """A weighted mean of probabilities.

    Args:
        weights: (members,) float64, 0 or more, summing to 1.
    """

    weights: np.ndarray

    def predict(self, part: Part) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        found = np.zeros(part.predictions.shape[1:])
        for weight, values in zip(self.weights, part.predictions, strict=True):
            if weight:
                found += weight * values.astype(np.float64)
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def told(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"weights": self.weights.tolist()}


@dataclass(frozen=True)
class Ranks:
    """The mean over members of where a picture's probability stands among those that the member has been fitted on.

    So a member's scale does not matter, and a picture's rank does not depend on which others are predicted with it.

    Args:
        sorted: (members, classes, pictures) float, each member's and class's probabilities from small to large.
    """

    sorted: np.ndarray

    def predict(self, part: Part) -> np.ndarray:
        """Mean ranks (pictures, classes) float64, rows made to sum to 1."""
        found = np.zeros(part.predictions.shape[1:])
        for known, values in zip(self.sorted, part.predictions, strict=True):
            for label, column in enumerate(known):
                found[:, label] += _place(column, values[:, label])
        found += FLOOR
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def told(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"ranked_among": self.sorted.shape[2]}


def _place(column: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where values stand in a sorted column, 0 to 1; between its numbers, in between."""
    levels, first = np.unique(column, return_index=True)
    last = np.append(first[1:], len(column)) - 1
    return np.interp(values, levels, (first + last) / 2 / max(1, len(column) - 1))


def true_class(held: Held) -> np.ndarray:
    """Each member's probability of each picture's true class, (pictures, members) float64, not below FLOOR."""
    chosen = held.part.predictions[:, np.arange(len(held.labels)), held.labels]
    return np.maximum(chosen.T, FLOOR, dtype=np.float64)


def rounded(weights: np.ndarray) -> np.ndarray:
    """Weights with DIGITS digits that sum to 1; the largest one takes what rounding leaves."""
    found = np.round(weights, DIGITS)
    found[int(np.argmax(found))] += 1 - found.sum()
    return found
