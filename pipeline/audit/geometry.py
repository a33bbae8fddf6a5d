"""Whether two pictures show the same scene: keypoints that match, and lie alike up to a turn, a shift and a zoom."""

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from pipeline.audit.keypoints import Keypoints

RATIO = 0.8
"""A match is this much nearer than the next best (Lowe 2004, section 7.1)."""
REACH = 2.5
"""Pixels, of keypoints.SIDE, that a match may miss its place by."""
ROUNDS = 300
LEAST = 5
ZOOM = 4.0
UNUSED = -2
"""Less than any product of unit rows."""
NONE = np.empty((0, 2), int)


def agreeing(keypoints: Keypoints, pairs: np.ndarray) -> list[np.ndarray]:
    """The matches of each pair that agree on one turn, shift and zoom (RANSAC: Fischler and Bolles 1981, CACM 24).

    Args:
        keypoints: of all pictures.
        pairs: (n, 2) int, sorted by the first picture.

    Returns:
        For each pair (k, 2) int: the places of a keypoint of the first and of one of the second; empty where fewer
        than LEAST match.
    """
    from threadpoolctl import threadpool_limits

    cuts = np.flatnonzero(np.diff(pairs[:, 0])) + 1 if len(pairs) else np.empty(0, int)
    runs = [run for run in np.split(pairs, cuts) if len(run)]
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda run: _with_one(keypoints, int(run[0, 0]), run[:, 1]), runs)
        return [one for several in found for one in several]


def _with_one(keypoints: Keypoints, first: int, others: np.ndarray) -> list[np.ndarray]:
    """The agreeing matches of one picture with each of some others."""
    found = []
    for other, near in zip(others, matches(keypoints, first, others), strict=True):
        agreed = NONE
        if len(near) >= LEAST:
            agreed = near[_consensus(keypoints.points[first][near[:, 0]], keypoints.points[other][near[:, 1]])]
        found.append(agreed if len(agreed) >= LEAST else NONE)
    return found


def matches(keypoints: Keypoints, first: int, others: np.ndarray) -> list[np.ndarray]:
    """The keypoints of one picture and of each of some others that are nearest to each other, and clearly so.

    All others are compared at once: alone, a pair takes half as long again (benchmarks/matching.py).

    Returns:
        For each of the others (k, 2) int: places of keypoints of the first and of the other one.
    """
    own, counts = keypoints.descriptors[first, : keypoints.counts[first]].astype(np.float32), keypoints.counts[others]
    most, every = int(counts.max()), np.arange(len(own))
    if min(len(own), most) < LEAST:
        return [NONE] * len(others)
    other = keypoints.descriptors[others, :most].astype(np.float32)
    products = (other.reshape(-1, other.shape[2]) @ own.T).reshape(*other.shape[:2], len(own))
    products[np.arange(most) >= counts[:, None]] = UNUSED
    best, back = products.argmax(axis=1), products.argmax(axis=2)
    nearest = np.take_along_axis(products, best[:, None], axis=1)[:, 0]
    np.put_along_axis(products, best[:, None], -1, axis=1)
    clear = 1 - nearest < RATIO**2 * (1 - products.max(axis=1))
    mutual = np.take_along_axis(back, best, axis=1) == every
    return [
        np.stack([here := np.flatnonzero(kept), there[here]], axis=1)
        for kept, there in zip(clear & mutual, best, strict=True)
    ]


def _consensus(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Which of the matched points (n, 2) agree on one similarity transform of a sensible zoom, (n,) bool."""
    matrix, inside = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=ROUNDS
    )
    if matrix is None or not 1 / ZOOM < np.hypot(matrix[0, 0], matrix[1, 0]) < ZOOM:
        return np.zeros(len(here), bool)
    return inside.ravel().astype(bool)
