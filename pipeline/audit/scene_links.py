"""Pictures of one scene: the same plant on other days, a burst, one box; linked by keypoints, vouched for by decoys.

Two pictures of different classes cannot show the same plant. So every class is searched for links among its own
pictures, and in the same way among as many of other classes, its decoys: links to decoys are false, and about as many
links within the class are (target-decoy counting: Elias and Gygi 2007, Nature Methods 4, 207-214). What recurs across
classes, such as printed labels and the rim of a box, is struck first, with decoys of its own.

Links between pictures whose classes nobody knows, by keypoints as in scenes.py.

There, two pictures of different classes cannot show one scene. Here nothing is known of some pictures, and candidates
come from everywhere; what a link is worth is learned from pictures whose classes are known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit import keypoints as geometry
from pipeline.audit import retrieval
from pipeline.audit.keypoints import MAX_KEYPOINTS, Keypoints
from pipeline.audit.retrieval import SimilarityIndex

MAX_FALSE_SHARE = 0.01
"""Of the links, by the decoys' count, at most."""
MIN_LINK_MATCHES = 6
"""Agreeing matches that a link needs; fixing a turn, a shift and a zoom takes two."""
SURE_LINK_MATCHES = 12
MIN_PROP_WORDS = 2
"""Of a keypoint's words, that are known from props; by chance 5 % of the keypoints of plant-seedlings have two."""
LINK_CANDIDATES, PROP_CANDIDATES = (20, 10), (8, 0)
"""Candidates of each picture, by words and by features."""


@dataclass(frozen=True, kw_only=True)
class SceneLinks:
    """Pairs of pictures that show one scene.

    Args:
        pairs: (n, 2) int, of training pictures of one class, the strongest first.
        strength: (n,) int, how many matches agree.
        least: the strength that a link needs.
        false_share: of the links, as the decoys estimate it.
        struck: share of the keypoints that recur across classes.
        across: (m, 2) int, of a test and a training picture, links of at least that strength.
    """

    pairs: np.ndarray
    strength: np.ndarray
    least: int
    false_share: float
    struck: float
    across: np.ndarray


def find_scene_links(
    keypoints: Keypoints,
    features: np.ndarray,
    labels: np.ndarray,
    conflicts: Iterable[tuple[int, int]],
    random: np.random.Generator,
) -> SceneLinks:
    """Links pictures of one scene.

    Args:
        keypoints: of the training pictures, and after them of the test pictures.
        features: of the same, unit rows.
        labels: classes of the training pictures.
        conflicts: pairs of equal pictures in different classes, which are no decoys.
        random: draws planes and decoys.
    """
    keypoints = keypoints.reduced(random)
    pools = sample_decoys(labels, random)
    codes = retrieval.compute_visual_words(keypoints, random)
    likeness = SimilarityIndex(retrieval.build_idf_matrix(codes), features)
    told = find_prop_words(keypoints, codes, likeness, [(own, first) for own, first, _ in pools], PROP_CANDIDATES)
    struck = find_prop_keypoints(codes, told)
    used = keypoints.counts.sum()
    keypoints = keypoints.without(struck)
    codes[struck] = retrieval.NO_WORD
    likeness = SimilarityIndex(retrieval.build_idf_matrix(codes), features)
    own = np.unique(
        np.sort(find_link_candidates(likeness, [(own, own) for own, *_ in pools], LINK_CANDIDATES), axis=1), axis=0
    )
    foreign = _exclude_pairs(
        find_link_candidates(likeness, [(own, second) for own, _, second in pools], LINK_CANDIDATES), conflicts
    )
    strength, decoy = count_inlier_matches(keypoints, own), count_inlier_matches(keypoints, foreign)
    least, false_share = calibrate_threshold(strength, decoy, _compute_decoy_weights(labels, pools)[foreign[:, 0]])
    tests = np.arange(len(labels), len(keypoints))
    across = find_link_candidates(likeness, [(tests, np.arange(len(labels)))], LINK_CANDIDATES)
    order = np.argsort(-strength, kind="stable")[: np.sum(strength >= least)]
    return SceneLinks(
        pairs=own[order],
        strength=strength[order],
        least=least,
        false_share=false_share,
        struck=float(struck.sum() / max(used, 1)),
        across=across[count_inlier_matches(keypoints, across) >= least],
    )


