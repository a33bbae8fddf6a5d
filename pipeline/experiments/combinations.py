"""Every combination of feature sets, each with a linear classifier of every strength, on all cores."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from pipeline.predict.growth import Members
from pipeline.predict.metrics import higher_is_better
from pipeline.predict.sharpness import Judge
from pipeline.training import ridge

BUDGET = 2.5e11
"""Sum of the cubes of all decompositions' sides; what keeps 63 combinations of wide sets under a minute on 2 cores."""


@dataclass(frozen=True)
class Tried:
    """What one combination of feature sets came to.

    Args:
        members: numbers of the sets.
        folds: the metric on each fold, at the strength that is best on the others.
        strength: the best one over all folds.
        path: the metric's mean over folds for each of ridge.STRENGTHS.
    """

    members: Members
    folds: tuple[float, ...]
    strength: float
    path: tuple[float, ...]


def every(sets: Sequence[ridge.Directions], judge: Judge, classes: int) -> list[Tried]:
    """Tries every combination of feature sets.

    Args:
        sets: rows of the same pictures.
        judge: the metric, the labels and the folds.
        classes: how many there are.
    """
    edges = np.cumsum([0, *(one.rows.shape[1] for one in sets)])
    rows = np.concatenate([one.rows for one in sets], axis=1)
    with one_core_each():
        products = ridge.Products(rows, judge.labels, judge.fold_of, classes)
    numbers = range(len(sets))
    found = [frozenset(c) for k in range(len(sets), 0, -1) for c in itertools.combinations(numbers, k)]

    def tried(members: Members) -> Tried:
        columns = np.concatenate([np.arange(edges[m], edges[m + 1]) for m in sorted(members)])
        width = sum(sets[m].width for m in members)
        scores = products.held_out(columns, [strength * width for strength in ridge.STRENGTHS])
        return chosen(members, np.array([judge.folds(one) for one in scores]), higher_is_better(judge.metric))

    with one_core_each() as pool:
        return list(tqdm(pool.map(tried, found), "combinations", len(found), disable=None, leave=False))


@contextlib.contextmanager
def one_core_each() -> Iterator[ThreadPoolExecutor]:
    """Threads for work that keeps a core busy by itself: matrices of some hundred rows gain little by a second one."""
    import scipy.linalg  # noqa: F401  (limits bind the libraries that are loaded)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        yield pool


def turned(values: Sequence[np.ndarray], most: int) -> list[ridge.Directions]:
    """The leading directions of each feature set, (pictures, width) float32."""
    with one_core_each() as pool:
        return list(pool.map(lambda one: ridge.directions(one, most), values))


def chosen(members: Members, table: np.ndarray, higher: bool) -> Tried:
    """Chooses a strength for each fold by the other folds.

    Args:
        members: numbers of the sets.
        table: the metric (strengths, folds).
        higher: whether a larger one is better.
    """
    worth = table if higher else -table
    places = (worth.sum(axis=1, keepdims=True) - worth).argmax(axis=0)
    best = int(worth.mean(axis=1).argmax())
    folds = tuple(float(value) for value in table[places, np.arange(table.shape[1])])
    return Tried(members, folds, ridge.STRENGTHS[best], tuple(map(float, table.mean(axis=1))))
