"""Computes a teacher's predictions anew: in other views, or nested, without the labels of the student's fold."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pipeline.config import Recipe, Training
from pipeline.errors import StarshiftError, require
from pipeline.features.extractor import Extractor
from pipeline.models.base import Base, list_networks
from pipeline.models.heads import Head
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.terminal import open_bar
from pipeline.training import linear_probe
from pipeline.training.heads import logistic_regression
from pipeline.workflow.context import Dataset
from pipeline.workflow.train import extract_features

MAX_DIFFERENCE = 1e-2
"""Largest difference of a probability between a teacher's predictions computed anew and those that its run stored."""


def load_teacher_recipe(teacher: load.Run) -> Recipe:
    """Returns the recipe of a teacher whose predictions can be computed anew.

    Raises:
        StarshiftError: it is no linear head on features.
    """
    stored = dict(teacher.config["competition"]["recipe"])
    strategy, head = stored.get("strategy"), stored.get("head", "linear")
    if (strategy, head) != ("features", "linear") or teacher.config.get("debug"):
        raise StarshiftError(
            f"The teacher {teacher.folder.name} cannot be asked again.",
            expected="a features run with a linear head, which is trained anew without the student's fold",
            received=f"the strategy {strategy}" + (f" with a {head} head" if strategy == "features" else ""),
            remedy="name such runs, several where one was made of them; or --no-nested, whose score is flattered by"
            " teachers that have seen the labels of the pictures that it is judged on",
        )
    known = {field.name for field in fields(Recipe)} - {"training"}
    given: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in stored.items() if name in known
    }
    return Recipe(**given, training=Training())


def list_teacher_bases(teacher: load.Run) -> list[Base]:
    """Lists the bases of a teacher on features."""
    return list_networks(load_teacher_recipe(teacher))


@dataclass(frozen=True, kw_only=True)
class FeatureTeacher:
    """A teacher on features with its pictures.

    Args:
        recipe: the teacher's.
        l2: of its linear heads' L2, as its run chose it on all folds.
        scales: of its logits, by fold: fitted on what the run's other folds said of the pictures that they held out.
            These numbers are all that a nested teacher has from the folds that it does not see.
        features: (pictures, width) float32 by view.
        labels: (pictures,) int.
        fold_of: (pictures,) int.
        classes: how many there are.
    """

    recipe: Recipe
    l2: float
    scales: Mapping[int, float]
    features: Mapping[str, np.ndarray]
    labels: np.ndarray
    fold_of: np.ndarray
    classes: int

    def head_without(self, *folds: int) -> Head:
        """Trains a head without the pictures of these folds; its scale is 1."""
        known = ~np.isin(self.fold_of, folds)
        views = self.recipe.training_views
        one = logistic_regression.FoldFeatures(
            number=folds[0],
            features=np.concatenate([self.features[view][known] for view in views]),
            labels=np.tile(self.labels[known], len(views)),
            held_features=self.features[views[0]][~known],
            held_labels=self.labels[~known],
        )
        heads, _ = logistic_regression.fit([one], self.classes, self.l2, 1.0)
        return heads[0]

    def answer(self, head: Head, rows: np.ndarray, views: Sequence[str]) -> np.ndarray:
        """Probabilities (views, rows, classes) in these views; without any, the mean over the teacher's own."""
        values = np.stack([head.probabilities(self.features[view][rows]) for view in views or self.recipe.views])
        return values if views else values.mean(axis=0, keepdims=True)

    def own(self) -> list[Head]:
        """Trains the run's own heads again, one a fold."""
        trained = linear_probe.train_heads(
            self.recipe,
            train_features=self.features,
            labels=self.labels,
            fold_of=self.fold_of,
            folds=tuple(range(self.recipe.folds)),
            classes=self.classes,
        )
        return trained.heads

    def out_of_fold(self, heads: Sequence[Head], views: Sequence[str]) -> np.ndarray:
        """Predicts each picture by the head that was not trained on it, (views, pictures, classes) float32."""
        result = np.full((len(views) or 1, len(self.labels), self.classes), np.nan, np.float32)
        for fold, head in enumerate(heads):
            result[:, self.fold_of == fold] = self.answer(head, self.fold_of == fold, views)
        return result

    def nested(self, views: Sequence[str]) -> dict[str, np.ndarray]:
        """Predicts the other pictures for students of each fold, by heads trained on neither's fold."""
        folds = range(self.recipe.folds)
        shape = (len(views) or 1, len(self.labels), self.classes)
        result = {str(fold): np.full(shape, np.nan, np.float32) for fold in folds}
        pairs = list(itertools.combinations(folds, 2))
        for one, other in open_bar(pairs, desc="nested teachers", unit="head"):
            head = self.head_without(one, other)
            for student, told_of in ((one, other), (other, one)):
                rows = self.fold_of == told_of
                result[str(student)][:, rows] = self.answer(head.scaled(self.scales[student]), rows, views)
        return result


def recompute_predictions(
    teacher: load.Run, data: Dataset, views: Sequence[str], nested: bool, engine: str = "auto"
) -> dict[str, np.ndarray]:
    """Computes the predictions of a teacher on features anew, as in `SoftTargets.answers`.

    Args:
        teacher: its run.
        data: the pictures, decoded at the size of its bases.
        views: to predict in; empty averages the teacher's own.
        nested: with heads that have not seen the student's fold either.
        engine: for features that are not cached.

    Raises:
        StarshiftError: it is no linear head on features, or it no longer says what its run stored.
    """
    recipe = load_teacher_recipe(teacher)
    extractors = [Extractor(base, data.files, wanted=engine) for base in list_teacher_bases(teacher)]
    needed = tuple(dict.fromkeys((*recipe.training_views, *recipe.views, *views)))
    l2, scales = read_l2_and_scales(teacher)
    asked = FeatureTeacher(
        recipe=recipe,
        l2=l2,
        scales=scales,
        features=extract_features(extractors, data.train_digests, needed),
        labels=data.labels,
        fold_of=data.fold_of,
        classes=len(data.pictures.classes),
    )
    if nested:
        require(recipe.folds > 2, "Nested teachers need three folds.", expected="3 or more", received=recipe.folds)
        return asked.nested(views)
    heads = asked.own()
    difference = float(
        np.abs(asked.out_of_fold(heads, ()) - teacher.align(data.pictures.train["id"], data.pictures.classes)).max()
    )
    if not difference <= MAX_DIFFERENCE:
        raise StarshiftError(
            f"The teacher {teacher.folder.name}, asked again, no longer says what its run stored.",
            expected=f"out-of-fold probabilities at most {MAX_DIFFERENCE} apart",
            received=f"{difference:.2g}",
            remedy="make it again with the same recipe: its weights, features or versions have changed",
        )
    return {"all": asked.out_of_fold(heads, views)}


def read_l2_and_scales(teacher: load.Run) -> tuple[float, dict[int, float]]:
    """Reads a run's L2 on features, and the scales of its heads by fold (1 where none is recorded)."""
    rows = [row for row in runs.read_history(teacher.folder) if row["chosen"] == "True"]
    return float(rows[0]["l2"]), {int(row["fold"]): float(row.get("scale") or 1) for row in rows}
