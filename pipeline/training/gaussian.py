"""Linear discriminant analysis: classes as Gaussians of one covariance, shrunk; every shrinkage by one decomposition.

The pooled covariance within classes S is shrunk towards its mean variance, (1 - shrinkage) S + shrinkage tr(S) / d I
(Friedman 1989, Regularized Discriminant Analysis, JASA 84, 165-175, equation 18, all classes pooled), after features
are divided by their deviation. scikit-learn's LinearDiscriminantAnalysis(solver="lsqr", shrinkage=...) is the same;
here S is decomposed once, and a shrinkage only divides by other numbers.

What comes out is far too sure: features are no Gaussians, and centres and covariance are estimated from few pictures.
So the evidence is multiplied by a scale, about 0.05, and the classes' shares are not. Shrinkage and scale are chosen
together by the mean held-out loss, two numbers for all folds; their score flatters them by a little.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import eigh
from tqdm import tqdm

from pipeline.errors import StarshiftError
from pipeline.models.heads import Head, softmax
from pipeline.training.linear import Fold, lowest
from pipeline.training.logistic import cross_entropy

SHRINKAGES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
SCALES = (1e-3, 3.0)
"""Between which the scale is looked for."""
UNSEEN = 0.5
"""Pictures that a class without any is taken to have."""


class Gaussians:
    """The classes of one fold, features centred and divided by their deviation.

    A class without a picture stands where all pictures do, with a share of half a picture.

    Args:
        features: (n, width) float32.
        labels: (n,) int.
        classes: how many there are.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int) -> None:
        self.mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.unit = 1 / np.maximum(features.std(axis=0), 1e-6)
        rows = (features - self.mean) * self.unit
        counts = np.bincount(labels, minlength=classes).astype(np.float32)
        chosen = np.zeros((classes, len(labels)), np.float32)
        chosen[labels, np.arange(len(labels))] = 1
        centres = chosen @ rows / np.maximum(counts, 1)[:, None]
        within = (rows.T @ rows - (centres.T * counts) @ centres) / np.float32(len(rows))
        variance, self.axes = eigh(within, driver="evd", check_finite=False, overwrite_a=True)
        self.variance = np.maximum(variance, 0)
        self.centres = centres @ self.axes
        shares = np.maximum(counts, UNSEEN)
        self.shares = np.log(shares / shares.sum())

    def turned(self, features: np.ndarray) -> np.ndarray:
        """Features (m, width) along the axes of the covariance, float32."""
        return ((features - self.mean) * self.unit) @ self.axes

    def evidence(self, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
        """What turned features say of each class: weights (width, classes) and bias (classes,) float32."""
        shrunk = np.float32(1 - shrinkage) * self.variance + np.float32(shrinkage) * self.variance.mean()
        weights = self.centres.T / shrunk[:, None]
        return weights, -(self.centres.T * weights).sum(axis=0) / 2

    def head(self, shrinkage: float, scale: float) -> Head:
        """The classifier on raw features."""
        weights, bias = self.evidence(shrinkage)
        raw = self.unit[:, None] * (self.axes @ weights) * np.float32(scale)
        return Head(((raw, np.float32(scale) * bias + self.shares - self.mean @ raw),))


class Path:
    """What every shrinkage says of the held-out pictures of all folds.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.
    """

    def __init__(self, folds: Sequence[Fold], classes: int) -> None:
        self.folds = folds
        self.gaussians, said = [], []
        for fold in tqdm(folds, desc="gaussian head", unit="fold", disable=None, leave=False):
            found = Gaussians(fold.features, fold.labels, classes)
            turned = found.turned(fold.held_features)
            said.append([turned @ weights + bias for weights, bias in map(found.evidence, SHRINKAGES)])
            self.gaussians.append(found)
        self.said = dict(zip(SHRINKAGES, zip(*said, strict=True), strict=True))

    def losses(self, shrinkage: float, scale: float) -> list[float]:
        """Each fold's held-out cross entropy."""
        each = zip(self.folds, self.said[shrinkage], self.gaussians, strict=True)
        return [
            cross_entropy(softmax(np.float32(scale) * said + found.shares), fold.held_labels)
            for fold, said, found in each
        ]

    def scale(self, shrinkage: float) -> float:
        """The scale of the lowest mean loss; the loss is convex in it, being one of logits linear in it."""
        return lowest(lambda scale: float(np.mean(self.losses(shrinkage, scale))), SCALES)


def fit(folds: Sequence[Fold], classes: int) -> tuple[list[Head], list[dict[str, Any]]]:
    """One head a fold, all of one shrinkage and one scale.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.

    Returns:
        The heads, and one record a fold and shrinkage: fold, shrinkage, scale, held_loss, chosen.

    Raises:
        StarshiftError: a teacher is to be imitated; Gaussians are estimated, and have no loss to put that in.
    """
    if any(fold.soft is not None for fold in folds):
        raise StarshiftError(
            "The head gaussian cannot learn from a teacher.", expected="--head linear or dense", received="gaussian"
        )
    path = Path(folds, classes)
    scales = {shrinkage: path.scale(shrinkage) for shrinkage in SHRINKAGES}
    losses = {shrinkage: path.losses(shrinkage, scale) for shrinkage, scale in scales.items()}
    best = min(SHRINKAGES, key=lambda shrinkage: float(np.mean(losses[shrinkage])))
    history = [
        {"fold": fold.number, "shrinkage": s, "scale": scales[s], "held_loss": losses[s][n], "chosen": s == best}
        for n, fold in enumerate(folds)
        for s in SHRINKAGES
    ]
    return [found.head(best, scales[best]) for found in path.gaussians], history
