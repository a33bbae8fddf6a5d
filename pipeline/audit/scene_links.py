"""Links pictures of one scene (one plant on other days, a burst) by keypoints, tested by decoys; and groups them.

Two pictures of different classes cannot show the same plant. So links are searched among the pictures of each class,
and in the same way between them and as many pictures of other classes, their decoys: links to decoys are false, and
about as many links within the class are (target-decoy counting: Elias and Gygi 2007, Nature Methods 4, 207-214). Props,
which recur across classes, such as printed labels and the rim of a box, are removed first, with decoys of their own.
`KeypointIndex` also links pictures whose classes are not known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.audit.keypoints import MAX_KEYPOINTS, Keypoints, find_inlier_matches

WORD_BITS, WORD_TABLES, WORD_COMPONENTS = 16, 4, 24
BLOCK_ROWS = 512
NO_WORD = -1


def compute_visual_words(keypoints: Keypoints, random: np.random.Generator) -> np.ndarray:
    """Returns the word of every keypoint in every table, (pictures, MAX_KEYPOINTS, WORD_TABLES) int32, or NO_WORD.

    Args:
        keypoints: of all pictures, reduced.
        random: draws the planes.
    """
    codes = np.full((*keypoints.descriptors.shape[:2], WORD_TABLES), NO_WORD, np.int32)
    used = np.arange(codes.shape[1]) < keypoints.counts[:, None]
    leading = keypoints.descriptors[used][:, :WORD_COMPONENTS].astype(np.float32)
    for table in range(WORD_TABLES):
        planes = np.linalg.qr(random.normal(size=(WORD_COMPONENTS, WORD_COMPONENTS)))[0][:, :WORD_BITS]
        signs = leading @ planes.astype(np.float32) > 0
        codes[used, table] = signs @ (1 << np.arange(WORD_BITS)) + (table << WORD_BITS)
    return codes


def build_idf_matrix(codes: np.ndarray) -> sparse.csr_matrix:
    """Returns (pictures, WORD_TABLES x 2^WORD_BITS) float32: each word log(pictures / pictures with it) or 0.

    Args:
        codes: from `compute_visual_words`.
    """
    owner = np.nonzero(codes != NO_WORD)[0]
    shape = (len(codes), WORD_TABLES << WORD_BITS)
    matrix = sparse.csr_matrix((np.ones(len(owner), np.float32), (owner, codes[codes != NO_WORD])), shape=shape)
    matrix.data[:] = 1  # a word counts once, however often a picture has it
    frequency = np.bincount(matrix.indices, minlength=shape[1])
    return (matrix @ sparse.diags(np.log(len(codes) / np.maximum(frequency, 1)).astype(np.float32))).tocsr()


@dataclass(frozen=True)
class SimilarityIndex:
    """Two measures of how similar pictures are.

    Args:
        words: from `build_idf_matrix`.
        features: (pictures, width) float32, unit rows.
    """

    words: sparse.csr_matrix
    features: np.ndarray

    def candidates(self, rows: np.ndarray, pool: np.ndarray, by_words: int, by_features: int) -> np.ndarray:
        """Returns the most similar pictures of a pool: pairs (n, 2) int of a row and a picture of the pool.

        Args:
            rows: pictures to find candidates of.
            pool: pictures to find them among; a picture is never a candidate of its own.
            by_words: how many of each picture.
            by_features: how many more; a pair may be among both.
        """
        pairs = [np.empty((0, 2), int)]
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            itself = part[:, None] == pool[None]
            for scores, most in (
                ((self.words[part] @ self.words[pool].T).toarray(), by_words),
                (self.features[part] @ self.features[pool].T, by_features),
            ):
                scores[itself] = -np.inf
                pairs.append(_select_top_pairs(scores, part, pool, most))
        return np.concatenate(pairs)


def _select_top_pairs(scores: np.ndarray, rows: np.ndarray, pool: np.ndarray, most: int) -> np.ndarray:
    """Returns the `most` highest scores of each row, as pairs of pictures; without those that are -inf."""
    most = min(most, len(pool))
    places = np.argpartition(-scores, most - 1, axis=1)[:, :most] if most else np.empty((len(rows), 0), int)
    finite = np.isfinite(np.take_along_axis(scores, places, axis=1))
    return np.stack([np.repeat(rows, finite.sum(axis=1)), pool[places[finite]]], axis=1)


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
        self.codes = compute_visual_words(keypoints, random)
        self.similarity = SimilarityIndex(build_idf_matrix(self.codes), features)

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
        props = np.zeros(WORD_TABLES << WORD_BITS, bool)
        for (first, second), places in zip(pairs, find_inlier_matches(self.keypoints, pairs), strict=True):
            if len(places) >= MIN_LINK_MATCHES:
                props[self.codes[first, places[:, 0]]] = True
                props[self.codes[second, places[:, 1]]] = True
        return props

    def finder(self, props: np.ndarray) -> LinkFinder:
        """Returns a finder of links by keypoints that do not have words of props, (words,) bool."""
        removed = np.sum(props[self.codes] & (self.codes != NO_WORD), axis=2) >= MIN_PROP_WORDS
        codes = np.where(removed[..., None], NO_WORD, self.codes)
        similarity = SimilarityIndex(build_idf_matrix(codes), self.similarity.features)
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
