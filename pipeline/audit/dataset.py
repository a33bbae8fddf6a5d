"""The pictures that an audit checks: the readable ones, training pictures first, with their labels and features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


def center_and_normalize(values: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Returns features (pictures, width) less a centre (width,), as unit rows."""
    centred = values - centre
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


@dataclass(frozen=True, kw_only=True)
class AuditDataset:
    """The pictures of a competition.

    Args:
        names: `part/id` of each.
        digests: SHA-256 of each file.
        contents: of each a digest of its pixels.
        files: where each picture lies, by digest.
        labels: classes of the training pictures, (training pictures,) int.
        folds: which fold holds each training picture out, (training pictures,) int.
        classes: their names.
        features: of the base in the plain view, (pictures, width) float32.
        load_features: returns the features of some digests in a view.
        load_pixels: returns the pixels (n, size, size, 3) uint8 of some digests.
    """

    names: Sequence[str]
    digests: Sequence[str]
    contents: Sequence[str]
    files: Mapping[str, Path]
    labels: np.ndarray
    folds: np.ndarray
    classes: Sequence[str]
    features: np.ndarray
    load_features: Callable[[list[str], str], np.ndarray]
    load_pixels: Callable[[list[str]], np.ndarray]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def training(self) -> int:
        """How many training pictures there are; rows from here on are test pictures."""
        return len(self.labels)

    @property
    def part(self) -> np.ndarray:
        """0 for training and 1 for test pictures, (pictures,) int."""
        return (np.arange(len(self)) >= self.training).astype(int)

    def directions(self, view: str = "plain", rows: np.ndarray | None = None) -> np.ndarray:
        """Returns features less their mean, as unit rows, whose products are cosines comparable between bases.

        Args:
            view: of SYMMETRIES.
            rows: of these pictures; None takes all.
        """
        numbers = list(range(len(self))) if rows is None else rows.tolist()
        plain = view == "plain"
        values = self.features[numbers] if plain else self.load_features([self.digests[row] for row in numbers], view)
        return center_and_normalize(values, self.features.mean(axis=0))

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """Returns the pixels of pictures, (rows, size, size, 3) uint8."""
        return self.load_pixels([self.digests[row] for row in rows])

    def label(self, row: int) -> str:
        """Returns the class of a training picture; empty for a test picture."""
        return self.classes[self.labels[row]] if row < self.training else ""
