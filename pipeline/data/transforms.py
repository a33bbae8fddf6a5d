"""Computes views of a picture: the eight symmetries of the square, and seeded augmentations."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

AUGMENTATION_VERSION = 1
"""Of the augmentations below; enters the cache key of their features, and changes with any of them."""
MAX_DEGREES = 15.0
MAX_ZOOM = 0.15
MAX_SHIFT = 0.08
MAX_BRIGHTNESS = 25.0
MAX_CONTRAST = 0.2
MAX_TINT = 8.0

SYMMETRIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": lambda pixels: pixels,
    "flip": lambda pixels: pixels[:, :, ::-1],
    "flip-vertical": lambda pixels: pixels[:, ::-1],
    "rotate90": lambda pixels: np.rot90(pixels, 1, (1, 2)),
    "rotate180": lambda pixels: np.rot90(pixels, 2, (1, 2)),
    "rotate270": lambda pixels: np.rot90(pixels, 3, (1, 2)),
    "transpose": lambda pixels: pixels.swapaxes(1, 2),
    "transverse": lambda pixels: np.rot90(pixels, 2, (1, 2)).swapaxes(1, 2),
}
"""The views of names.SYMMETRY_VIEWS, named as in PIL.Image.Transpose; rotations are counterclockwise.

Their order is that in which training draws them and the audit numbers them, so it stays.
"""
VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {**SYMMETRIES}
"""The views of names.VIEWS: each from pictures (n, size, size, 3) uint8 to as many of the same size.

A name is part of the key of cached features, so that a view which changes takes another name.
"""


def apply_view(view: str, pixels: np.ndarray, digests: Sequence[str]) -> np.ndarray:
    """Returns the pictures in a view.

    Args:
        view: one of VIEWS, or `augment-k`.
        pixels: (n, size, size, 3) uint8.
        digests: SHA-256 of each picture's bytes, which seeds its augmentation whatever batch it is in.

    Returns:
        (n, size, size, 3) uint8, contiguous.
    """
    if view in VIEWS:
        return np.ascontiguousarray(VIEWS[view](pixels))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = zip(pixels, digests, strict=True)
        return np.stack(list(pool.map(lambda job: augment_picture(job[0], view, job[1]), jobs)))


def augment_picture(picture: np.ndarray, view: str, digest: str) -> np.ndarray:
    """Flips, turns, zooms and shifts a picture in one warp, and recolours it by one table.

    Args:
        picture: (size, size, 3) uint8.
        view: enters the seed.
        digest: enters the seed.
    """
    seed = int.from_bytes(hashlib.sha256(f"{view} {digest}".encode()).digest()[:8])
    random = np.random.default_rng(seed)
    size = picture.shape[0]
    centre = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D(
        (centre, centre), random.uniform(-MAX_DEGREES, MAX_DEGREES), random.uniform(1 - MAX_ZOOM, 1 + MAX_ZOOM)
    )
    matrix[:, 2] += random.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * size
    if random.random() < 0.5:
        matrix = matrix @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1]])
    warped = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    contrast = random.uniform(1 - MAX_CONTRAST, 1 + MAX_CONTRAST)
    offsets = random.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS) + random.uniform(-MAX_TINT, MAX_TINT, 3)
    levels = (np.arange(256)[:, None] - 128) * contrast + 128 + offsets
    return cv2.LUT(warped, np.clip(levels, 0, 255).round().astype(np.uint8)[None])
