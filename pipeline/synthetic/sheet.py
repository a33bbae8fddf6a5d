"""A contact sheet: many pictures on one."""

import numpy as np


def tile_pictures(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """The pictures in rows, on black where the last row is short.

    Args:
        pictures: at least one, each (height, width, 3) uint8, all of one size.
        columns: pictures in a row.

    Returns:
        (rows * height, columns * width, 3) uint8.
    """
    rows = -(-len(pictures) // columns)
    black = [np.zeros_like(pictures[0])] * (rows * columns - len(pictures))
    return np.concatenate(
        [np.concatenate((pictures + black)[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    )
