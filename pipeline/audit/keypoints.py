"""Keypoints: SIFT features that are found again when the same scene is turned, enlarged or lit otherwise.

Lowe 2004, Int. J. Computer Vision 60, 91-110; descriptors compared by Hellinger's distance (RootSIFT: Arandjelovic and
Zisserman 2012, CVPR, section 2). Two pictures show the same scene where keypoints match and lie alike up to a turn, a
shift and a zoom: the gravel around a plant shows what the features of a base cannot, that it is the same plant.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.terminal import open_bar

PICTURE_SIDE = 128
"""Pixels; at 224 no more pairs were told apart on plant-seedlings, and printed labels began to match each other."""
MAX_KEYPOINTS = 150
CONTRAST_THRESHOLD = 0.02
DESCRIPTOR_WIDTH = 128
PCA_COMPONENTS = 64
"""Principal axes of the descriptors that are kept: half the work, and as many pairs."""
PCA_SAMPLE = 50_000


@dataclass(frozen=True)
class Keypoints:
    """The strongest keypoints of n pictures, in order of strength; unused places are zero.

    Args:
        counts: (n,) int.
        points: (n, MAX_KEYPOINTS, 2) float32, x and y in pixels of a square of PICTURE_SIDE.
        descriptors: (n, MAX_KEYPOINTS, DESCRIPTOR_WIDTH or, reduced, PCA_COMPONENTS) float16, unit rows.
    """

    counts: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def used(self) -> np.ndarray:
        """Which places hold a keypoint, (n, MAX_KEYPOINTS) bool."""
        return np.arange(MAX_KEYPOINTS) < self.counts[:, None]

    def without(self, removed: np.ndarray) -> "Keypoints":
        """Returns the keypoints but those removed, (n, MAX_KEYPOINTS) bool; the others move up."""
        remaining = self.used & ~removed
        order = np.argsort(~remaining, axis=1, kind="stable")
        counts = remaining.sum(axis=1)
        blank = (np.arange(MAX_KEYPOINTS) >= counts[:, None])[..., None]
        points = np.take_along_axis(self.points, order[..., None], axis=1)
        descriptors = np.take_along_axis(self.descriptors, order[..., None], axis=1)
        points[np.broadcast_to(blank, points.shape)] = 0
        descriptors[np.broadcast_to(blank, descriptors.shape)] = 0
        return Keypoints(counts, points, descriptors)

    def reduced(self, random: np.random.Generator) -> "Keypoints":
        """Projects descriptors, less their mean, on their PCA_COMPONENTS leading principal axes, as unit rows.

        Args:
            random: draws the descriptors that the axes are found by.
        """
        used = self.used
        rows = self.descriptors[used]
        sample = rows[random.permutation(len(rows))[:PCA_SAMPLE]].astype(np.float32)
        centre = sample.mean(axis=0) if len(sample) else np.zeros(DESCRIPTOR_WIDTH, np.float32)
        axes = np.linalg.eigh((sample - centre).T @ (sample - centre))[1][:, ::-1][:, :PCA_COMPONENTS]
        descriptors = np.zeros((*used.shape, PCA_COMPONENTS), np.float16)
        projected = (rows.astype(np.float32) - centre) @ axes
        descriptors[used] = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-9)
        return Keypoints(self.counts, self.points, descriptors)


def detect_keypoints(pictures: np.ndarray) -> Keypoints:
    """Detects the keypoints of pictures (n, height, width, 3) uint8 RGB, n >= 1, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(_detect_in_picture, pictures))
    return Keypoints(*(np.stack(part) for part in zip(*parts, strict=True)))


def concatenate_keypoints(parts: Sequence[Keypoints]) -> Keypoints:
    """Returns the keypoints of several sets of pictures as one."""
    every = [(part.counts, part.points, part.descriptors) for part in parts]
    return Keypoints(*(np.concatenate(part) for part in zip(*every, strict=True)))


def shrink_to_grey(picture: np.ndarray, side: int) -> np.ndarray:
    """Returns a picture (height, width, 3) uint8 RGB as a grey square (side, side) uint8."""
    return cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (side, side), interpolation=cv2.INTER_AREA)