def sample_decoys(labels: np.ndarray, random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each class its pictures, and two sets of others, apart from each other and at most as large.

    Args:
        labels: (pictures,) int.
        random: draws the others.
    """
    found = []
    for label in np.unique(labels):
        own, others = np.flatnonzero(labels == label), random.permutation(np.flatnonzero(labels != label))
        half, most = len(others) // 2, max(1, len(own) - 1)
        found.append((own, others[:half][:most], others[half:][:most]))
    return found


def calibrate_threshold(strength: np.ndarray, decoy: np.ndarray, weights: np.ndarray) -> tuple[int, float]:
    """The least strength at which few enough links are false, and the share that is.

    One decoy more is counted than there are, so that no decoy among few links is not taken for none among many (Barber
    and Candes 2015, Annals of Statistics 43, equation 1.9); from SURE agreeing matches on, the counts themselves do.

    Args:
        strength: of the pairs within classes.
        decoy: of the pairs with decoys.
        weights: pairs that each decoy stands for.

    Returns:
        The strength, more than there can be where nothing is sure, and the share.
    """
    for least in range(MIN_LINK_MATCHES, MAX_KEYPOINTS + 1):
        links, false = np.sum(strength >= least), float(weights[decoy >= least].sum())
        if links and (false + (least < SURE_LINK_MATCHES)) / links <= MAX_FALSE_SHARE:
            return least, false / links
    return MAX_KEYPOINTS + 1, 0.0


def find_prop_words(
    keypoints: Keypoints,
    codes: np.ndarray,
    likeness: SimilarityIndex,
    where: Sequence[tuple[np.ndarray, np.ndarray]],
    most: tuple[int, int],
) -> np.ndarray:
    """The words of what recurs between pictures that cannot show one scene, (words,) bool.

    Args:
        keypoints: of all pictures, reduced.
        codes: of the same, from `retrieval.compute_visual_words`.
        likeness: of the same.
        where: pictures, and for each set of them the pictures of other classes to look among.
        most: candidates of each picture, by words and by features.
    """
    pairs = find_link_candidates(likeness, where, most)
    known = np.zeros(retrieval.WORD_TABLES << retrieval.WORD_BITS, bool)
    for (first, second), place in zip(pairs, geometry.find_inlier_matches(keypoints, pairs), strict=True):
        if len(place) >= MIN_LINK_MATCHES:
            known[codes[first, place[:, 0]]] = True
            known[codes[second, place[:, 1]]] = True
    return known


def find_link_candidates(
    likeness: SimilarityIndex, where: Sequence[tuple[np.ndarray, np.ndarray]], most: tuple[int, int]
) -> np.ndarray:
    """Candidates of some pictures in a pool each, (n, 2) int, sorted."""
    found = [likeness.candidates(rows, pool, *most) for rows, pool in where]
    return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), int)


def find_prop_keypoints(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The keypoints whose words are known from props, (pictures, places) bool."""
    return np.sum(known[codes] & (codes != retrieval.NO_WORD), axis=2) >= MIN_PROP_WORDS


def count_inlier_matches(keypoints: Keypoints, pairs: np.ndarray) -> np.ndarray:
    """How many matches of each pair agree, (n,) int."""
    return np.array([len(places) for places in geometry.find_inlier_matches(keypoints, pairs)], int)


def _compute_decoy_weights(
    labels: np.ndarray, pools: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """For each training picture, how many others of its class there are for each of its decoys."""
    found = np.ones(len(labels))
    for own, _, second in pools:
        found[own] = max(1, len(own) - 1) / max(1, len(second))
    return found


def _exclude_pairs(pairs: np.ndarray, known: Iterable[tuple[int, int]]) -> np.ndarray:
    """The pairs without those that are known, in either order."""
    both = {(first, second) for pair in known for first, second in (pair, pair[::-1])}
    return pairs[[(int(first), int(second)) not in both for first, second in pairs]] if both else pairs


OPEN_PROP_CANDIDATES = (2, 0)
"""Candidates of each picture among each fold's pictures of other classes, by words and by features."""


@dataclass(frozen=True)
class LinkFinder:
    """Finds links.

    Args:
        keypoints: of all pictures, without props.
        likeness: of all pictures.
    """

    keypoints: Keypoints
    likeness: SimilarityIndex

    def links(self, rows: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pairs that are worth comparing, (n, 2) int, each once, and how many matches speak for them, (n,) int.

        Args:
            rows: (m,) int, pictures to look for.
            pool: (k,) int, pictures to look among: the same ones, or others.
        """
        pairs = find_link_candidates(self.likeness, [(rows, pool)], LINK_CANDIDATES)
        if np.array_equal(rows, pool):
            pairs = np.unique(np.sort(pairs, axis=1), axis=0)
        return pairs, count_inlier_matches(self.keypoints, pairs)


class KeypointIndex:
    """All pictures of a competition, as far as links need them.

    Args:
        keypoints: of all pictures.
        features: of the same, unit rows.
    """

    def __init__(self, keypoints: Keypoints, features: np.ndarray) -> None:
        random = np.random.default_rng(0)
        self.keypoints = keypoints.reduced(random)
        self.codes = retrieval.compute_visual_words(self.keypoints, random)
        self.likeness = SimilarityIndex(retrieval.build_idf_matrix(self.codes), features)

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
        return find_prop_words(self.keypoints, self.codes, self.likeness, where, OPEN_PROP_CANDIDATES)

    def finder(self, props: np.ndarray) -> LinkFinder:
        """Finds links by keypoints that are not of these words, (words,) bool."""
        struck = find_prop_keypoints(self.codes, props)
        codes = np.where(struck[..., None], retrieval.NO_WORD, self.codes)
        return LinkFinder(
            self.keypoints.without(struck), SimilarityIndex(retrieval.build_idf_matrix(codes), self.likeness.features)
        )
