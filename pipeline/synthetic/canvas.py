"""Rasterises polygons and lines on a canvas of twice the picture's size, in whole numbers alone.

Coordinates are shares of the picture's width, (0, 0) at the top left; colours are whole RGB values. OpenCV 4.10 and
4.14 fill the same polygon differently; this gives the same pixels with every library version, and fills all polygons of
a leaf in about thirty array operations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FRACTION_BITS = 4
"""Fractional bits of a coordinate: a sixteenth of a pixel."""
HALF_PIXEL = (1 << (FRACTION_BITS - 1)) - 1
SINE_STEPS = 4096
SINE_TABLE = np.array([round(65536 * math.sin(math.tau * step / SINE_STEPS)) for step in range(SINE_STEPS)]) / 65536
"""One turn of the sine, rounded, so that no library's last digit reaches a pixel."""
SINE_LIST: list[float] = SINE_TABLE.tolist()
Colour = tuple[int, int, int]
Brush = Sequence[tuple[int, int]]
THIN_BRUSH: Brush = ((0, 0),)
THICK_BRUSH: Brush = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Edges:
    """The edges of several outlines: indices of both points, and of the outline; int64 arrays of one length."""

    here: np.ndarray
    there: np.ndarray
    owner: np.ndarray


@lru_cache(maxsize=4096)
def build_edges(ranges: tuple[tuple[int, int], ...], closed: bool = True) -> Edges:
    """Builds the edges of outlines or lines, each a range of one array of points."""
    here = np.concatenate([np.arange(start, end if closed else end - 1) for start, end in ranges])
    there = [np.r_[start + 1 : end, start] if closed else np.r_[start + 1 : end] for start, end in ranges]
    lengths = [end - start - (not closed) for start, end in ranges]
    return Edges(here, np.concatenate(there), np.repeat(np.arange(len(ranges)), lengths))


def merge_edges(parts: Sequence[Edges], starts: Sequence[int]) -> Edges:
    """Merges the edges of several arrays of points into those of one array, by the start of each array."""
    here = np.concatenate([edges.here + start for edges, start in zip(parts, starts, strict=False)])
    there = np.concatenate([edges.there + start for edges, start in zip(parts, starts, strict=False)])
    owners = np.cumsum([0, *(edges.owner[-1] + 1 for edges in parts)])
    owner = np.concatenate([edges.owner + first for edges, first in zip(parts, owners, strict=False)])
    return Edges(here, there, owner)


def join_outlines(outlines: Sequence[np.ndarray]) -> tuple[np.ndarray, Edges]:
    """Joins closed outlines, each (n, 2), into one array of points and its edges."""
    ends = np.cumsum([len(outline) for outline in outlines]).tolist()
    return np.concatenate(outlines), build_edges(tuple(zip([0, *ends[:-1]], ends, strict=True)))


def concatenate_ranges(counts: np.ndarray) -> np.ndarray:
    """Returns 0, 1, 2 ... up to each of the counts in turn."""
    ends = counts.cumsum()
    return np.arange(ends[-1] if len(ends) else 0) - (ends - counts).repeat(counts)


