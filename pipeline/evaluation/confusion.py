"""The confusion matrix: counts of true against predicted classes, its most confused pairs, and groups of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_GROUP_SIZE = 12
"""Classes of a group: a matrix of so many is read at a glance."""


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Two classes that are taken for each other.

    Args:
        truth: number of the class that is taken for the other more often.
        predicted: number of the other class.
        count: pictures of `truth` that are predicted as `predicted`.
        reverse: pictures of `predicted` that are predicted as `truth`.
        share: count / pictures of `truth`.
    """

    truth: int
    predicted: int
    count: int
    reverse: int
    share: float


def compute_confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts the pictures of each true (row) and predicted (column) class, (classes, classes) int.

    Args:
        truth: classes (n,) int.
        predicted: predicted classes (n,) int.
        classes: how many there are.
    """
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def rank_confused_pairs(matrix: np.ndarray) -> list[ConfusedPair]:
    """Lists the pairs of classes that are confused at all, those with most pictures in both directions first."""
    both = np.triu(matrix + matrix.T, 1)
    order = [place for place in np.argsort(-both, axis=None, kind="stable") if both.flat[place]]
    pairs = []
    for place in order:
        first, second = sorted(divmod(int(place), len(matrix)), key=lambda one: int(matrix[one].sum()))
        if matrix[first, second] < matrix[second, first]:
            first, second = second, first
        count, pictures = int(matrix[first, second]), int(matrix[first].sum())
        pairs.append(
            ConfusedPair(
                truth=first, predicted=second, count=count, reverse=int(matrix[second, first]), share=count / pictures
            )
        )
    return pairs


def group_classes(similarity: np.ndarray, most: int = MAX_GROUP_SIZE) -> list[list[int]]:
    """Orders the classes so that similar ones lie beside each other, and cuts the order into groups.

    Average linkage (Sokal and Michener 1958, Univ. Kansas Sci. Bull. 38, 1409-1438) on 1 - similarity; a branch of the
    tree that is too large is split, and neighbours that fit together are joined.

    Args:
        similarity: how often one class (row) is taken for another, (classes, classes), rows sum to 1.
        most: classes of a group.
    """
    from scipy.cluster.hierarchy import linkage, to_tree
    from scipy.spatial.distance import squareform

    if len(similarity) <= most:
        return [list(range(len(similarity)))]
    distance = 1 - (similarity + similarity.T) / 2
    np.fill_diagonal(distance, 0.0)
    branches, parts = [to_tree(linkage(squareform(distance, checks=False), "average"))], list[list[int]]()
    while branches:
        branch = branches.pop()
        if branch.count > most:
            branches += [branch.right, branch.left]
        else:
            parts.append(branch.pre_order())
    return _join_neighbours(parts, most)


def _join_neighbours(parts: Sequence[list[int]], most: int) -> list[list[int]]:
    """Joins parts that follow each other, while they are not too large together."""
    groups = [list(parts[0])]
    for part in parts[1:]:
        if len(groups[-1]) + len(part) <= most:
            groups[-1] += part
        else:
            groups.append(list(part))
    return groups
