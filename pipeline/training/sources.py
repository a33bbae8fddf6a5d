"""Where training takes its inputs from: pictures, fresh in every epoch, or cached views of which an epoch draws one.

A source gives the same for the same positions and epoch, whoever asks and in whatever order.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import cv2
import numpy as np

from pipeline.dataset import augment
from pipeline.features.rows import Rows


class Source(Protocol):
    """Inputs of pictures."""

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """Inputs (n, ...) of the pictures at these positions, as they are seen in this epoch."""
        ...


class Pictures:
    """Pixels in one view, the same in every epoch.

    Args:
        rows: (size, size, 3) uint8.
        view: one of the eight symmetries or `augment-k`.
        digests: of the pictures.
    """

    def __init__(self, rows: Rows, view: str, digests: Sequence[str]) -> None:
        self.rows, self.view, self.digests = rows, view, digests

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See Source."""
        return augment.apply(self.view, self.rows.take(positions), [self.digests[place] for place in positions])


class Augmented:
    """Pixels, augmented anew in every epoch.

    Args:
        rows: (size, size, 3) uint8.
        digests: of the pictures; with seed and epoch they decide what a picture looks like.
        seed: of the run.
        symmetries: begin with one of all eight symmetries.
        warp: go on to turn, zoom, shift and recolour.
        side_of: the side in pixels that an epoch sees; None leaves the pictures as large as they are.
    """

    def __init__(
        self,
        rows: Rows,
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

        def seen(pair: tuple[int, np.ndarray]) -> np.ndarray:
            return self._one(pair[1], int(pair[0]), epoch, side)

        return np.stack(list(self.pool.map(seen, zip(positions, pixels, strict=True))))

    def _one(self, picture: np.ndarray, position: int, epoch: int, side: int) -> np.ndarray:
        """One picture (size, size, 3) as the epoch sees it, (side, side, 3)."""
        if side != picture.shape[0]:
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        if self.symmetries or not self.warp:
            names = list(augment.SYMMETRIES)[: None if self.symmetries else 2]
            name = names[np.random.default_rng([self.seed, epoch, position]).integers(len(names))]
            picture = np.ascontiguousarray(augment.SYMMETRIES[name](picture[None])[0])
        if not self.warp:
            return picture
        return augment.augmented(picture, f"epoch-{self.seed}-{epoch}", self.digests[position])


class Fixed:
    """Cached rows, the same in every epoch."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See Source."""
        return self.rows.take(positions)


class Views:
    """Cached views of each picture; every epoch draws one of them for each.

    Args:
        views: rows of the same shape, one for each view.
        seed: of the run.
    """

    def __init__(self, views: Sequence[Rows], *, seed: int) -> None:
        self.views, self.seed = views, seed

    def choice(self, epoch: int) -> np.ndarray:
        """The number of the view that each picture is seen in, (pictures,) int."""
        return np.random.default_rng([self.seed, epoch]).integers(len(self.views), size=len(self.views[0]))

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See Source."""
        choice = self.choice(epoch)
        return np.stack([self.views[choice[place]].take([place])[0] for place in positions])


def positions_with(label_weights: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """As many positions as there are labels, drawn so that classes come up in proportion to `label_weights`.

    Args:
        label_weights: (classes,) float, any scale.
        labels: (n,) int.
        random: draws them.
    """
    chances = label_weights[labels] / np.bincount(labels, minlength=len(label_weights))[labels]
    return random.choice(len(labels), len(labels), p=chances / chances.sum())
