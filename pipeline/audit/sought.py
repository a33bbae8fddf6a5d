"""Links between pictures whose classes nobody knows, by keypoints as in scenes.py.

There, two pictures of different classes cannot show one scene. Here nothing is known of some pictures, and candidates
come from everywhere; what a link is worth is learned from pictures whose classes are known.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.audit import retrieval, scenes
from pipeline.audit.keypoints import Keypoints
from pipeline.audit.retrieval import Likeness


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
        self.keypoints, self.features = keypoints.reduced(random), features
        self.codes = retrieval.codes(self.keypoints, random)

    def props(self, known: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The keypoints of what recurs across the classes that are known, (pictures, MOST) bool.

        Args:
            known: (m,) int, pictures.
            labels: (m,) int, their classes; no other class is looked at.
        """
        pools = scenes.decoys(labels, np.random.default_rng(0))
        places = [(known[own], known[first], known[second]) for own, first, second in pools]
        return scenes.props(self.keypoints, self.codes, self.features, places)

    def finder(self, struck: np.ndarray) -> Finder:
        """Finds links by what is not struck, (pictures, MOST) bool."""
        codes = np.where(struck[..., None], retrieval.NOTHING, self.codes)
        return Finder(self.keypoints.without(struck), Likeness(retrieval.words(codes), self.features))
