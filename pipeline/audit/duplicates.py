"""Duplicate pictures: found by a perceptual hash in all eight symmetries, confirmed on features.

The hash is a pHash, with the same bits as imagehash's: which of the lowest frequencies of a 32 x 32 picture are above
their median. A resize and a mild recompression leave it as it is. Dull pictures may share it, too, so features decide;
where hashes agree to four bits but features do not, as of a blurred copy of gravel, keypoints decide.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy import fft

from pipeline.audit.dataset import AuditDataset
from pipeline.audit.keypoints import detect_keypoints, find_inlier_matches, shrink_to_grey
from pipeline.data.transforms import SYMMETRIES

SYMMETRY_NAMES = tuple(SYMMETRIES)
MAX_HASH_BITS = 12
"""Of 64 that may differ; copies at half the size and a JPEG quality of 50 differ in at most 2."""
MAX_DISTANCE_RATIO = 0.8
"""Of the distance 1 - cosine to the best other picture. By eye, on dog-breed and plant-seedlings, every pair below it
is one photograph or two of a burst; the first that is neither has 0.86."""
NEAR_HASH_BITS, MIN_INLIER_MATCHES = 4, 12
"""So near in their hashes, pictures with so many agreeing keypoints are a pair, too."""
HASH_SIDE = 32
BLOCK_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class DuplicatePair:
    """Two equal or nearly equal pictures.

    Args:
        first: row of the first.
        second: row of the second, a later one.
        view: the symmetry of the second that is like the first.
        bits: of the hashes that differ.
        similarity: of the features, a cosine.
        exact: whether all pixels agree.
    """

    first: int
    second: int
    view: str
    bits: int
    similarity: float
    exact: bool


def compute_hashes(pictures: np.ndarray) -> np.ndarray:
    """Hashes pictures (n, height, width, 3) uint8 in every symmetry: (n, 8) uint64, in the order of SYMMETRY_NAMES."""
    if not len(pictures):
        return np.empty((0, len(SYMMETRY_NAMES)), np.uint64)
    square = np.stack([shrink_to_grey(picture, HASH_SIDE) for picture in pictures])[..., None]
    return np.stack([perceptual_hashes(SYMMETRIES[name](square)[..., 0]) for name in SYMMETRY_NAMES], axis=1)


def perceptual_hashes(grey: np.ndarray) -> np.ndarray:
    """Hashes pictures (n, HASH_SIDE, HASH_SIDE) uint8 to (n,) uint64: a bit for each frequency above their median.

    Source: hackerfactor.com, Looks Like It (2011): 64 lowest frequencies of the DCT-II.
    """
    low = fft.dctn(grey, axes=(1, 2))[:, :8, :8].reshape(-1, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def find_hash_candidates(hashes: np.ndarray, most: int = MAX_HASH_BITS) -> np.ndarray:
    """Finds pictures with similar hashes in some symmetry: rows (n, 4) int of first, second, number of the view, bits.

    Args:
        hashes: (n, 8) uint64, from `compute_hashes`.
        most: bits that may differ.
    """
    candidates = [np.empty((0, 4), int)]
    for start in range(0, len(hashes), BLOCK_ROWS):
        block = hashes[start : start + BLOCK_ROWS, 0]
        differing = np.bitwise_count(block[:, None, None] ^ hashes[None, start:])
        least = differing.min(axis=2)
        first, second = np.nonzero(least <= most)
        first, second = first[second > first], second[second > first]
        view = differing[first, second].argmin(axis=1)
        candidates.append(np.stack([first + start, second + start, view, least[first, second]], axis=1))
    return np.concatenate(candidates)


def confirm_duplicates(candidates: np.ndarray, dataset: AuditDataset) -> list[DuplicatePair]:
    """Confirms candidates whose pixels agree, or whose features are much nearer than those of any other picture.

    Args:
        candidates: from `find_hash_candidates`, rows of the dataset.
        dataset: the pictures.

    Returns:
        The pairs, exact ones first, then the most similar ones.
    """
    directions, pairs = dataset.directions(), []
    others = _compute_best_cosines(candidates, directions)
    for number, view in enumerate(SYMMETRY_NAMES):
        rows = candidates[candidates[:, 2] == number]
        if not len(rows):
            continue
        cosines = np.sum(directions[rows[:, 0]] * dataset.directions(view, rows[:, 1]), axis=1)
        for (first, second, _, bits), cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
            exact = dataset.contents[first] == dataset.contents[second]
            clear = 1 - cosine < MAX_DISTANCE_RATIO * (1 - max(others[first], others[second]))
            if (
                exact
                or clear
                or (bits <= NEAR_HASH_BITS and _count_inliers(dataset, first, second, view) >= MIN_INLIER_MATCHES)
            ):
                pair = DuplicatePair(first=first, second=second, view=view, bits=bits, similarity=cosine, exact=exact)
                pairs.append(pair)
    return sorted(pairs, key=lambda pair: (not pair.exact, -pair.similarity, pair.first, pair.second))


def _compute_best_cosines(candidates: np.ndarray, directions: np.ndarray) -> dict[int, float]:
    """Computes for each candidate the highest cosine with a picture that it is no candidate with."""
    paired: dict[int, list[int]] = defaultdict(list)
    for first, second in candidates[:, :2].tolist():
        paired[first].append(second)
        paired[second].append(first)
    best: dict[int, float] = {}
    for start in range(0, len(paired), BLOCK_ROWS):
        rows = list(paired)[start : start + BLOCK_ROWS]
        cosines = directions[rows] @ directions.T
        for number, row in enumerate(rows):
            cosines[number, [row, *paired[row]]] = -1
        best |= dict(zip(rows, cosines.max(axis=1).tolist(), strict=True))
    return best


def _count_inliers(dataset: AuditDataset, first: int, second: int, view: str) -> int:
    """Counts the keypoints of a picture that agree with those of another in a view."""
    pixels = dataset.pixels([first, second])
    pixels[1] = SYMMETRIES[view](pixels[1:])[0]
    return len(find_inlier_matches(detect_keypoints(pixels), np.array([[0, 1]]))[0])
