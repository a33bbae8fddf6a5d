"""Links between pictures of one scene (one plant on other days, a burst), found by keypoints and tested by decoys.

Two pictures of different classes cannot show the same plant. So links are searched among the pictures of each class,
and in the same way between them and as many pictures of other classes, their decoys: links to decoys are false, and
about as many links within the class are (target-decoy counting: Elias and Gygi 2007, Nature Methods 4, 207-214). Props,
which recur across classes, such as printed labels and the rim of a box, are removed first, with decoys of their own.
`KeypointIndex` also links pictures whose classes are not known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit import retrieval
from pipeline.audit.keypoints import MAX_KEYPOINTS, Keypoints, find_inlier_matches
from pipeline.audit.retrieval import NO_WORD, SimilarityIndex

MAX_FALSE_SHARE = 0.01
"""Largest share of false links, as the decoys estimate it."""
MIN_LINK_MATCHES = 6
"""Agreeing matches that a link needs; fixing a turn, a shift and a zoom takes two."""
SURE_LINK_MATCHES = 12
MIN_PROP_WORDS = 2
"""Words of a keypoint that are known from props; by chance 5 % of the keypoints of plant-seedlings have two."""
LINK_CANDIDATES, PROP_CANDIDATES, OPEN_PROP_CANDIDATES = (20, 10), (8, 0), (2, 0)
"""Candidates of each picture, by words and by features: for links, for props, and for props of one fold's pictures."""
Search = tuple[np.ndarray, np.ndarray]
"""Pictures, and the pool of pictures that their candidates come from."""


@dataclass(frozen=True, kw_only=True)
class SceneLinks:
    """Pairs of pictures that show one scene.

    Args:
        pairs: (n, 2) int, of training pictures of one class, the strongest first.
        strength: (n,) int, how many matches agree.
        threshold: the strength that a link needs.
        false_share: of the links, as the decoys estimate it.
        prop_share: of the keypoints, that recur across classes.
        test_pairs: (m, 2) int, of a test and a training picture, links of at least that strength.
    """

    pairs: np.ndarray
    strength: np.ndarray
    threshold: int
    false_share: float
    prop_share: float
    test_pairs: np.ndarray


