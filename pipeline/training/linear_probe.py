"""Strategy `features`: cross-validates a head on cached features of frozen bases; training takes seconds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config import Recipe
from pipeline.models.heads import Head
from pipeline.training.heads import lda, logistic_regression, mlp
from pipeline.training.heads.logistic_regression import FoldFeatures
from pipeline.training.soft_targets import SoftTargets

HeadsAndHistory = tuple[list[Head], list[dict[str, Any]]]
HEAD_FUNCTIONS: dict[str, Callable[[Sequence[FoldFeatures], int, int, float | None], HeadsAndHistory]] = {
    "linear": lambda folds, classes, seed, l2: logistic_regression.fit(folds, classes, l2),
    "lda": lambda folds, classes, seed, l2: lda.fit(folds, classes),
    "mlp": lambda folds, classes, seed, l2: mlp.fit(folds, classes, seed),
}
"""What fits each of names.HEADS; arguments and results are those of `fit_heads`."""


@dataclass(frozen=True, kw_only=True)
class CVResult:
    """What cross-validation gives.

    Args:
        folds: the numbers of the folds that were trained.
        heads: one head a fold; none for strategies that train a network.
        history: one record a fit or an epoch.
        oof: out-of-fold probabilities (pictures, classes) float32, views averaged; NaN where no fold held the picture.
        oof_views: the same for each view.
        test: test probabilities (pictures, classes) float32, views and folds averaged.
        test_views: the same for each view, folds averaged.
        facts: other results of each fold, plain JSON values.
        earlier_seconds: that its folds took in sessions before this one.
    """

    folds: tuple[int, ...]
    heads: list[Head] = field(default_factory=list)
    history: list[dict[str, Any]]
    oof: np.ndarray
    oof_views: dict[str, np.ndarray]
    test: np.ndarray
    test_views: dict[str, np.ndarray]
    facts: list[dict[str, Any]] = field(default_factory=list)
    earlier_seconds: float = 0.0

    @classmethod
    def from_folds(
        cls,
        views: Sequence[str],
        fold_of: np.ndarray,
        predictions: Mapping[int, tuple[Any, Any]],
        **others: Any,
    ) -> "CVResult":
        """Joins the predictions of the folds.

        Args:
            views: that were predicted.
            fold_of: (training pictures,) int.
            predictions: by fold, of its validation pictures and of the test pictures, (n, classes) float32 each view.
            others: the other fields.
        """
        classes = next(iter(predictions.values()))[0][0].shape[-1]
        oof_views = {view: np.full((len(fold_of), classes), np.nan, np.float32) for view in views}
        for fold, (validation, _) in predictions.items():
            for view, values in zip(views, validation, strict=True):
                oof_views[view][fold_of == fold] = values
        test = np.mean([test for _, test in predictions.values()], axis=0)
        return cls(
            folds=tuple(predictions),
            oof=np.mean(list(oof_views.values()), axis=0),
            oof_views=oof_views,
            test=test.mean(axis=0),
            test_views=dict(zip(views, test, strict=True)),
            **others,
        )


def train_heads(
    recipe: Recipe,
    *,
    train_features: Mapping[str, np.ndarray],
    test_features: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray,
    fold_of: np.ndarray,
    folds: Sequence[int],
    classes: int,
    soft_targets: SoftTargets | None = None,
) -> CVResult:
    """Trains a head a fold and predicts in every view.

    Args:
        recipe: head, views, training views, seed.
        train_features: (pictures, width) float32, for each view of training and of prediction; in views that are only
            predicted, the rows of pictures that no fold of `folds` validates may be NaN.
        test_features: (pictures, width) float32, for each view of prediction; None predicts no test pictures.
        labels: (pictures,) int.
        fold_of: (pictures,) int, see folds.assign_folds.
        folds: the folds to train.
        classes: how many there are.
        soft_targets: of the training pictures, from teachers.
    """
    if test_features is None:
        test_features = {view: values[:0] for view, values in train_features.items()}

    def rows(view: str, mask: np.ndarray) -> np.ndarray:
        return train_features[view][mask]

    parts = [build_fold_features(fold, recipe, rows, labels, fold_of, soft_targets) for fold in folds]
    heads, history = fit_heads(parts, recipe.head, classes, recipe.seed, recipe.l2)
    return predict_with_heads(recipe, heads, history, folds, train_features, test_features, fold_of)


def predict_with_heads(
    recipe: Recipe,
    heads: list[Head],
    history: list[dict[str, Any]],
    folds: Sequence[int],
    train_features: Mapping[str, np.ndarray],
    test_features: Mapping[str, np.ndarray],
    fold_of: np.ndarray,
) -> CVResult:
    """Predicts in every view with the heads, one a fold; arguments as of `train_heads`."""
    predictions = {
        fold: (
            [head.probabilities(train_features[view][fold_of == fold]) for view in recipe.views],
            [head.probabilities(test_features[view]) for view in recipe.views],
        )
        for fold, head in zip(folds, heads, strict=True)
    }
    return CVResult.from_folds(recipe.views, fold_of, predictions, heads=heads, history=history)


def fit_heads(
    folds: Sequence[FoldFeatures], head: str, classes: int, seed: int, l2: float | None = None
) -> HeadsAndHistory:
    """Fits one head a fold; returns them and one record a fit or an epoch (`val_loss` is in those that are `chosen`).

    Args:
        folds: the pictures of each fold.
        head: see Recipe.
        classes: how many there are.
        seed: of what is random in an MLP head.
        l2: of a linear head; None chooses it.
    """
    return HEAD_FUNCTIONS[head](folds, classes, seed, l2)


def build_fold_features(
    fold: int,
    recipe: Any,
    rows: Callable[[str, np.ndarray], np.ndarray],
    labels: np.ndarray,
    fold_of: np.ndarray,
    soft_targets: SoftTargets | None,
) -> FoldFeatures:
    """Collects one fold's features: training pictures in every training view, validation pictures in the first view.

    Args:
        fold: its number.
        recipe: `views` and `training_views`; a Recipe or a FoldJob.
        rows: returns the features in a view of the pictures of a mask (pictures,).
        labels: (pictures,) int.
        fold_of: (pictures,) int.
        soft_targets: see `train_heads`.
    """
    train, validation, views = fold_of != fold, fold_of == fold, recipe.training_views
    return FoldFeatures(
        number=fold,
        features=np.concatenate([rows(view, train) for view in views]),
        labels=np.tile(labels[train], len(views)),
        held_features=rows(recipe.views[0], validation),
        held_labels=labels[validation],
        soft=soft_targets.soft(fold, views, train) if soft_targets else None,
        views=len(views),
    )
