"""The rung `features`: a head on what frozen bases see, from the cache; training takes seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config import Recipe
from pipeline.models.heads import Head
from pipeline.training.heads import lda, logistic_regression, mlp
from pipeline.training.soft_targets import SoftTargets


@dataclass(frozen=True, kw_only=True)
class CVResult:
    """What training gives.

    Args:
        folds: the numbers of the folds that were trained.
        heads: one head a fold; none on the rungs that train a network.
        history: one record a fit or an epoch.
        oof: out-of-fold probabilities (pictures, classes) float32, views averaged; NaN where no fold held the picture.
        oof_views: the same for each view.
        test: test probabilities (pictures, classes) float32, views and folds averaged.
        test_views: the same for each view, folds averaged.
        facts: what else is worth telling of each fold; plain JSON values.
    """

    folds: tuple[int, ...]
    heads: list[Head] = field(default_factory=list)
    history: list[dict[str, Any]]
    oof: np.ndarray
    oof_views: dict[str, np.ndarray]
    test: np.ndarray
    test_views: dict[str, np.ndarray]
    facts: list[dict[str, Any]] = field(default_factory=list)


def train_heads(
    recipe: Recipe,
    *,
    train_features: Mapping[str, np.ndarray],
    test_features: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray,
    fold_of: np.ndarray,
    folds: Sequence[int],
    classes: int,
    lesson: SoftTargets | None = None,
) -> CVResult:
    """Trains a head a fold and predicts in every view.

    Args:
        recipe: head, views, training views, seed.
        train_features: (pictures, width) float32, for each view of training and of prediction; in views that are only
            predicted, the rows of pictures that no fold of `folds` holds may be NaN.
        test_features: (pictures, width) float32, for each view of prediction; None predicts no test pictures.
        labels: (pictures,) int.
        fold_of: (pictures,) int, see folds.assign_folds.
        folds: the folds to train.
        classes: how many there are.
        lesson: what teachers say of the training pictures.
    """
    if test_features is None:
        test_features = {view: values[:0] for view, values in train_features.items()}
    parts = [_build_fold(number, recipe, train_features, labels, fold_of, lesson) for number in folds]
    heads, history = fit_heads(parts, recipe.head, classes, recipe.seed, recipe.strength)
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
    """What heads, one a fold, predict in every view; arguments as of `train_heads`."""
    size = (len(fold_of), heads[0].layers[-1][1].shape[-1])
    oof_views = {view: np.full(size, np.nan, np.float32) for view in recipe.views}
    for view, oof in oof_views.items():
        for number, head in zip(folds, heads, strict=True):
            held = fold_of == number
            oof[held] = head.probabilities(train_features[view][held])
    test_views = {
        view: np.mean([head.probabilities(test_features[view]) for head in heads], axis=0) for view in recipe.views
    }
    return CVResult(
        folds=tuple(folds),
        heads=heads,
        history=history,
        oof=np.mean(list(oof_views.values()), axis=0),
        oof_views=oof_views,
        test=np.mean(list(test_views.values()), axis=0),
        test_views=test_views,
    )


def fit_heads(
    folds: Sequence[logistic_regression.FoldFeatures], head: str, classes: int, seed: int, strength: float | None = None
) -> tuple[list[Head], list[dict[str, Any]]]:
    """One head a fold, and one record a fit or an epoch; `held_loss` is in those that are `chosen`.

    Args:
        folds: the pictures of each fold.
        head: see Recipe.
        classes: how many there are.
        seed: of what is random in a dense head.
        strength: of a linear head; None chooses it.
    """
    if head == "dense":
        return mlp.fit(folds, classes, seed)
    return lda.fit(folds, classes) if head == "gaussian" else logistic_regression.fit(folds, classes, strength)


def _build_fold(
    number: int,
    recipe: Recipe,
    features: Mapping[str, np.ndarray],
    labels: np.ndarray,
    fold_of: np.ndarray,
    lesson: SoftTargets | None,
) -> logistic_regression.FoldFeatures:
    """One fold's pictures: trained on in every training view, held out as they are."""
    trained, held = fold_of != number, fold_of == number
    return logistic_regression.FoldFeatures(
        number=number,
        features=np.concatenate([features[view][trained] for view in recipe.training_views]),
        labels=np.tile(labels[trained], len(recipe.training_views)),
        held_features=features[recipe.views[0]][held],
        held_labels=labels[held],
        soft=lesson.soft(number, recipe.training_views, trained) if lesson else None,
        views=len(recipe.training_views),
    )
