"""The batches of an epoch. Order and content depend on seed and epoch only, so that a killed run repeats them."""

import keras
import numpy as np

from pipeline.regime import Training
from pipeline.training.lessons import Targets
from pipeline.training.mixing import RandAugment, mixed
from pipeline.training.sources import Source, positions_with


class Batches(keras.utils.PyDataset):
    """What `fit` passes over: inputs, labels (batch, classes) float32, and weights (batch,) float32.

    With soft targets the labels are (batch, 2 * classes): targets after one-hot labels, mixed as they are.

    Every epoch drops the pictures that do not fill a batch, other ones each time, so that all batches have one shape.

    Args:
        source: of the inputs.
        positions: (n,) int, the pictures that are trained on.
        labels: (n,) int, their classes.
        classes: how many there are.
        regime: batch, balance, mixup, cutmix, randaugment.
        seed: of the run.
        soft: a teacher's targets.
    """

    def __init__(
        self,
        source: Source,
        positions: np.ndarray,
        labels: np.ndarray,
        classes: int,
        regime: Training,
        *,
        seed: int,
        soft: Targets | None = None,
    ) -> None:
        super().__init__(workers=1)
        self.source, self.positions, self.regime, self.seed = source, positions, regime, seed
        self.labels, self.soft = labels, soft
        self.one_hot = np.eye(classes, dtype=np.float32)[labels]
        # Classes without pictures do not count, so the weights average 1 over the pictures.
        counts = np.bincount(labels, minlength=classes)
        self.class_weights = (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)
        self.augment = RandAugment(regime.randaugment) if regime.randaugment else None
        # Never larger than the set: an epoch needs at least one full batch.
        self.batch = min(int(regime.batch or 1), len(positions))
        self.parts = 1
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Draws the order of an epoch."""
        self.epoch = epoch
        random = np.random.default_rng([self.seed, epoch])
        if self.regime.balance == "sampling":
            self.order = positions_with(np.ones_like(self.class_weights), self.labels, random)
        else:
            self.order = random.permutation(len(self.positions))

    def split(self, parts: int) -> None:
        """Makes every batch `parts` smaller ones; gradients are added up over them."""
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
        regime, labels = self.regime, self.one_hot[places]
        if self.soft is not None:
            # Appended before mixing, so that soft targets are mixed with the same shares.
            labels = np.concatenate([labels, self.soft.take(self.positions[places], self.epoch)], axis=1)
        inputs, labels = mixed(inputs, labels, random, mixup=regime.mixup or 0.0, cutmix=regime.cutmix or 0.0)
        weighted = regime.balance == "weights"
        weights = self.class_weights[self.labels[places]] if weighted else np.ones(len(places), np.float32)
        return inputs, labels, weights
