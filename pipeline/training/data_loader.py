"""Batches for training: sources of inputs, MixUp, CutMix, RandAugment, class balance.

Order and content depend on seed and epoch only, so that a killed run repeats them. A source gives the same inputs for
the same positions and epoch, in whatever order they are read.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import cv2
import keras
import numpy as np

from pipeline.config import Training
from pipeline.data import transforms
from pipeline.data.row_store import MemmapRows
from pipeline.training.soft_targets import TargetSource


def mix_batch(
    inputs: np.ndarray, labels: np.ndarray, random: np.random.Generator, *, mixup: float, cutmix: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mixes each input of a batch with another one, and their labels.

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
        inputs, share = _paste_rectangle(inputs, inputs[partner], share, random)
    else:
        blend = share * inputs.astype(np.float32) + (1 - share) * inputs[partner].astype(np.float32)
        inputs = (np.rint(blend) if inputs.dtype == np.uint8 else blend).astype(inputs.dtype)
    return inputs, (share * labels + (1 - share) * labels[partner]).astype(np.float32)


def _paste_rectangle(
    inputs: np.ndarray, others: np.ndarray, share: float, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Pastes a rectangle of the others on the inputs; returns them and the share of the inputs that stays visible."""
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
        """Augments pictures (n, size, size, 3) uint8; `random` seeds the operations."""
        import keras

        self.layer.generator.state.assign(random.integers(0, 2**32, 2, dtype=np.uint32))
        values = keras.ops.convert_to_numpy(self.layer(pixels.astype(np.float32), training=True))
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class Source(Protocol):
    """Inputs of pictures."""

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """Returns the inputs (n, ...) of the pictures at these positions in this epoch."""
        ...


class PictureSource:
    """Pixels in one view, the same in every epoch.

    Args:
        rows: (size, size, 3) uint8.
        view: one of the eight symmetries or `augment-k`.
        digests: of the pictures.
    """

    def __init__(self, rows: MemmapRows, view: str, digests: Sequence[str]) -> None:
        self.rows, self.view, self.digests = rows, view, digests

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See Source."""
        return transforms.apply_view(self.view, self.rows.take(positions), [self.digests[place] for place in positions])


class AugmentedSource:
    """Pixels, augmented anew in every epoch.

    Args:
        rows: (size, size, 3) uint8.
        digests: of the pictures; with seed and epoch they decide the augmentation.
        seed: of the run.
        symmetries: begin with one of all eight symmetries.
        warp: go on to turn, zoom, shift and recolour.
        side_of: the side in pixels in an epoch; None keeps the size.
    """

    def __init__(
        self,
        rows: MemmapRows,
        digests: Sequence[str],
        *,
        seed: int,
        symmetries: bool = False,
        warp: bool = True,
        side_of: Callable[[int], int] | None = None,
    ) -> None:
        self.rows, self.digests, self.seed = rows, digests, seed
        self.symmetries, self.warp, self.side_of = symmetries, warp, side_of
        self.pool = ThreadPoolExecutor(os.cpu_count())

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See Source."""
        pixels = self.rows.take(positions)
        side = self.side_of(epoch) if self.side_of else pixels.shape[1]

        def augment(pair: tuple[int, np.ndarray]) -> np.ndarray:
            return self._augment(pair[1], int(pair[0]), epoch, side)

        return np.stack(list(self.pool.map(augment, zip(positions, pixels, strict=True))))

    def _augment(self, picture: np.ndarray, position: int, epoch: int, side: int) -> np.ndarray:
        """Augments one picture (size, size, 3); returns (side, side, 3)."""
        if side != picture.shape[0]:
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        if self.symmetries or not self.warp:
            names = list(transforms.SYMMETRIES)[: None if self.symmetries else 2]
            name = names[np.random.default_rng([self.seed, epoch, position]).integers(len(names))]
            picture = np.ascontiguousarray(transforms.SYMMETRIES[name](picture[None])[0])
        if not self.warp:
            return picture
        return transforms.augment_picture(picture, f"epoch-{self.seed}-{epoch}", self.digests[position])


