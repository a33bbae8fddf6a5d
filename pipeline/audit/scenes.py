"""Pictures of one scene: the same plant on other days, a burst, one box; linked by keypoints, vouched for by decoys.

Two pictures of different classes cannot show the same plant. So every class is searched for links among its own
pictures, and in the same way among as many of other classes, its decoys: links to decoys are false, and about as many
links within the class are (target-decoy counting: Elias and Gygi 2007, Nature Methods 4, 207-214). What recurs across
classes, such as printed labels and the rim of a box, is struck first, with decoys of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit import geometry, retrieval
from pipeline.audit.keypoints import MOST, Keypoints
from pipeline.audit.retrieval import Likeness

FALSE_SHARE = 0.01
"""Of the links, by the decoys' count, at most."""
FEWEST = 6
"""Agreeing matches that a link needs; fixing a turn, a shift and a zoom takes two."""
SURE = 12
PROP_WORDS = 2
"""Of a keypoint's words, that are known from props; by chance 5 % of the keypoints of plant-seedlings have two."""
TO_FIND, TO_STRIKE = (20, 10), (8, 0)
"""Candidates of each picture, by words and by features."""


@dataclass(frozen=True, kw_only=True)
class Links:
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


def linked(
    keypoints: Keypoints,
    features: np.ndarray,
    labels: np.ndarray,
    conflicts: Iterable[tuple[int, int]],
    random: np.random.Generator,
) -> Links:
    """Links pictures of one scene.

    Args:
        keypoints: of the training pictures, and after them of the test pictures.
        features: of the same, unit rows.
        labels: classes of the training pictures.
        conflicts: pairs of equal pictures in different classes, which are no decoys.
        random: draws planes and decoys.
    """
    keypoints = keypoints.reduced(random)
    pools = decoys(labels, random)
    codes = retrieval.codes(keypoints, random)
    likeness = Likeness(retrieval.words(codes), features)
    told = props(keypoints, codes, likeness, [(own, first) for own, first, _ in pools], TO_STRIKE)
    struck = recurring(codes, told)
    used = keypoints.counts.sum()
    keypoints = keypoints.without(struck)
    codes[struck] = retrieval.NOTHING
    likeness = Likeness(retrieval.words(codes), features)
    own = np.unique(np.sort(searched(likeness, [(own, own) for own, *_ in pools], TO_FIND), axis=1), axis=0)
    foreign = _not_in(searched(likeness, [(own, second) for own, _, second in pools], TO_FIND), conflicts)
    strength, decoy = strengths(keypoints, own), strengths(keypoints, foreign)
    least, false_share = calibrated(strength, decoy, _weights(labels, pools)[foreign[:, 0]])
    tests = np.arange(len(labels), len(keypoints))
    across = searched(likeness, [(tests, np.arange(len(labels)))], TO_FIND)
    order = np.argsort(-strength, kind="stable")[: np.sum(strength >= least)]
    return Links(
        pairs=own[order],
        strength=strength[order],
        least=least,
        false_share=false_share,
        struck=float(struck.sum() / max(used, 1)),
        across=across[strengths(keypoints, across) >= least],
    )


def decoys(labels: np.ndarray, random: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
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


def calibrated(strength: np.ndarray, decoy: np.ndarray, weights: np.ndarray) -> tuple[int, float]:
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
    for least in range(FEWEST, MOST + 1):
        links, false = np.sum(strength >= least), float(weights[decoy >= least].sum())
        if links and (false + (least < SURE)) / links <= FALSE_SHARE:
            return least, false / links
    return MOST + 1, 0.0


def props(
    keypoints: Keypoints,
    codes: np.ndarray,
    likeness: Likeness,
    where: Sequence[tuple[np.ndarray, np.ndarray]],
    most: tuple[int, int],
) -> np.ndarray:
    """The words of what recurs between pictures that cannot show one scene, (words,) bool.

    Args:
        keypoints: of all pictures, reduced.
        codes: of the same, from `retrieval.codes`.
        likeness: of the same.
        where: pictures, and for each set of them the pictures of other classes to look among.
        most: candidates of each picture, by words and by features.
    """
    pairs = searched(likeness, where, most)
    known = np.zeros(retrieval.TABLES << retrieval.BITS, bool)
    for (first, second), place in zip(pairs, geometry.agreeing(keypoints, pairs), strict=True):
        if len(place) >= FEWEST:
            known[codes[first, place[:, 0]]] = True
            known[codes[second, place[:, 1]]] = True
    return known


def searched(likeness: Likeness, where: Sequence[tuple[np.ndarray, np.ndarray]], most: tuple[int, int]) -> np.ndarray:
    """Candidates of some pictures in a pool each, (n, 2) int, sorted."""
    found = [likeness.candidates(rows, pool, *most) for rows, pool in where]
    return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), int)


def recurring(codes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The keypoints whose words are known from props, (pictures, places) bool."""
    return np.sum(known[codes] & (codes != retrieval.NOTHING), axis=2) >= PROP_WORDS


def strengths(keypoints: Keypoints, pairs: np.ndarray) -> np.ndarray:
    """How many matches of each pair agree, (n,) int."""
    return np.array([len(places) for places in geometry.agreeing(keypoints, pairs)], int)


def _weights(labels: np.ndarray, pools: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """For each training picture, how many others of its class there are for each of its decoys."""
    found = np.ones(len(labels))
    for own, _, second in pools:
        found[own] = max(1, len(own) - 1) / max(1, len(second))
    return found


def _not_in(pairs: np.ndarray, known: Iterable[tuple[int, int]]) -> np.ndarray:
    """The pairs without those that are known, in either order."""
    both = {(first, second) for pair in known for first, second in (pair, pair[::-1])}
    return pairs[[(int(first), int(second)) not in both for first, second in pairs]] if both else pairs
