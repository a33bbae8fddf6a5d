"""Groups of pictures that folds must keep together, made of equal pictures and of links between pictures of one scene.

Links join pictures one after the other, the strongest first. What would make a group larger than its class's share of a
fold is left out, so that a chain of doubtful links cannot swallow a class.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups of pictures.

    Args:
        first: for each picture the row of the first picture of its group, (pictures,) int.
        refused: links that would have made a group too large.
    """

    first: np.ndarray
    refused: int

    @property
    def sizes(self) -> np.ndarray:
        """Sizes of the groups of two or more, the largest first."""
        counts = np.bincount(self.first)
        return np.sort(counts[counts > 1])[::-1]

    @property
    def joined(self) -> np.ndarray:
        """Which pictures are not alone, (pictures,) bool."""
        return np.bincount(self.first)[self.first] > 1


def build_groups(labels: np.ndarray, same: Iterable[tuple[int, int]], links: np.ndarray, folds: int) -> Groups:
    """Joins pictures into groups.

    Args:
        labels: (pictures,) int.
        same: pairs of equal pictures, which are joined whatever their number.
        links: (n, 2) int, the strongest first.
        folds: how many there will be.
    """
    from scipy.cluster.hierarchy import DisjointSet

    sets = DisjointSet(range(len(labels)))
    for first, second in same:
        sets.merge(int(first), int(second))
    most = np.maximum(2, np.bincount(labels) // folds)
    refused = 0
    for first, second in links.tolist():
        if sets.connected(first, second):
            continue
        if sets.subset_size(first) + sets.subset_size(second) > most[labels[first]]:
            refused += 1
        else:
            sets.merge(first, second)
    group_of = np.empty(len(labels), int)
    for subset in sets.subsets():
        group_of[list(subset)] = min(subset)
    return Groups(first=group_of, refused=refused)
