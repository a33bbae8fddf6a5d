"""Which pixels a polygon or a line covers, by whole numbers alone, so that no library's version can change a picture.

OpenCV 4.10 and 4.14 fill the same polygon differently; this fills all polygons of a leaf in about thirty array steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BITS = 4
"""Of a coordinate behind the point: a sixteenth of a pixel."""
HALF = (1 << (BITS - 1)) - 1


@dataclass(frozen=True)
class Edges:
    """The edges of several outlines: from which point to which, and of which outline; int64 arrays of one length."""

    here: np.ndarray
    there: np.ndarray
    owner: np.ndarray


@lru_cache(maxsize=4096)
def edges_of(ranges: tuple[tuple[int, int], ...], closed: bool = True) -> Edges:
    """The edges of outlines or lines that are given as ranges of one array of points."""
    here = np.concatenate([np.arange(start, end if closed else end - 1) for start, end in ranges])
    there = [np.r_[start + 1 : end, start] if closed else np.r_[start + 1 : end] for start, end in ranges]
    lengths = [end - start - (not closed) for start, end in ranges]
    return Edges(here, np.concatenate(there), np.repeat(np.arange(len(ranges)), lengths))


def merged(parts: Sequence[Edges], starts: Sequence[int]) -> Edges:
    """The edges of several arrays of points as those of all points in one array, where each array starts."""
    here = np.concatenate([edges.here + start for edges, start in zip(parts, starts, strict=False)])
    there = np.concatenate([edges.there + start for edges, start in zip(parts, starts, strict=False)])
    owners = np.cumsum([0, *(edges.owner[-1] + 1 for edges in parts)])
    owner = np.concatenate([edges.owner + first for edges, first in zip(parts, owners, strict=False)])
    return Edges(here, there, owner)


def joined(outlines: Sequence[np.ndarray]) -> tuple[np.ndarray, Edges]:
    """Several closed outlines, each (n, 2), as one array of points and its edges."""
    ends = np.cumsum([len(outline) for outline in outlines]).tolist()
    return np.concatenate(outlines), edges_of(tuple(zip([0, *ends[:-1]], ends, strict=True)))


def counted(counts: np.ndarray) -> np.ndarray:
    """0, 1, 2 ... up to each of the counts in turn."""
    ends = counts.cumsum()
    return np.arange(ends[-1] if len(ends) else 0) - (ends - counts).repeat(counts)


def filled(fixed: np.ndarray, edges: Edges, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels whose centres lie inside the outlines (by the even-odd rule), in the outlines' order.

    Args:
        fixed: (n, 2) int64, x and y in fixed point.
        edges: of the outlines.
        side: of the square picture.

    Returns:
        Flat indices of the pixels, and to which outline each belongs: two int64 arrays of one length.
    """
    x, y = fixed[:, 0], fixed[:, 1]
    y_here, y_there = y[edges.here], y[edges.there]
    down = y_here < y_there
    upper, lower = np.where(down, edges.here, edges.there), np.where(down, edges.there, edges.here)
    top = y[upper]
    first = np.minimum(np.maximum(top + HALF >> BITS, 0), side)
    counts = np.minimum(np.maximum(y[lower] + HALF >> BITS, 0), side) - first
    edge = np.arange(len(counts)).repeat(counts)
    row = counted(counts) + first[edge]
    start, end = upper[edge], lower[edge]
    x_start, y_start = x[start], y[start]
    below = (row << BITS) + HALF + 1 - y_start
    crossing = x_start - below * (x_start - x[end]) // (y[end] - y_start)  # rounded up
    column = np.minimum(np.maximum(crossing + HALF >> BITS, 0), side)
    keys = (edges.owner[edge] * side + row) * (side + 1) + column
    keys.sort()
    begin, widths = keys[0::2], keys[1::2] - keys[0::2]
    line = begin // (side + 1)
    owner = line // side
    flat = begin - line * (side + 1) + (line - owner * side) * side
    return flat.repeat(widths) + counted(widths), owner.repeat(widths)


def traced(fixed: np.ndarray, edges: Edges, side: int, brush: Sequence[tuple[int, int]] = ((0, 0),)) -> np.ndarray:
    """The pixels along the edges, each step touched by a brush.

    Args:
        fixed: (n, 2) int64, x and y in fixed point.
        edges: the lines.
        side: of the square picture.
        brush: the touched pixels, (right, down) of the line.

    Returns:
        Flat indices of the pixels, int64.
    """
    begin = fixed[edges.here]
    delta = fixed[edges.there] - begin
    counts = (np.abs(delta).max(1) >> BITS) + 1
    step = counted(counts)[:, None]
    spots = begin.repeat(counts, 0) + delta.repeat(counts, 0) * step // counts.repeat(counts)[:, None] >> BITS
    x = np.concatenate([spots[:, 0] + right for right, _ in brush])
    y = np.concatenate([spots[:, 1] + down for _, down in brush])
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    return (y * side + x)[inside]