@dataclass(frozen=True)
class LinkFinder:
    """Finds links.

    Args:
        keypoints: of all pictures, without props.
        similarity: of all pictures.
    """

    keypoints: Keypoints
    similarity: SimilarityIndex

    def links(self, rows: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pairs that are worth comparing, (n, 2) int, each once, and how many matches agree, (n,) int.

        Args:
            rows: (m,) int, pictures to find links of.
            pool: (k,) int, pictures to find them among: the same ones, or others.
        """
        pairs = find_link_candidates(
            self.similarity, [(rows, pool)], LINK_CANDIDATES, unordered=np.array_equal(rows, pool)
        )
        return pairs, count_inlier_matches(self.keypoints, pairs)


class KeypointIndex:
    """All pictures of a competition, indexed by their keypoints.

    Args:
        keypoints: of all pictures.
        features: of the same, unit rows.
        random: draws the planes of visual words; without it they are drawn from seed 0, once keypoints are reduced.
    """

    def __init__(self, keypoints: Keypoints, features: np.ndarray, random: np.random.Generator | None = None) -> None:
        if random is None:
            random = np.random.default_rng(0)
            keypoints = keypoints.reduced(random)
        self.keypoints = keypoints
        self.codes = retrieval.compute_visual_words(keypoints, random)
        self.similarity = SimilarityIndex(retrieval.build_idf_matrix(self.codes), features)

    def props(self, rows: np.ndarray, labels: np.ndarray, pool: np.ndarray, pool_labels: np.ndarray) -> np.ndarray:
        """Returns the words that recur between pictures and pictures of other classes, (words,) bool.

        Args:
            rows: (m,) int, pictures.
            labels: (m,) int, their classes; no other picture's class is used.
            pool: (k,) int, pictures to compare with: the same ones, or others.
            pool_labels: (k,) int.
        """
        random, searches = np.random.default_rng(0), []
        for label in np.unique(labels):
            own, others = rows[labels == label], random.permutation(pool[pool_labels != label])
            searches.append((own, others[: max(1, len(own) - 1)]))
        return self.find_prop_words(searches, OPEN_PROP_CANDIDATES)

    def find_prop_words(self, searches: Sequence[Search], most: tuple[int, int]) -> np.ndarray:
        """Returns the words that recur between pictures that cannot show one scene, (words,) bool.

        Args:
            searches: pictures, and pictures of other classes to compare them with.
            most: candidates of each picture, by words and by features.
        """
        pairs = find_link_candidates(self.similarity, searches, most)
        props = np.zeros(retrieval.WORD_TABLES << retrieval.WORD_BITS, bool)
        for (first, second), places in zip(pairs, find_inlier_matches(self.keypoints, pairs), strict=True):
            if len(places) >= MIN_LINK_MATCHES:
                props[self.codes[first, places[:, 0]]] = True
                props[self.codes[second, places[:, 1]]] = True
        return props

    def finder(self, props: np.ndarray) -> LinkFinder:
        """Returns a finder of links by keypoints that do not have words of props, (words,) bool."""
        removed = np.sum(props[self.codes] & (self.codes != NO_WORD), axis=2) >= MIN_PROP_WORDS
        codes = np.where(removed[..., None], NO_WORD, self.codes)
        similarity = SimilarityIndex(retrieval.build_idf_matrix(codes), self.similarity.features)
        return LinkFinder(self.keypoints.without(removed), similarity)


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
    index = KeypointIndex(keypoints, features, random)
    finder = index.finder(index.find_prop_words([(own, first) for own, first, _ in pools], PROP_CANDIDATES))
    own = find_link_candidates(finder.similarity, [(own, own) for own, *_ in pools], LINK_CANDIDATES, unordered=True)
    foreign = find_link_candidates(finder.similarity, [(own, second) for own, _, second in pools], LINK_CANDIDATES)
    foreign = _exclude_pairs(foreign, conflicts)
    strength, decoy = (count_inlier_matches(finder.keypoints, pairs) for pairs in (own, foreign))
    threshold, false_share = calibrate_threshold(strength, decoy, _compute_decoy_weights(labels, pools)[foreign[:, 0]])
    test_pairs, test_strength = finder.links(np.arange(len(labels), len(keypoints)), np.arange(len(labels)))
    order = np.argsort(-strength, kind="stable")[: np.sum(strength >= threshold)]
    used = keypoints.counts.sum()
    return SceneLinks(
        pairs=own[order],
        strength=strength[order],
        threshold=threshold,
        false_share=false_share,
        prop_share=float((used - finder.keypoints.counts.sum()) / max(used, 1)),
        test_pairs=test_pairs[test_strength >= threshold],
    )


def sample_decoys(labels: np.ndarray, random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns for each class its pictures, and two disjoint sets of others, at most as large.

    Args:
        labels: (pictures,) int.
        random: draws the others.
    """
    pools = []
    for label in np.unique(labels):
        own, others = np.flatnonzero(labels == label), random.permutation(np.flatnonzero(labels != label))
        half, most = len(others) // 2, max(1, len(own) - 1)
        pools.append((own, others[:half][:most], others[half:][:most]))
    return pools


def calibrate_threshold(strength: np.ndarray, decoy: np.ndarray, weights: np.ndarray) -> tuple[int, float]:
    """Finds the least strength at which few enough links are false, and the share that is.

    One decoy more is counted than there are, so that no decoy among few links does not count as none among many (Barber
    and Candes 2015, Annals of Statistics 43, equation 1.9); from SURE_LINK_MATCHES on, the counts themselves do.

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


def find_link_candidates(
    similarity: SimilarityIndex, searches: Sequence[Search], most: tuple[int, int], *, unordered: bool = False
) -> np.ndarray:
    """Returns the most similar pictures of each search's pool, (n, 2) int, sorted, each pair once.

    Args:
        similarity: of all pictures.
        searches: pictures and pools.
        most: candidates of each picture, by words and by features.
        unordered: take (a, b) and (b, a) for one pair.
    """
    parts = [similarity.candidates(rows, pool, *most) for rows, pool in searches]
    pairs = np.concatenate([np.empty((0, 2), int), *parts])
    return np.unique(np.sort(pairs, axis=1) if unordered else pairs, axis=0)


def count_inlier_matches(keypoints: Keypoints, pairs: np.ndarray) -> np.ndarray:
    """Counts the matches of each pair that agree, (n,) int."""
    return np.array([len(places) for places in find_inlier_matches(keypoints, pairs)], int)


def _compute_decoy_weights(
    labels: np.ndarray, pools: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Returns for each training picture how many others of its class there are for each of its decoys."""
    weights = np.ones(len(labels))
    for own, _, second in pools:
        weights[own] = max(1, len(own) - 1) / max(1, len(second))
    return weights


def _exclude_pairs(pairs: np.ndarray, excluded: Iterable[tuple[int, int]]) -> np.ndarray:
    """Returns the pairs without those that are excluded, in either order."""
    both = {(first, second) for pair in excluded for first, second in (pair, pair[::-1])}
    return pairs[[(int(first), int(second)) not in both for first, second in pairs]] if both else pairs
