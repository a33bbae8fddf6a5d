"""Ridge regression on one-hot targets: linear classifiers of every l2 by one eigendecomposition.

With centred rows X and targets Y of n pictures, A = X'X / n = V S V' and B = X'Y / n, the weights of any l2 are
V (S + l2 I)^-1 V' B: after the decomposition an l2 costs one product (Rifkin and Lippert 2007, Notes on
Regularized Least Squares, MIT-CSAIL-TR-2007-025, section 3; Hoerl and Kennard 1970, Technometrics 12, 55-67).

Products of all sets' rows are formed once, fold by fold; a combination takes its blocks of them, and a fold's training
pictures are the sum less the fold. So nothing is fitted on a picture that it predicts, and pictures are passed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.training.heads.logistic_regression import PCAWhitening

L2_VALUES = tuple(float(10.0**exponent) for exponent in np.arange(-0.5, -4.6, -0.5))
"""Times the mean squared norm of a row, from strong to weak."""


@dataclass(frozen=True)
class PrincipalComponents:
    """A feature set, standardised and turned to its principal axes; no label is used.

    Args:
        rows: (pictures, directions) float32, the direction of the largest variance first.
        width: number of the features that they come from; also the sum of all directions' variances.
        kept: share of the variance that these directions hold.
    """

    rows: np.ndarray
    width: int
    kept: float


def compute_principal_components(features: np.ndarray, most: int) -> PrincipalComponents:
    """Computes the leading principal directions of a feature set.

    Args:
        features: (pictures, width) float32.
        most: how many; a set that has no more of them keeps all.
    """
    axes = PCAWhitening(features)
    whole = axes.variance.sum()
    share = axes.variance[::-1][:most].sum() / whole if whole > 0 else 1.0
    # Undoes the division in PCAWhitening, so that variances sum to the width. np.sqrt(int) is float64, hence the cast.
    rows = axes.rows(features)[:, ::-1][:, :most] * np.float32(np.sqrt(features.shape[1]))
    return PrincipalComponents(np.ascontiguousarray(rows), features.shape[1], float(share))


class GramMatrices:
    """Second moments of rows and one-hot targets, for the training pictures of every fold.

    Args:
        rows: (pictures, directions) float32, all sets side by side.
        labels: (pictures,) int.
        fold_of: (pictures,) int; each fold holds out its pictures in turn.
        classes: how many there are.
    """

    def __init__(self, rows: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, classes: int) -> None:
        self.rows, self.classes = rows, classes
        self.validation_rows = [np.flatnonzero(fold_of == fold) for fold in np.unique(fold_of)]
        targets = np.eye(classes, dtype=np.float32)[labels]
        parts = [(rows[own], targets[own]) for own in self.validation_rows]
        self.squares = [x.T @ x for x, _ in parts]
        self.crosses = [x.T @ y for x, y in parts]
        self.sums = [(x.sum(axis=0), y.sum(axis=0)) for x, y in parts]
        self.every = sum(self.squares), sum(self.crosses), rows.sum(axis=0), targets.sum(axis=0)

    def path(self, fold: int, columns: np.ndarray) -> "RidgePath":
        """Builds the path of a fold's training pictures, on some of the directions.

        Args:
            fold: its place among the folds.
            columns: (r,) int.
        """
        # PCAWhitening centred the rows, so these differences of sums cancel few digits in float32.
        count = len(self.rows) - len(self.validation_rows[fold])
        block = np.ix_(columns, columns)
        square = (self.every[0][block] - self.squares[fold][block]) / np.float32(count)
        cross = (self.every[1][columns] - self.crosses[fold][columns]) / np.float32(count)
        mean = (self.every[2][columns] - self.sums[fold][0][columns]) / np.float32(count)
        share = (self.every[3] - self.sums[fold][1]) / np.float32(count)
        return RidgePath(square - np.outer(mean, mean), cross - np.outer(mean, share), mean, share)

    def held_out(self, columns: np.ndarray, strengths: Sequence[float]) -> np.ndarray:
        """Scores every picture with the classifiers of its fold, (strengths, pictures, classes) float32.

        Args:
            columns: of the directions, (r,) int.
            strengths: in units of the rows' squares.
        """
        scores = np.empty((len(strengths), len(self.rows), self.classes), np.float32)
        for fold, own in enumerate(self.validation_rows):
            scores[:, own] = self.path(fold, columns).scores(self.rows[np.ix_(own, columns)], strengths)
        return scores


class RidgePath:
    """The ridge classifiers of all l2 values: minimise mean |y - W'x - b|^2 + l2 |W|^2, b free.

    Args:
        square: covariance of the rows (r, r).
        cross: covariance of rows and one-hot targets (r, classes).
        mean: of the rows (r,).
        share: of the targets (classes,).
    """

    def __init__(self, square: np.ndarray, cross: np.ndarray, mean: np.ndarray, share: np.ndarray) -> None:
        from scipy.linalg import eigh

        variance, self.axes = eigh(square, driver="evd", check_finite=False, overwrite_a=True)
        # Rounding makes eigenvalues of 0 slightly negative; plus a small l2 they would be near 0.
        self.variance = np.maximum(variance, 0)
        self.turned = self.axes.T @ cross
        self.mean, self.share = mean, share

    def weights(self, l2: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns W (r, classes) and b (classes,)."""
        # Cast to the dtype of the rows: a float64 l2 would widen every product.
        weights = self.axes @ (self.turned / (self.variance + self.variance.dtype.type(l2))[:, None])
        return weights, self.share - self.mean @ weights

    def scores(self, rows: np.ndarray, strengths: Sequence[float]) -> np.ndarray:
        """Scores rows (m, r) with the classifiers of these l2 values: (strengths, m, classes)."""
        projected = (rows - self.mean) @ self.axes
        each = [self.turned / (self.variance + self.variance.dtype.type(s))[:, None] for s in strengths]
        return np.stack([projected @ one + self.share for one in each])


def find_max_components(widths: Sequence[int], decompositions: int, budget: float) -> int:
    """Finds the most directions a set so that all combinations of sets are decomposed within a budget.

    Args:
        widths: of the sets.
        decompositions: for each combination.
        budget: sum of the cubes of all decompositions' sides.
    """
    low, high = 1, max(widths)
    while low < high:
        middle = (low + high + 1) // 2
        # Widths of all subsets of sets, the empty one included.
        sides = np.zeros(1)
        for width in widths:
            sides = np.concatenate([sides, sides + min(width, middle)])
        low, high = (middle, high) if decompositions * np.sum(sides**3) <= budget else (low, middle - 1)
    return low
