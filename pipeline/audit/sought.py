"""Links between pictures whose classes nobody knows, by keypoints as in scenes.py.

There, two pictures of different classes cannot show one scene. Here nothing is known of some pictures, and candidates
come from everywhere; what a link is worth is learned from pictures whose classes are known.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.audit import retrieval, scenes
from pipeline.audit.keypoints import Keypoints
from pipeline.audit.retrieval import Likeness

TO_STRIKE = (2, 0)
"""Candidates of each picture among each fold's pictures of other classes, by words and by features."""


@dataclass(frozen=True)
class Finder:
    """Finds links.

    Args:
        keypoints: of all pictures, without props.
        likeness: of all pictures.
    """

    keypoints: Keypoints
    likeness: Likeness

    def links(self, rows: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pairs that are worth comparing, (n, 2) int, each once, and how many matches speak for them, (n,) int.

        Args:
            rows: (m,) int, pictures to look for.
            pool: (k,) int, pictures to look among: the same ones, or others.
        """
        pairs = scenes.searched(self.likeness, [(rows, pool)], scenes.TO_FIND)
        if np.array_equal(rows, pool):
            pairs = np.unique(np.sort(pairs, axis=1), axis=0)
        return pairs, scenes.strengths(self.keypoints, pairs)


class Sought:
    """All pictures of a competition, as far as links need them.

    Args:
        keypoints: of all pictures.
        features: of the same, unit rows.
    """

    def __init__(self, keypoints: Keypoints, features: np.ndarray) -> None:
        random = np.random.default_rng(0)
        self.keypoints = keypoints.reduced(random)
        self.codes = retrieval.codes(self.keypoints, random)
        self.likeness = Likeness(retrieval.words(self.codes), features)

    def props(self, rows: np.ndarray, labels: np.ndarray, pool: np.ndarray, pool_labels: np.ndarray) -> np.ndarray:
        """The words of what recurs between some pictures and pictures of other classes, (words,) bool.

        Args:
            rows: (m,) int, pictures.
            labels: (m,) int, their classes; no other picture's class is looked at.
            pool: (k,) int, pictures to look among: the same ones, or others.
            pool_labels: (k,) int.
        """
        random, where = np.random.default_rng(0), []
        for label in np.unique(labels):
            own, others = rows[labels == label], random.permutation(pool[pool_labels != label])
            where.append((own, others[: max(1, len(own) - 1)]))
        return scenes.props(self.keypoints, self.codes, self.likeness, where, TO_STRIKE)

    def finder(self, props: np.ndarray) -> Finder:
        """Finds links by keypoints that are not of these words, (words,) bool."""
        struck = scenes.recurring(self.codes, props)
        codes = np.where(struck[..., None], retrieval.NOTHING, self.codes)
        return Finder(self.keypoints.without(struck), Likeness(retrieval.words(codes), self.likeness.features))