class CachedSource:
    """Cached rows, the same in every epoch."""

    def __init__(self, rows: MemmapRows) -> None:
        self.rows = rows

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See Source."""
        return self.rows.take(positions)


class CachedViewSource:
    """Cached views of each picture; every epoch draws one of them for each.

    Args:
        views: rows of the same shape, one for each view.
        seed: of the run.
    """

    def __init__(self, views: Sequence[MemmapRows], *, seed: int) -> None:
        self.views, self.seed = views, seed

    def choice(self, epoch: int) -> np.ndarray:
        """Draws the number of the view of each picture in an epoch, (pictures,) int."""
        return np.random.default_rng([self.seed, epoch]).integers(len(self.views), size=len(self.views[0]))

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See Source."""
        choice = self.choice(epoch)
        return np.stack([self.views[choice[place]].take([place])[0] for place in positions])


def sample_positions(label_weights: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draws as many positions as there are labels, classes in proportion to `label_weights`.

    Args:
        label_weights: (classes,) float, any scale.
        labels: (n,) int.
        random: draws them.
    """
    chances = label_weights[labels] / np.bincount(labels, minlength=len(label_weights))[labels]
    return random.choice(len(labels), len(labels), p=chances / chances.sum())


class TrainSequence(keras.utils.PyDataset):
    """The batches of `fit`: inputs, labels (batch, classes) float32, and weights (batch,) float32.

    With soft targets the labels are (batch, 2 * classes): targets after one-hot labels, mixed as they are.

    Every epoch drops the pictures that do not fill a batch, different ones each time, so that all batches have one
    shape.

    Args:
        source: of the inputs.
        positions: (n,) int, the pictures that are trained on.
        labels: (n,) int, their classes.
        classes: how many there are.
        training: batch, balance, mixup, cutmix, randaugment.
        seed: of the run.
        soft: a teacher's targets.
    """

    def __init__(
        self,
        source: Source,
        positions: np.ndarray,
        labels: np.ndarray,
        classes: int,
        training: Training,
        *,
        seed: int,
        soft: TargetSource | None = None,
    ) -> None:
        super().__init__(workers=1)
        self.source, self.positions, self.training, self.seed = source, positions, training, seed
        self.labels, self.soft = labels, soft
        self.one_hot = np.eye(classes, dtype=np.float32)[labels]
        # Classes without pictures do not count, so the weights average 1 over the pictures.
        counts = np.bincount(labels, minlength=classes)
        self.class_weights = (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)
        self.augment = RandAugment(training.randaugment) if training.randaugment else None
        # Never larger than the set: an epoch needs at least one full batch.
        self.batch = min(int(training.batch_size or 1), len(positions))
        self.parts = 1
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Draws the order of an epoch."""
        self.epoch = epoch
        random = np.random.default_rng([self.seed, epoch])
        if self.training.balance == "sampling":
            self.order = sample_positions(np.ones_like(self.class_weights), self.labels, random)
        else:
            self.order = random.permutation(len(self.positions))

    def split(self, parts: int) -> None:
        """Splits every batch into `parts` smaller ones; gradients are added up over them."""
        self.parts = parts

    def __len__(self) -> int:
        return len(self.positions) // self.batch * self.parts

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        size = max(1, self.batch // self.parts)
        places = self.order[index * size : (index + 1) * size]
        # One generator per batch: its content does not depend on which batches were built before it.
        random = np.random.default_rng([self.seed, self.epoch, index])
        inputs = self.source.take(self.positions[places], self.epoch)
        # RandAugment needs pictures; activations at a cut are float16.
        if self.augment and inputs.dtype == np.uint8:
            inputs = self.augment(inputs, random)
        training, labels = self.training, self.one_hot[places]
        if self.soft is not None:
            # Appended before mixing, so that soft targets are mixed with the same shares.
            labels = np.concatenate([labels, self.soft.take(self.positions[places], self.epoch)], axis=1)
        inputs, labels = mix_batch(inputs, labels, random, mixup=training.mixup or 0.0, cutmix=training.cutmix or 0.0)
        weighted = training.balance == "weights"
        weights = self.class_weights[self.labels[places]] if weighted else np.ones(len(places), np.float32)
        return inputs, labels, weights
