"""Split leakage: how much better a head scores with pictures of one scene in several folds than with groups whole.

Random groups are as many and as large as the scenes, but of pictures drawn from the same classes; with the same seed
the folds then have the same sizes and classes, and differ only in which pictures share one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.config import Recipe
from pipeline.data import folds as splits
from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import Interval, estimate_over_seeds
from pipeline.training import linear_probe

CV_REPEATS = 3
DEFAULT_FOLDS = 5
"""For a recipe with a single hold-out."""


@dataclass(frozen=True, kw_only=True)
class RepeatedCVResult:
    """Cross-validation over several random choices of folds.

    Args:
        scores: the metric, the mean over folds, one a choice of folds.
        correct: share of the repeats that predict each picture right, (pictures,) from 0 to 1.
        oof: out-of-fold probabilities (pictures, classes), the mean over choices.
        resolution: the least step that a score can make.
    """

    scores: tuple[float, ...]
    correct: np.ndarray
    oof: np.ndarray
    resolution: float = 0.0

    @property
    def score(self) -> float:
        """Mean over choices of folds."""
        return float(np.mean(self.scores))

    @property
    def spread(self) -> float:
        """Sample standard deviation over choices of folds."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0


def shuffle_groups(
    groups: np.ndarray, labels: np.ndarray, equal: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Returns groups of the same sizes and classes, of pictures drawn at random.

    Args:
        groups: one a picture, (pictures,) int.
        labels: (pictures,) int.
        equal: the row of the first picture with the same pixels, which stays in one group with it, (pictures,) int.
        random: draws the pictures.
    """
    shuffled = groups.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        shuffled[rows] = groups[random.permutation(rows)]
    return shuffled[equal]


def cross_validate_head(
    features: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    recipe: Recipe,
    metric: str,
    positive: int | None = None,
) -> RepeatedCVResult:
    """Cross-validates a linear head on features, CV_REPEATS times with other folds; the first time chooses l2.

    Args:
        features: (pictures, width) float32.
        labels: (pictures,) int.
        groups: one a picture; a group is never on both sides.
        recipe: folds, grouping and split_seed.
        metric: see metrics.score.
        positive: see metrics.score.
    """
    plain = replace(recipe, folds=recipe.folds if recipe.folds > 1 else DEFAULT_FOLDS, head="linear", views=("plain",))
    plain = replace(plain, train_views=("plain",), augmented_views=0)
    table = pd.DataFrame({"label": labels, "group": groups})
    classes, folds = int(labels.max()) + 1, range(plain.folds)
    scores, correct, oof = [], np.zeros(len(labels)), np.zeros((len(labels), classes))
    for repeat in range(CV_REPEATS):
        plain = replace(plain, split_seed=recipe.split_seed + repeat)
        fold_of = splits.assign_folds(table, plain)
        trained = linear_probe.train_heads(
            plain,
            train_features={"plain": features},
            labels=labels,
            fold_of=fold_of,
            folds=folds,
            classes=classes,
        )
        plain = replace(plain, l2=next(one["l2"] for one in trained.history if one["chosen"]))
        each = [metrics.score(metric, labels[fold_of == f], trained.oof[fold_of == f], positive) for f in folds]
        scores.append(float(np.mean(each)))
        correct += (trained.oof.argmax(axis=1) == labels) / CV_REPEATS
        oof += trained.oof / CV_REPEATS
    resolution = metrics.compute_resolution(metric, labels, fold_of, positive) / len(folds)
    return RepeatedCVResult(scores=tuple(scores), correct=correct, oof=oof, resolution=resolution)


def compute_grouping_effect(random_folds: RepeatedCVResult, grouped_folds: RepeatedCVResult) -> Interval:
    """Estimates what keeping groups together changes in the metric: the mean over choices of folds, 95 % interval."""
    changes = [after - before for before, after in zip(random_folds.scores, grouped_folds.scores, strict=True)]
    return estimate_over_seeds(changes, grouped_folds.resolution)
