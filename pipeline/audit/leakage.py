"""What is known of a picture without looking at it: size, file, compression, camera; and what can be told from that.

A class that can be told from the file alone is a leak: it says how the pictures were collected, not what they show.

Whether pictures of different kinds can be told apart by something: the area under the curve out of folds.

0.5 is chance however unequal the kinds are, 1 is without error. Of more than two kinds the mean over each against the
rest (Hand and Till 2001, Machine Learning 45, 171-186, weigh pairs instead).
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.folds import renumber_groups
from pipeline.evaluation.intervals import Interval, estimate_over_folds

EXIF_TAGS = {"maker": 271, "model": 272, "orientation": 274, "software": 305, "date": 306}
"""EXIF, Exif 2.32 (CIPA DC-008), table 4."""


def read_metadata_table(files: Sequence[Path]) -> pd.DataFrame:
    """A row a file; columns of numbers, or of words such as the format and the camera. Unknown is NaN or "".

    Args:
        files: pictures; of one that cannot be opened only the size of its file is known.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        table = pd.DataFrame(list(pool.map(_read_metadata, files, chunksize=64)))
    for name in table.select_dtypes(exclude="number"):
        table[name] = table[name].fillna("").astype(str)
    return table


def _read_metadata(path: Path) -> dict[str, Any]:
    """The fields of one file, from its header."""
    from PIL import Image

    size = path.stat().st_size
    found: dict[str, Any] = {"file bytes": size}
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            tables = getattr(picture, "quantization", None) or {}
            exif = picture.getexif()
            found |= {
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
                found["jpeg sampling"] = _read_subsampling(picture)
    except Exception:  # a header that cannot be read is a fact about the file, too
        found["format"] = "unreadable"
    return found


def _read_subsampling(picture: Any) -> str:
    """How a JPEG thins its colours, such as 4:2:0."""
    from PIL import JpegImagePlugin

    names = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
    return names.get(JpegImagePlugin.get_sampling(picture), "other")


CV_FOLDS = 5
FOREST_TREES = 100
MIN_LEAF_SIZE = 5
MIN_LEAF_SIZE_ALONE = 20
CHANCE_AUC = 0.5


@dataclass(frozen=True, kw_only=True)
class SeparabilityResult:
    """How well kinds are told apart.

    Args:
        area: under the curve, with its 95 % interval over folds.
        scores: out-of-fold probabilities (pictures, kinds).
        alone: the area that each field reaches alone, the best first; empty where there are no fields.
    """

    area: Interval
    scores: np.ndarray
    alone: dict[str, float]

    @property
    def tells(self) -> bool:
        """Whether it is beyond noise."""
        return self.area.low > CHANCE_AUC


def cross_validate_metadata(
    table: pd.DataFrame, kinds: np.ndarray, groups: np.ndarray, seed: int
) -> SeparabilityResult:
    """Tells kinds by a table of fields: a random forest on all of them, and a tree on each alone.

    Args:
        table: (pictures, fields); words are numbered.
        kinds: (pictures,) int from 0.
        groups: (pictures,); pictures of a group are never on both sides.
        seed: of the folds and the forest.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    values = encode_ordinal(table)
    varying = values.loc[:, values.nunique() > 1]
    if varying.empty:
        share = np.tile(np.bincount(kinds) / len(kinds), (len(kinds), 1))
        return SeparabilityResult(area=Interval(CHANCE_AUC, CHANCE_AUC, CHANCE_AUC), scores=share, alone={})
    sides = split_group_folds(kinds, groups, seed)
    area, scores = _cross_validate(
        lambda: RandomForestClassifier(FOREST_TREES, min_samples_leaf=MIN_LEAF_SIZE, n_jobs=-1, random_state=seed),
        varying.to_numpy(),
        kinds,
        sides,
    )
    alone = {
        str(name): _cross_validate(
            lambda: DecisionTreeClassifier(min_samples_leaf=MIN_LEAF_SIZE_ALONE, random_state=seed),
            varying[[name]].to_numpy(),
            kinds,
            sides,
        )[0].estimate
        for name in varying
    }
    ranked = sorted(alone.items(), key=lambda item: -item[1])
    return SeparabilityResult(area=area, scores=scores, alone=dict(ranked))


def cross_validate_features(
    features: np.ndarray, kinds: np.ndarray, groups: np.ndarray, seed: int
) -> SeparabilityResult:
    """Tells kinds by features: linear discriminants with the shrinkage of Ledoit and Wolf 2004, which needs no tuning.

    Args:
        features: (pictures, width) float32.
        kinds: (pictures,) int from 0.
        groups: (pictures,); pictures of a group are never on both sides.
        seed: of the folds.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    area, scores = _cross_validate(
        lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        features,
        kinds,
        split_group_folds(kinds, groups, seed),
    )
    return SeparabilityResult(area=area, scores=scores, alone={})


def encode_ordinal(table: pd.DataFrame) -> pd.DataFrame:
    """The table with words numbered in the order of their spelling, and -1 for what is unknown."""
    return pd.DataFrame(
        {
            name: column.fillna(-1) if pd.api.types.is_numeric_dtype(column) else pd.factorize(column, sort=True)[0]
            for name, column in table.items()
        }
    )


def split_group_folds(kinds: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and rows to tell, FOLDS times, every kind in each, groups whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    return list(StratifiedGroupKFold(CV_FOLDS).split(np.zeros(len(kinds)), kinds, renumber_groups(groups, seed)))


def _cross_validate(
    model: Callable[[], Any], values: np.ndarray, kinds: np.ndarray, sides: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[Interval, np.ndarray]:
    """The area with its interval, and the scores (pictures, kinds), of a fresh model a fold."""
    scores, areas = np.zeros((len(kinds), kinds.max() + 1)), []
    for learned, held in sides:
        fitted = model().fit(values[learned], kinds[learned])
        scores[np.ix_(held, fitted.classes_)] = fitted.predict_proba(values[held])
        areas.append(compute_macro_auc(kinds[held], scores[held]))
    resolution = float(np.mean([1 / max(1, _count_fewest_pairs(kinds[held])) for _, held in sides]))
    found = estimate_over_folds([value - CHANCE_AUC for value in areas], 1 / len(sides), resolution)
    return Interval(
        *(min(max(CHANCE_AUC + value, 0.0), 1.0) for value in (found.estimate, found.low, found.high))
    ), scores


def _count_fewest_pairs(kinds: np.ndarray) -> int:
    """Pictures of one kind times all others, of the kind that has the fewest such pairs."""
    counts = np.unique(kinds, return_counts=True)[1]
    return int(min(counts * (len(kinds) - counts)))


def compute_macro_auc(kinds: np.ndarray, scores: np.ndarray) -> float:
    """The mean over kinds of the area of each against the rest; kinds that all or no pictures have are left out.

    Args:
        kinds: (pictures,) int.
        scores: (pictures, kinds).
    """
    from scipy.stats import rankdata

    present = [kind for kind in np.unique(kinds) if 0 < np.sum(kinds == kind) < len(kinds)]
    ranks = rankdata(scores, axis=0)
    found = []
    for kind in present:
        own = kinds == kind
        wins = ranks[own, kind].sum() - own.sum() * (own.sum() + 1) / 2
        found.append(wins / (own.sum() * (~own).sum()))
    return float(np.mean(found))
