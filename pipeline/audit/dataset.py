"""What every check looks at: the readable pictures, training pictures first, with what is known and seen of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


def center_and_normalize(values: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Features (pictures, width) less a centre (width,), as unit rows."""
    centred = values - centre
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


@dataclass(frozen=True, kw_only=True)
class AuditDataset:
    """The pictures of a competition.

    Args:
        names: `part/id` of each.
        digests: SHA-256 of each file.
        contents: of each something that only equal pixels share.
        files: where each picture lies, by digest.
        labels: classes of the training pictures, (training pictures,) int.
        folds: which fold holds each training picture out, (training pictures,) int.
        classes: their names.
        features: what the base sees in the plain view, (pictures, width) float32.
        in_view: gives the features of some digests in a view.
        shown: gives the pixels (n, size, size, 3) uint8 of some digests.
    """

    names: Sequence[str]
    digests: Sequence[str]
    contents: Sequence[str]
    files: Mapping[str, Path]
    labels: np.ndarray
    folds: np.ndarray
    classes: Sequence[str]
    features: np.ndarray
    in_view: Callable[[list[str], str], np.ndarray]
    shown: Callable[[list[str]], np.ndarray]

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
        """Features less their mean, as unit rows, so that a product is a cosine that means the same for every base.

        Args:
            view: of SYMMETRIES.
            rows: of these pictures; None takes all.
        """
        wanted = list(range(len(self))) if rows is None else rows.tolist()
        plain = view == "plain"
        values = self.features[wanted] if plain else self.in_view([self.digests[row] for row in wanted], view)
        return center_and_normalize(values, self.features.mean(axis=0))

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """The pixels of these pictures, (rows, size, size, 3) uint8."""
        return self.shown([self.digests[row] for row in rows])

    def label(self, row: int) -> str:
        """The class of a training picture; empty for a test picture."""
        return self.classes[self.labels[row]] if row < self.training else ""