def _detect_in_picture(picture: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns count, points and descriptors of one picture."""
    points = np.zeros((MAX_KEYPOINTS, 2), np.float32)
    descriptors = np.zeros((MAX_KEYPOINTS, DESCRIPTOR_WIDTH), np.float16)
    sift = cv2.SIFT_create(nfeatures=MAX_KEYPOINTS, contrastThreshold=CONTRAST_THRESHOLD)  # type: ignore[attr-defined]
    spots, values = sift.detectAndCompute(shrink_to_grey(picture, PICTURE_SIDE), None)
    if not spots:
        return 0, points, descriptors
    order = np.argsort([-spot.response for spot in spots], kind="stable")[:MAX_KEYPOINTS]
    values = values[order]
    points[: len(order)] = [spots[number].pt for number in order]
    descriptors[: len(order)] = np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9))
    return len(order), points, descriptors


LOWE_RATIO = 0.8
"""A match is this much nearer than the next best (Lowe 2004, section 7.1)."""
REPROJECTION_THRESHOLD = 2.5
"""Pixels, of PICTURE_SIDE, that a match may miss its place by."""
RANSAC_ITERATIONS = 300
MIN_MATCHES = 5
MAX_ZOOM = 4.0
UNUSED_PRODUCT = -2
"""Less than any product of unit rows."""
NO_MATCHES = np.empty((0, 2), int)


def find_inlier_matches(keypoints: Keypoints, pairs: np.ndarray) -> list[np.ndarray]:
    """Finds the matches of each pair that agree on a turn, shift and zoom (RANSAC: Fischler and Bolles 1981, CACM 24).

    Args:
        keypoints: of all pictures.
        pairs: (n, 2) int, sorted by the first picture.

    Returns:
        For each pair (k, 2) int: the places of a keypoint of the first and of one of the second; empty where fewer
        than MIN_MATCHES match.
    """
    from threadpoolctl import threadpool_limits

    cuts = np.flatnonzero(np.diff(pairs[:, 0])) + 1 if len(pairs) else np.empty(0, int)
    runs = [run for run in np.split(pairs, cuts) if len(run)]
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        matches = pool.map(lambda run: _match_one_picture(keypoints, int(run[0, 0]), run[:, 1]), runs)
        return [one for several in open_bar(matches, total=len(runs), desc="match keypoints", unit="picture")
                for one in several]  # fmt: skip


def _match_one_picture(keypoints: Keypoints, first: int, others: np.ndarray) -> list[np.ndarray]:
    """Returns the agreeing matches of one picture with each of some others."""
    matches = []
    for other, near in zip(others, match_descriptors(keypoints, first, others), strict=True):
        inliers = NO_MATCHES
        if len(near) >= MIN_MATCHES:
            inliers = near[_find_inliers(keypoints.points[first][near[:, 0]], keypoints.points[other][near[:, 1]])]
        matches.append(inliers if len(inliers) >= MIN_MATCHES else NO_MATCHES)
    return matches


def match_descriptors(keypoints: Keypoints, first: int, others: np.ndarray) -> list[np.ndarray]:
    """Matches the keypoints of one picture with those of each of some others: mutually nearest, and clearly so.

    All others are compared at once: alone, a pair takes half as long again (benchmarks/matching.py).

    Returns:
        For each of the others (k, 2) int: places of keypoints of the first and of the other one.
    """
    own, counts = keypoints.descriptors[first, : keypoints.counts[first]].astype(np.float32), keypoints.counts[others]
    most, every = int(counts.max()), np.arange(len(own))
    if min(len(own), most) < MIN_MATCHES:
        return [NO_MATCHES] * len(others)
    other = keypoints.descriptors[others, :most].astype(np.float32)
    products = (other.reshape(-1, other.shape[2]) @ own.T).reshape(*other.shape[:2], len(own))
    products[np.arange(most) >= counts[:, None]] = UNUSED_PRODUCT
    best, back = products.argmax(axis=1), products.argmax(axis=2)
    nearest = np.take_along_axis(products, best[:, None], axis=1)[:, 0]
    np.put_along_axis(products, best[:, None], -1, axis=1)
    clear = 1 - nearest < LOWE_RATIO**2 * (1 - products.max(axis=1))
    mutual = np.take_along_axis(back, best, axis=1) == every
    return [
        np.stack([here := np.flatnonzero(matched), there[here]], axis=1)
        for matched, there in zip(clear & mutual, best, strict=True)
    ]


def _find_inliers(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns which matched points (n, 2) agree on one similarity transform of a sensible zoom, (n,) bool."""
    matrix, inside = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=REPROJECTION_THRESHOLD, maxIters=RANSAC_ITERATIONS
    )
    if matrix is None or not 1 / MAX_ZOOM < np.hypot(matrix[0, 0], matrix[1, 0]) < MAX_ZOOM:
        return np.zeros(len(here), bool)
    return inside.ravel().astype(bool)
