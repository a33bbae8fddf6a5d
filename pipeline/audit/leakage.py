"""Leakage: what can be told from the files of pictures alone, by the area under the ROC curve (AUC) out of folds.

A class that can be told from size, compression or camera is a leak: it says how the pictures were collected, not what
they show. An AUC of 0.5 is chance however unequal the classes are, 1 is without error. Of more than two classes it is
the mean over each against the rest (Hand and Till 2001, Machine Learning 45, 171-186, weigh pairs instead).
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import Recipe
from pipeline.data.folds import assign_folds
from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import Interval, estimate_over_folds, estimate_over_seeds
from pipeline.terminal import open_bar
from pipeline.training import linear_probe

EXIF_TAGS = {"maker": 271, "model": 272, "orientation": 274, "software": 305, "date": 306}
"""EXIF, Exif 2.32 (CIPA DC-008), table 4."""
SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
CV_FOLDS = 5
FOREST_TREES = 100
MIN_LEAF_SIZE, MIN_LEAF_SIZE_ALONE = 5, 20
CHANCE_AUC = 0.5


def read_metadata_table(files: Sequence[Path]) -> pd.DataFrame:
    """Reads a row a file; columns of numbers, or of words such as the format and the camera. Unknown is NaN or "".

    Args:
        files: pictures; of one that cannot be opened only the size of its file is known.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = open_bar(pool.map(_read_metadata, files, chunksize=64), total=len(files), desc="read files", unit="file")
        table = pd.DataFrame(list(rows))
    for name in table.select_dtypes(exclude="number"):
        table[name] = table[name].fillna("").astype(str)
    return table


def _read_metadata(path: Path) -> dict[str, Any]:
    """Reads the fields of one file from its header."""
    from PIL import Image, JpegImagePlugin

    size = path.stat().st_size
    fields: dict[str, Any] = {"file bytes": size}
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            tables = getattr(picture, "quantization", None) or {}
            exif = picture.getexif()
            fields |= {
                "width": width,
                "height": height,
                "aspect": width / height,
                "bytes a pixel": size / (width * height),
                "format": picture.format,
                "mode": picture.mode,
                "progressive": float(bool(picture.info.get("progressive"))),
                "colour profile": float("icc_profile" in picture.info),
                "dots an inch": float(picture.info.get("dpi", (np.nan,))[0]),
                "exif fields": len(exif),
                **{f"exif {name}": str(exif[tag]) for name, tag in EXIF_TAGS.items() if tag in exif},
                **{f"jpeg table {number}": float(sum(tables[number])) for number in sorted(tables)[:2]},
            }
            if tables:
                fields["jpeg sampling"] = SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(picture), "other")
    except Exception:  # a header that cannot be read is a fact about the file, too
        fields["format"] = "unreadable"
    return fields


@dataclass(frozen=True, kw_only=True)
class SeparabilityResult:
    """How well classes are told apart.

    Args:
        auc: with its 95 % interval over folds.
        scores: out-of-fold probabilities (pictures, classes).
        field_aucs: the AUC of each field alone, the best first; empty where there are no fields.
    """

    auc: Interval
    scores: np.ndarray
    field_aucs: dict[str, float]

    @property
    def is_separable(self) -> bool:
        """Whether the AUC is above chance, beyond noise."""
        return self.auc.low > CHANCE_AUC


