"""Keypoints: spots that are found again when the same scene is turned, enlarged or lit otherwise, by SIFT.

Lowe 2004, Int. J. Computer Vision 60, 91-110; descriptors compared by Hellinger's distance (RootSIFT: Arandjelovic and
Zisserman 2012, CVPR, section 2). What frozen features cannot say, that two pictures show the same plant and not only
the same species at the same age, the gravel around it can.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 128
"""Pixels; at 224 no more pairs were told apart on plant-seedlings, and printed labels began to match each other."""
MOST = 150
CONTRAST = 0.02
WIDTH = 128
AXES = 64
"""Principal axes of the descriptors that are kept: half the work, and as many pairs."""
SAMPLE = 50_000


@dataclass(frozen=True)
class Keypoints:
    """The strongest keypoints of n pictures, the strongest first; unused places are zero.

    Args:
        counts: (n,) int.
        points: (n, MOST, 2) float32, x and y in pixels of a square of SIDE.
        descriptors: (n, MOST, WIDTH) float16; or (n, MOST, AXES), see `reduced`. Unit rows.
    """

    counts: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def without(self, struck: np.ndarray) -> "Keypoints":
        """The keypoints that are not struck, (n, MOST) bool; the others move up."""
        used = np.arange(MOST) < self.counts[:, None]
        kept = used & ~struck
        order = np.argsort(~kept, axis=1, kind="stable")
        counts = kept.sum(axis=1)
        blank = (np.arange(MOST) >= counts[:, None])[..., None]
        points = np.take_along_axis(self.points, order[..., None], axis=1)
        descriptors = np.take_along_axis(self.descriptors, order[..., None], axis=1)
        points[np.broadcast_to(blank, points.shape)] = 0
        descriptors[np.broadcast_to(blank, descriptors.shape)] = 0
        return Keypoints(counts, points, descriptors)

    def reduced(self, random: np.random.Generator) -> "Keypoints":
        """Descriptors less their mean along their AXES leading axes, the leading one first, as unit rows.

        Args:
            random: draws the descriptors that the axes are found by.
        """
        used = np.arange(MOST) < self.counts[:, None]
        rows = self.descriptors[used]
        sample = rows[random.permutation(len(rows))[:SAMPLE]].astype(np.float32)
        centre = sample.mean(axis=0) if len(sample) else np.zeros(WIDTH, np.float32)
        axes = np.linalg.eigh((sample - centre).T @ (sample - centre))[1][:, ::-1][:, :AXES]
        descriptors = np.zeros((*used.shape, AXES), np.float16)
        turned = (rows.astype(np.float32) - centre) @ axes
        descriptors[used] = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
        return Keypoints(self.counts, self.points, descriptors)


def describe(pictures: np.ndarray) -> Keypoints:
    """The keypoints of pictures (n, height, width, 3) uint8 RGB, n >= 1, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_one, pictures))
    return Keypoints(*(np.stack(part) for part in zip(*found, strict=True)))


def joined(parts: Sequence[Keypoints]) -> Keypoints:
    """The keypoints of several sets of pictures, one after the other."""
    every = [(part.counts, part.points, part.descriptors) for part in parts]
    return Keypoints(*(np.concatenate(part) for part in zip(*every, strict=True)))


def _one(picture: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Count, points and descriptors of one picture."""
    points, descriptors = np.zeros((MOST, 2), np.float32), np.zeros((MOST, WIDTH), np.float16)
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    sift = cv2.SIFT_create(nfeatures=MOST, contrastThreshold=CONTRAST)  # type: ignore[attr-defined]
    spots, values = sift.detectAndCompute(grey, None)
    if not spots:
        return 0, points, descriptors
    order = np.argsort([-spot.response for spot in spots], kind="stable")[:MOST]
    values = values[order]
    points[: len(order)] = [spots[number].pt for number in order]
    descriptors[: len(order)] = np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9))
    return len(order), points, descriptors