def rasterize_polygons(fixed: np.ndarray, edges: Edges, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels whose centres lie inside the outlines (by the even-odd rule), in the outlines' order.

    Args:
        fixed: (n, 2) int64, x and y in fixed point.
        edges: of the outlines.
        side: of the square picture.

    Returns:
        Flat indices of the pixels, and the outline of each: two int64 arrays of one length.
    """
    x, y = fixed[:, 0], fixed[:, 1]
    y_here, y_there = y[edges.here], y[edges.there]
    down = y_here < y_there
    upper, lower = np.where(down, edges.here, edges.there), np.where(down, edges.there, edges.here)
    top = y[upper]
    first = np.minimum(np.maximum(top + HALF_PIXEL >> FRACTION_BITS, 0), side)
    counts = np.minimum(np.maximum(y[lower] + HALF_PIXEL >> FRACTION_BITS, 0), side) - first
    edge = np.arange(len(counts)).repeat(counts)
    row = concatenate_ranges(counts) + first[edge]
    start, end = upper[edge], lower[edge]
    x_start, y_start = x[start], y[start]
    below = (row << FRACTION_BITS) + HALF_PIXEL + 1 - y_start
    crossing = x_start - below * (x_start - x[end]) // (y[end] - y_start)  # rounded up
    column = np.minimum(np.maximum(crossing + HALF_PIXEL >> FRACTION_BITS, 0), side)
    keys = (edges.owner[edge] * side + row) * (side + 1) + column
    keys.sort()
    begin, widths = keys[0::2], keys[1::2] - keys[0::2]
    line = begin // (side + 1)
    owner = line // side
    flat = begin - line * (side + 1) + (line - owner * side) * side
    return flat.repeat(widths) + concatenate_ranges(widths), owner.repeat(widths)


def rasterize_lines(
    fixed: np.ndarray, edges: Edges, side: int, brush: Sequence[tuple[int, int]] = ((0, 0),)
) -> np.ndarray:
    """Returns the pixels along the edges, each step widened by a brush.

    Args:
        fixed: (n, 2) int64, x and y in fixed point.
        edges: the lines.
        side: of the square picture.
        brush: offsets (right, down) of its pixels from the line.

    Returns:
        Flat indices of the pixels, int64.
    """
    begin = fixed[edges.here]
    delta = fixed[edges.there] - begin
    counts = (np.abs(delta).max(1) >> FRACTION_BITS) + 1
    step = concatenate_ranges(counts)[:, None]
    spots = begin.repeat(counts, 0) + delta.repeat(counts, 0) * step // counts.repeat(counts)[:, None] >> FRACTION_BITS
    x = np.concatenate([spots[:, 0] + right for right, _ in brush])
    y = np.concatenate([spots[:, 1] + down for _, down in brush])
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    return (y * side + x)[inside]


def sine(turns: np.ndarray | float) -> np.ndarray:
    """Returns the sine of angles in turns."""
    return SINE_TABLE[np.rint(np.multiply(turns, SINE_STEPS)).astype(np.int64) & (SINE_STEPS - 1)]


def cosine(turns: np.ndarray | float) -> np.ndarray:
    """Returns the cosine of angles in turns."""
    return sine(np.add(turns, 0.25))


def compute_direction(turn: float) -> tuple[float, float]:
    """Returns cosine and sine of one angle in turns."""
    step = round(turn * SINE_STEPS)
    return SINE_LIST[(step + SINE_STEPS // 4) % SINE_STEPS], SINE_LIST[step % SINE_STEPS]


def rotate_points(points: np.ndarray, turn: float, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Rotates points around the origin, then shifts them, (n, 2) float64."""
    along, across = compute_direction(turn)
    x, y = points[:, 0], points[:, 1]
    return stack_points(x * along - y * across + right, x * across + y * along + down)


def shift_points(points: np.ndarray, right: float, down: float) -> np.ndarray:
    """Shifts points, (n, 2) float64."""
    return stack_points(points[:, 0] + right, points[:, 1] + down)


def stack_points(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Stacks coordinates to points, (n, 2) float64."""
    points = np.empty((len(x), 2))
    points[:, 0], points[:, 1] = x, y
    return points


def circle(x: float, y: float, radius: float, corners: int = 20) -> np.ndarray:
    """Returns a circle as a polygon, (corners, 2) float64."""
    turns = np.arange(corners) / corners
    return stack_points(x + radius * cosine(turns), y + radius * sine(turns))


def strip(points: np.ndarray, start: float, end: float) -> np.ndarray:
    """Returns a band along a line, tapering from half the width `start` to half the width `end`.

    Args:
        points: (n, 2), n at least 2.
        start: half the width at the first point.
        end: half the width at the last point.

    Returns:
        (2 n, 2) float64, a closed outline.
    """
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    length = np.sqrt(along[:, 0] ** 2 + along[:, 1] ** 2) + 1e-9
    half = (start + (end - start) * np.arange(len(points)) / (len(points) - 1)) / length
    across = stack_points(-along[:, 1] * half, along[:, 0] * half)
    return np.concatenate([points + across, (points - across)[::-1]])


def tint_colour(colour: tuple[float, float, float], factor: float) -> Colour:
    """Multiplies a colour by a factor, in whole values from 0 to 255."""
    red, green, blue = (min(255, max(0, int(channel * factor))) for channel in colour)
    return red, green, blue


class Canvas:
    """Pixels to draw on, at twice the picture's size.

    Args:
        picture: (size, size, 3) uint8, the background.
    """

    def __init__(self, picture: np.ndarray) -> None:
        self.size = picture.shape[0]
        self.side = 2 * self.size
        packed = pack_colours(picture.reshape(-1, 3)).reshape(self.size, self.size).repeat(2, 0).repeat(2, 1)
        self.pixels = packed.view(np.uint8).reshape(self.side, self.side, 4)

    def fixed(self, points: np.ndarray) -> np.ndarray:
        """Returns fixed-point coordinates, (n, 2) int64."""
        return np.rint(points * (self.side << FRACTION_BITS)).astype(np.int64)

    def packed(self) -> np.ndarray:
        """Returns a flat view of the pixels, one word each: (side * side,) uint32."""
        return self.pixels.reshape(-1, 4).view(np.uint32)[:, 0]

    def fill(self, fixed: np.ndarray, edges: Edges, colours: Sequence[Colour]) -> None:
        """Fills outlines given in fixed-point coordinates, each in its colour, later ones over earlier ones."""
        spots, owners = rasterize_polygons(fixed, edges, self.side)
        self.packed()[spots] = pack_colours(colours)[owners]

    def trace(self, fixed: np.ndarray, edges: Edges, colour: Colour, brush: Brush = THIN_BRUSH) -> None:
        """Draws lines given in fixed-point coordinates."""
        self.packed()[rasterize_lines(fixed, edges, self.side, brush)] = pack_colours([colour])

    def polygons(self, outlines: Sequence[np.ndarray], colours: Sequence[Colour]) -> None:
        """Fills polygons, each (n, 2), later ones over earlier ones."""
        if outlines:
            points, edges = join_outlines(outlines)
            self.fill(self.fixed(points), edges, colours)

    def polygon(self, points: np.ndarray, colour: Colour) -> None:
        """Fills one polygon, (n, 2)."""
        self.polygons([points], [colour])

    def shade(self, points: np.ndarray, edges: Edges, darkness: int, softness: int) -> None:
        """Darkens the pixels under outlines.

        Args:
            points: (n, 2).
            edges: of the outlines.
            darkness: 0 (none) to 256 (black).
            softness: radius of the shadow's edge in pixels of the picture.
        """
        mask = np.zeros(self.size * self.size, np.uint8)
        fixed = np.rint(points * (self.size << FRACTION_BITS)).astype(np.int64)
        mask[rasterize_polygons(fixed, edges, self.size)[0]] = 255
        soft = apply_box_blur(apply_box_blur(mask.reshape(self.size, self.size), softness), 1)
        bright = (np.uint16(256) - (soft.astype(np.uint16) * np.uint16(darkness) >> 8)).repeat(2, 0).repeat(2, 1)
        self.pixels = (self.pixels * bright[:, :, None] >> 8).astype(np.uint8)

    def picture(self) -> np.ndarray:
        """Returns the picture, each pixel the mean of four: (size, size, 3) uint8."""
        rows = self.pixels[0::2].astype(np.uint16) + self.pixels[1::2]
        return (rows[:, 0::2] + rows[:, 1::2] + 2 >> 2).astype(np.uint8)[:, :, :3]


def pack_colours(colours: Sequence[Colour] | np.ndarray) -> np.ndarray:
    """Packs colours into one word each, (n,) uint32."""
    packed = np.zeros((len(colours), 4), np.uint8)
    packed[:, :3] = colours
    return packed.view(np.uint32)[:, 0]


def apply_box_blur(pixels: np.ndarray, radius: int, axes: tuple[int, ...] = (0, 1)) -> np.ndarray:
    """Averages each pixel over a box, in whole numbers; the picture's edge is repeated.

    Args:
        pixels: (height, width) or (height, width, 3) uint8.
        radius: of the box; 0 changes nothing.
        axes: along which to blur.

    Returns:
        The same shape, uint8.
    """
    for axis in axes if radius else ():
        length = pixels.shape[axis]
        padding = [(radius, radius) if other == axis else (0, 0) for other in range(pixels.ndim)]
        padded = np.pad(pixels, padding, "edge").astype(np.uint16)
        total = np.full(pixels.shape, radius, np.uint16)
        for shift in range(2 * radius + 1):
            total += padded[shift : shift + length] if axis == 0 else padded[:, shift : shift + length]
        pixels = (total // np.uint16(2 * radius + 1)).astype(np.uint8)
    return pixels