def cross_validate_metadata(
    table: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, seed: int
) -> SeparabilityResult:
    """Predicts classes from a table of fields: by a random forest on all of them, and by a tree on each alone.

    Args:
        table: (pictures, fields); words are numbered.
        labels: (pictures,) int, 0 to classes - 1, each at least once.
        groups: (pictures,); pictures of a group are never on both sides.
        seed: of the folds and the forest.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    values = encode_ordinal(table)
    varying = values.loc[:, values.nunique() > 1]
    if varying.empty or count_folds(labels, groups) < 2:
        prior = np.tile(np.bincount(labels) / len(labels), (len(labels), 1))
        return SeparabilityResult(auc=Interval(CHANCE_AUC, CHANCE_AUC, CHANCE_AUC), scores=prior, field_aucs={})
    fold_of = _assign_folds(labels, groups, seed)
    forest = RandomForestClassifier(FOREST_TREES, min_samples_leaf=MIN_LEAF_SIZE, n_jobs=-1, random_state=seed)
    auc, scores = _cross_validate(forest, varying.to_numpy(), labels, fold_of)
    tree = DecisionTreeClassifier(min_samples_leaf=MIN_LEAF_SIZE_ALONE, random_state=seed)
    aucs = {
        str(name): _cross_validate(tree, varying[[name]].to_numpy(), labels, fold_of)[0].estimate
        for name in open_bar(varying, desc="fields of the files", unit="field")
    }
    return SeparabilityResult(auc=auc, scores=scores, field_aucs=dict(sorted(aucs.items(), key=lambda item: -item[1])))


def cross_validate_features(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> SeparabilityResult:
    """Predicts classes from features by LDA with the shrinkage of Ledoit and Wolf 2004, which needs no tuning.

    Args:
        features: (pictures, width) float32.
        labels: (pictures,) int, 0 to classes - 1, each at least once.
        groups: (pictures,); pictures of a group are never on both sides.
        seed: of the folds.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    auc, scores = _cross_validate(model, features, labels, _assign_folds(labels, groups, seed))
    return SeparabilityResult(auc=auc, scores=scores, field_aucs={})


def encode_ordinal(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with words numbered in alphabetical order, and -1 for what is unknown."""
    return pd.DataFrame(
        {
            name: column.fillna(-1) if pd.api.types.is_numeric_dtype(column) else pd.factorize(column, sort=True)[0]
            for name, column in table.items()
        }
    )


def count_folds(labels: np.ndarray, groups: np.ndarray) -> int:
    """Counts the folds that labels and groups (pictures,) allow: at most CV_FOLDS, and the groups of every class."""
    return min(CV_FOLDS, *(len(np.unique(groups[labels == label])) for label in np.unique(labels)))


def _assign_folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Returns the fold of each picture: stratified by class, groups whole."""
    recipe = Recipe(folds=count_folds(labels, groups), grouping="estimated", split_seed=seed)
    return assign_folds(pd.DataFrame({"label": labels, "group": groups}), recipe)


def _cross_validate(
    model: Any, values: np.ndarray, labels: np.ndarray, fold_of: np.ndarray
) -> tuple[Interval, np.ndarray]:
    """Returns the AUC with its interval, and out-of-fold probabilities (pictures, classes)."""
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a class that is in one fold alone: its probability is 0
        scores = cross_val_predict(model, values, labels, cv=PredefinedSplit(fold_of), method="predict_proba")
    folds = [fold_of == fold for fold in np.unique(fold_of)]
    gains = [compute_macro_auc(labels[fold], scores[fold]) - CHANCE_AUC for fold in folds]
    resolution = float(np.mean([1 / max(1, _count_fewest_pairs(labels[fold])) for fold in folds]))
    gain = estimate_over_folds(gains, 1 / len(folds), resolution)
    return Interval(*(min(max(CHANCE_AUC + end, 0.0), 1.0) for end in (gain.estimate, gain.low, gain.high))), scores


def _count_fewest_pairs(labels: np.ndarray) -> int:
    """Counts pairs of a picture of one class and one of any other, of the class that has the fewest such pairs."""
    counts = np.unique(labels, return_counts=True)[1]
    return int(min(counts * (len(labels) - counts)))


def compute_macro_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Computes the mean AUC of each class against the rest; classes of all or no pictures are left out.

    By ranks, for all classes at once: scikit-learn's roc_auc_score, a class at a time, is many times slower.

    Args:
        labels: (pictures,) int.
        scores: (pictures, classes).
    """
    from scipy.stats import rankdata

    classes = np.flatnonzero(np.bincount(labels) % len(labels))
    own = labels[:, None] == classes
    counts = own.sum(axis=0)
    wins = (rankdata(scores[:, classes], axis=0) * own).sum(axis=0) - counts * (counts + 1) / 2
    return float(np.mean(wins / (counts * (len(labels) - counts))))


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
    for repeat in open_bar(range(CV_REPEATS), desc="cross-validate", unit="split"):
        plain = replace(plain, split_seed=recipe.split_seed + repeat)
        fold_of = assign_folds(table, plain)
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
