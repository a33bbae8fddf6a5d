"""Batches made harder: MixUp and CutMix with soft labels, and RandAugment. NumPy draws, so that a seed repeats them."""

from typing import Any

import numpy as np


def mixed(
    inputs: np.ndarray, labels: np.ndarray, random: np.random.Generator, *, mixup: float, cutmix: float
) -> tuple[np.ndarray, np.ndarray]:
    """A batch in which each input is mixed with another one, and so are the labels.

    Args:
        inputs: (n, ...) uint8 or float; for CutMix (n, height, width, channels).
        labels: (n, classes) float32.
        random: draws partner and share.
        mixup: alpha of the beta distribution of the share (Zhang et al. 2018, mixup); 0 is off.
        cutmix: the same for a pasted rectangle (Yun et al. 2019, CutMix); 0 is off. With both, one of them is drawn.

    Returns:
        inputs of the same shape and dtype, labels (n, classes) float32.
    """
    cut = cutmix > 0 and inputs.ndim == 4 and (not mixup or random.random() < 0.5)
    alpha = cutmix if cut else mixup
    if not alpha:
        return inputs, labels
    share = random.beta(alpha, alpha)
    partner = random.permutation(len(inputs))
    if cut:
        inputs, share = _pasted(inputs, inputs[partner], share, random)
    else:
        blend = share * inputs.astype(np.float32) + (1 - share) * inputs[partner].astype(np.float32)
        inputs = (np.rint(blend) if inputs.dtype == np.uint8 else blend).astype(inputs.dtype)
    return inputs, (share * labels + (1 - share) * labels[partner]).astype(np.float32)


def _pasted(
    inputs: np.ndarray, others: np.ndarray, share: float, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """A rectangle of the others on the inputs, and the share of the inputs that is left to be seen."""
    height, width = inputs.shape[1:3]
    tall, wide = np.rint(np.sqrt(1 - share) * np.array([height, width])).astype(int)
    top, left = random.integers(0, height - tall + 1), random.integers(0, width - wide + 1)
    result = inputs.copy()
    result[:, top : top + tall, left : left + wide] = others[:, top : top + tall, left : left + wide]
    return result, 1 - tall * wide / (height * width)


class RandAugment:
    """Two operations of RandAugment on every batch of pictures (Cubuk et al. 2020), by keras.layers.

    Args:
        strength: 0 to 1.
    """

    def __init__(self, strength: float) -> None:
        import keras

        self.layer: Any = keras.layers.RandAugment(value_range=(0, 255), num_ops=2, factor=strength, seed=0)

    def __call__(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Pictures (n, size, size, 3) uint8 of the same shape; `random` seeds what is drawn."""
        import keras

        self.layer.generator.state.assign(random.integers(0, 2**32, 2, dtype=np.uint32))
        values = keras.ops.convert_to_numpy(self.layer(pixels.astype(np.float32), training=True))
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
