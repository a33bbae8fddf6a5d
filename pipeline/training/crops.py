"""What pretraining sees of the drawn pictures: random crops in one of the eight symmetries, lighter or darker."""

import math
from typing import Any

import numpy as np


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Pixels as petite wants them (mode `tf` of the table): float32 in [-1, 1]."""
    return np.asarray(pixels, np.float32) / 127.5 - 1


def batches(
    pixels: np.ndarray, labels: np.ndarray, *, classes: int, crop: int, batch: int, seed: int, epoch: int
) -> Any:
    """An epoch's random crops in one of the eight symmetries, brightness and contrast drawn too.

    Args:
        pixels: (n, 128, 128, 3) uint8.
        labels: (n,) int.
        classes: how many there are.
        crop: side of the random square.
        batch: pictures a step.
        seed: of order and crops.
        epoch: its order and crops come from the seed and this number.

    Returns:
        A keras.utils.PyDataset of pictures (batch, crop, crop, 3) float32 and one-hot labels (batch, classes).
    """
    import keras

    order = np.random.default_rng([seed, epoch]).permutation(len(labels))

    class Batches(keras.utils.PyDataset):
        """Made in one thread beside the training."""

        def __len__(self) -> int:
            return math.ceil(len(labels) / batch)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            random = np.random.default_rng([seed, epoch, index])
            rows = order[index * batch : (index + 1) * batch]
            pictures = np.stack([_seen(pixels[row], crop, random) for row in rows])
            return pictures, np.eye(classes, dtype=np.float32)[labels[rows]]

    return Batches(workers=1, max_queue_size=8)


def _seen(picture: np.ndarray, crop: int, random: np.random.Generator) -> np.ndarray:
    """One picture as training sees it, (crop, crop, 3) float32 in about [-1, 1]."""
    top, left = random.integers(0, picture.shape[0] - crop + 1, 2)
    part = np.rot90(picture[top : top + crop, left : left + crop], int(random.integers(4)))
    part = part[:, ::-1] if random.random() < 0.5 else part
    return scaled(part) * random.uniform(0.8, 1.2) + random.uniform(-0.15, 0.15)
