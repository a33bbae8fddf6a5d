"""Whether pictures of different kinds can be told apart by something: the area under the curve out of folds.

0.5 is chance however unequal the kinds are, 1 is without error. Of more than two kinds the mean over each against the
rest (Hand and Till 2001, Machine Learning 45, 171-186, weigh pairs instead).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.dataset.splits import shuffle_groups
from pipeline.predict.intervals import Interval, over_folds

FOLDS = 5
TREES = 100
LEAF = 5
LEAF_ALONE = 20
CHANCE = 0.5


@dataclass(frozen=True, kw_only=True)
class Told:
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
        return self.area.low > CHANCE


def by_fields(table: pd.DataFrame, kinds: np.ndarray, groups: np.ndarray, seed: int) -> Told:
    """Tells kinds by a table of fields: a random forest on all of them, and a tree on each alone.

    Args:
        table: (pictures, fields); words are numbered.
        kinds: (pictures,) int from 0.
        groups: (pictures,); pictures of a group are never on both sides.
        seed: of the folds and the forest.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    values = numbers(table)
    varying = values.loc[:, values.nunique() > 1]
    if varying.empty:
        share = np.tile(np.bincount(kinds) / len(kinds), (len(kinds), 1))
        return Told(area=Interval(CHANCE, CHANCE, CHANCE), scores=share, alone={})
    sides = folds(kinds, groups, seed)
    area, scores = _held_out(
        lambda: RandomForestClassifier(TREES, min_samples_leaf=LEAF, n_jobs=-1, random_state=seed),
        varying.to_numpy(),
        kinds,
        sides,
    )
    alone = {
        str(name): _held_out(
            lambda: DecisionTreeClassifier(min_samples_leaf=LEAF_ALONE, random_state=seed),
            varying[[name]].to_numpy(),
            kinds,
            sides,
        )[0].estimate
        for name in varying
    }
    ranked = sorted(alone.items(), key=lambda item: -item[1])
    return Told(area=area, scores=scores, alone=dict(ranked))


def by_features(features: np.ndarray, kinds: np.ndarray, groups: np.ndarray, seed: int) -> Told:
    """Tells kinds by features: linear discriminants with the shrinkage of Ledoit and Wolf 2004, which needs no tuning.

    Args:
        features: (pictures, width) float32.
        kinds: (pictures,) int from 0.
        groups: (pictures,); pictures of a group are never on both sides.
        seed: of the folds.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    area, scores = _held_out(
        lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        features,
        kinds,
        folds(kinds, groups, seed),
    )
    return Told(area=area, scores=scores, alone={})


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The table with words numbered in the order of their spelling, and -1 for what is unknown."""
    return pd.DataFrame(
        {
            name: column.fillna(-1) if pd.api.types.is_numeric_dtype(column) else pd.factorize(column, sort=True)[0]
            for name, column in table.items()
        }
    )


def folds(kinds: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and rows to tell, FOLDS times, every kind in each, groups whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    return list(StratifiedGroupKFold(FOLDS).split(np.zeros(len(kinds)), kinds, shuffle_groups(groups, seed)))


def _held_out(
    model: Callable[[], Any], values: np.ndarray, kinds: np.ndarray, sides: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[Interval, np.ndarray]:
    """The area with its interval, and the scores (pictures, kinds), of a fresh model a fold."""
    scores, areas = np.zeros((len(kinds), kinds.max() + 1)), []
    for learned, held in sides:
        fitted = model().fit(values[learned], kinds[learned])
        scores[np.ix_(held, fitted.classes_)] = fitted.predict_proba(values[held])
        areas.append(area_under(kinds[held], scores[held]))
    resolution = float(np.mean([1 / max(1, _fewest_pairs(kinds[held])) for _, held in sides]))
    found = over_folds([value - CHANCE for value in areas], 1 / len(sides), resolution)
    return Interval(*(min(max(CHANCE + value, 0.0), 1.0) for value in (found.estimate, found.low, found.high))), scores


def _fewest_pairs(kinds: np.ndarray) -> int:
    """Pictures of one kind times all others, of the kind that has the fewest such pairs."""
    counts = np.unique(kinds, return_counts=True)[1]
    return int(min(counts * (len(kinds) - counts)))


def area_under(kinds: np.ndarray, scores: np.ndarray) -> float:
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
