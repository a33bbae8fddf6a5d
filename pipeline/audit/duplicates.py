"""The same picture twice: found by a hash of its coarse structure in all eight symmetries, confirmed on features.

The hash is a pHash, with the same bits as imagehash's: which of the lowest frequencies of a 32 x 32 picture are above
their median. A resize and a mild recompression leave that as it is. Pictures that are dull in the same way share it
too, so features have the last word; where hashes agree to the bit or two but features do not, as of a blurred copy of
gravel, keypoints have it.
"""

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from pipeline.audit.dataset import AuditDataset
from pipeline.audit.keypoints import detect_keypoints, find_inlier_matches
from pipeline.data.transforms import SYMMETRIES

SYMMETRY_NAMES = tuple(SYMMETRIES)
MAX_HASH_BITS = 12
"""Of 64 that may differ; copies at half the size and a JPEG quality of 50 differ in at most 2."""
MAX_DISTANCE_RATIO = 0.8
"""Of the distance 1 - cosine to the best other picture. By eye, on dog-breed and plant-seedlings, every pair below it
is one photograph or two of a burst; the first that is neither has 0.86."""
NEAR_HASH_BITS, MIN_INLIER_MATCHES = 4, 12
"""So near in their hashes, so many agreeing keypoints make a pair, too."""
HASH_SIDE = 32
BLOCK_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class DuplicatePair:
    """Two pictures that are one.

    Args:
        first: row of the one.
        second: row of the other, a later one.
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
    """The hashes of pictures (n, height, width, 3) uint8 in every symmetry: (n, 8) uint64, in the order of NAMES."""
    small = [
        cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (HASH_SIDE, HASH_SIDE), interpolation=cv2.INTER_AREA)
        for picture in pictures
    ]
    if not small:
        return np.empty((0, len(SYMMETRY_NAMES)), np.uint64)
    square = np.stack(small)[..., None]
    return np.stack([perceptual_hashes(SYMMETRIES[name](square)[..., 0]) for name in SYMMETRY_NAMES], axis=1)


def perceptual_hashes(grey: np.ndarray) -> np.ndarray:
    """Hashes pictures (n, SIDE, SIDE) uint8 to (n,) uint64: a bit says whether a frequency is above their median.

    Source: hackerfactor.com, Looks Like It (2011): 64 lowest frequencies of the DCT-II.
    """
    low = fft.dctn(grey, axes=(1, 2))[:, :8, :8].reshape(-1, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def find_hash_candidates(hashed: np.ndarray, most: int = MAX_HASH_BITS) -> np.ndarray:
    """Pictures whose hashes are near in some symmetry: rows (n, 4) int of first, second, number of the view, bits.

    Args:
        hashed: (n, 8) uint64, from `compute_hashes`.
        most: bits that may differ.
    """
    found = []
    for start in range(0, len(hashed), BLOCK_ROWS):
        block = hashed[start : start + BLOCK_ROWS, 0]
        differing = np.bitwise_count(block[:, None, None] ^ hashed[None, start:])
        least = differing.min(axis=2)
        first, second = np.nonzero(least <= most)
        first, second = first[second > first], second[second > first]
        view = differing[first, second].argmin(axis=1)
        found.append(np.stack([first + start, second + start, view, least[first, second]], axis=1))
    return np.concatenate(found) if found else np.empty((0, 4), int)


def confirm_duplicates(near: np.ndarray, subject: AuditDataset) -> list[DuplicatePair]:
    """Those candidates whose pixels agree, or whose features stand out: much nearer than any other picture.

    Args:
        near: from `find_hash_candidates`, rows of the subject.
        subject: the pictures.

    Returns:
        The pairs, exact ones first, then the most similar ones.
    """
    directions, found = subject.directions(), []
    others = _compute_best_cosines(near, directions)
    for number, view in enumerate(SYMMETRY_NAMES):
        some = near[near[:, 2] == number]
        if not len(some):
            continue
        cosines = np.sum(directions[some[:, 0]] * subject.directions(view, some[:, 1]), axis=1)
        for (first, second, _, bits), cosine in zip(some.tolist(), cosines.tolist(), strict=True):
            exact = subject.contents[first] == subject.contents[second]
            clear = 1 - cosine < MAX_DISTANCE_RATIO * (1 - max(others[first], others[second]))
            if (
                exact
                or clear
                or (bits <= NEAR_HASH_BITS and _count_inliers(subject, first, second, view) >= MIN_INLIER_MATCHES)
            ):
                pair = DuplicatePair(first=first, second=second, view=view, bits=bits, similarity=cosine, exact=exact)
                found.append(pair)
    return sorted(found, key=lambda pair: (not pair.exact, -pair.similarity, pair.first, pair.second))


def _compute_best_cosines(near: np.ndarray, directions: np.ndarray) -> dict[int, float]:
    """For each picture in `near` the highest cosine with a picture that is no candidate of it."""
    paired: dict[int, list[int]] = defaultdict(list)
    for first, second in near[:, :2].tolist():
        paired[first].append(second)
        paired[second].append(first)
    found: dict[int, float] = {}
    for start in range(0, len(paired), BLOCK_ROWS):
        rows = list(paired)[start : start + BLOCK_ROWS]
        cosines = directions[rows] @ directions.T
        for number, row in enumerate(rows):
            cosines[number, [row, *paired[row]]] = -1
        found |= dict(zip(rows, cosines.max(axis=1).tolist(), strict=True))
    return found


def _count_inliers(subject: AuditDataset, first: int, second: int, view: str) -> int:
    """How many keypoints of a picture agree with those of another in a view."""
    shown = subject.pixels([first, second])
    shown[1] = SYMMETRIES[view](shown[1:])[0]
    return len(find_inlier_matches(detect_keypoints(shown), np.array([[0, 1]]))[0])
