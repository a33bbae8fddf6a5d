"""Clouds: value noise of several grains, from whole numbers only, made once a process and read at any place."""

from functools import cache

import numpy as np

from pipeline.drawn.dice import Dice

SIDE = 512
GRAINS = {
    "fine": {1: 3, 2: 4, 4: 2},
    "rough": {2: 2, 4: 4, 8: 4, 16: 2},
    "soft": {16: 2, 32: 4, 64: 2},
    "patchy": {4: 1, 8: 2, 16: 3, 32: 3},
}
"""Of each cloud: the weight of the noise of each cell size."""


def lattice(dice: Dice, cell: int) -> np.ndarray:
    """Noise with one random value a cell, linear between them, the edges meeting: (SIDE, SIDE) int32, 0 to 255."""
    values = dice.texture((SIDE // cell, SIDE // cell)).astype(np.int32)
    for axis in (0, 1):
        start = values.repeat(cell, axis)
        end = np.roll(values, -1, axis).repeat(cell, axis)
        part = np.arange(start.shape[axis], dtype=np.int32) % cell
        part = part[:, None] if axis == 0 else part[None]
        values = (start * (cell - part) + end * part) // cell
    return values


@cache
def cloud(grain: str) -> np.ndarray:
    """A tile of noise, spread over all values: (SIDE, SIDE) uint8."""
    dice = Dice(20, list(GRAINS).index(grain))
    total = sum(weight * lattice(dice, cell) for cell, weight in GRAINS[grain].items())
    total = np.asarray(total)
    low, high = int(total.min()), int(total.max())
    spread = (total - (low + high) // 2) * 320 // (high - low) + 128
    return np.clip(spread, 0, 255).astype(np.uint8)


def window(dice: Dice, grain: str, size: int, stretch: tuple[int, int] = (4, 4)) -> np.ndarray:
    """A piece of a cloud at a random place, flipped at random.

    Args:
        dice: chooses the place.
        grain: one of GRAINS.
        size: side of the piece.
        stretch: quarters of a step down and across: (4, 4) as it is, smaller is magnified.

    Returns:
        (size, size) int32, 0 to 255.
    """
    tile = cloud(grain)
    if dice.chance(0.5):
        tile = tile.T
    rows, columns = (
        (dice.whole(0, SIDE - 1) + dice.pick((-1, 1)) * (np.arange(size) * step // 4)) % SIDE for step in stretch
    )
    return tile[rows[:, None], columns].astype(np.int32)
