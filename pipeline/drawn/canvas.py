"""Where shapes become pixels: polygons and lines at twice the picture's size, averaged when it is done.

Coordinates are in parts of the picture's width, (0, 0) at the top left; colours are whole RGB values.
"""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.drawn.raster import BITS, Edges, filled, joined, traced

STEPS = 4096
SINES = np.array([round(65536 * math.sin(math.tau * step / STEPS)) for step in range(STEPS)]) / 65536
"""One turn of the sine, rounded: so that no library's last digit reaches a pixel."""
COURSE: list[float] = SINES.tolist()
Colour = tuple[int, int, int]
Brush = Sequence[tuple[int, int]]
THIN: Brush = ((0, 0),)
THICK: Brush = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))


def sine(turns: np.ndarray | float) -> np.ndarray:
    """The sine of angles given in whole turns."""
    return SINES[np.rint(np.multiply(turns, STEPS)).astype(np.int64) & (STEPS - 1)]


def cosine(turns: np.ndarray | float) -> np.ndarray:
    """The cosine of angles given in whole turns."""
    return sine(np.add(turns, 0.25))


def direction(turn: float) -> tuple[float, float]:
    """Cosine and sine of one angle given in whole turns."""
    step = round(turn * STEPS)
    return COURSE[(step + STEPS // 4) % STEPS], COURSE[step % STEPS]


def rotated(points: np.ndarray, turn: float, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Points turned around the origin, then moved, (n, 2) float64."""
    along, across = direction(turn)
    x, y = points[:, 0], points[:, 1]
    return pairs(x * along - y * across + right, x * across + y * along + down)


def moved(points: np.ndarray, right: float, down: float) -> np.ndarray:
    """Points moved, (n, 2) float64."""
    return pairs(points[:, 0] + right, points[:, 1] + down)


def pairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points from their coordinates: (n, 2) float64."""
    points = np.empty((len(x), 2))
    points[:, 0], points[:, 1] = x, y
    return points


def circle(x: float, y: float, radius: float, corners: int = 20) -> np.ndarray:
    """A circle as a polygon, (corners, 2) float64."""
    turns = np.arange(corners) / corners
    return pairs(x + radius * cosine(turns), y + radius * sine(turns))


def strip(points: np.ndarray, start: float, end: float) -> np.ndarray:
    """A band along a line, tapering from half the width `start` to half the width `end`.

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
    across = pairs(-along[:, 1] * half, along[:, 0] * half)
    return np.concatenate([points + across, (points - across)[::-1]])


def tinted(colour: tuple[float, float, float], factor: float) -> Colour:
    """The colour made lighter or darker, in whole values from 0 to 255."""
    red, green, blue = int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)
    return min(255, max(0, red)), min(255, max(0, green)), min(255, max(0, blue))


class Canvas:
    """Pixels to draw on, at twice the picture's size.

    Args:
        picture: (size, size, 3) uint8, what is there before.
    """

    def __init__(self, picture: np.ndarray) -> None:
        self.size = picture.shape[0]
        self.side = 2 * self.size
        words = packed(picture.reshape(-1, 3)).reshape(self.size, self.size).repeat(2, 0).repeat(2, 1)
        self.pixels = words.view(np.uint8).reshape(self.side, self.side, 4)

    def fixed(self, points: np.ndarray) -> np.ndarray:
        """Fixed-point coordinates, (n, 2) int64."""
        return np.rint(points * (self.side << BITS)).astype(np.int64)

    def words(self) -> np.ndarray:
        """The pixels in a row, one word each: (side * side,) uint32, a view."""
        return self.pixels.reshape(-1, 4).view(np.uint32)[:, 0]

    def fill(self, fixed: np.ndarray, edges: Edges, colours: Sequence[Colour]) -> None:
        """Fills outlines given in fixed-point coordinates, each in its colour, later ones over earlier ones."""
        spots, owners = filled(fixed, edges, self.side)
        self.words()[spots] = packed(colours)[owners]

    def trace(self, fixed: np.ndarray, edges: Edges, colour: Colour, brush: Brush = THIN) -> None:
        """Draws lines given in fixed-point coordinates."""
        self.words()[traced(fixed, edges, self.side, brush)] = packed([colour])

    def polygons(self, outlines: Sequence[np.ndarray], colours: Sequence[Colour]) -> None:
        """Fills polygons, each (n, 2), later ones over earlier ones."""
        if outlines:
            points, edges = joined(outlines)
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
        mask[filled(np.rint(points * (self.size << BITS)).astype(np.int64), edges, self.size)[0]] = 255
        soft = box(box(mask.reshape(self.size, self.size), softness), 1)
        bright = (np.uint16(256) - (soft.astype(np.uint16) * np.uint16(darkness) >> 8)).repeat(2, 0).repeat(2, 1)
        self.pixels = (self.pixels * bright[:, :, None] >> 8).astype(np.uint8)

    def picture(self) -> np.ndarray:
        """The picture, each pixel the mean of four: (size, size, 3) uint8."""
        rows = self.pixels[0::2].astype(np.uint16) + self.pixels[1::2]
        return (rows[:, 0::2] + rows[:, 1::2] + 2 >> 2).astype(np.uint8)[:, :, :3]


def packed(colours: Sequence[Colour] | np.ndarray) -> np.ndarray:
    """Colours as the canvas keeps them, (n,) uint32."""
    words = np.zeros((len(colours), 4), np.uint8)
    words[:, :3] = colours
    return words.view(np.uint32)[:, 0]


def box(pixels: np.ndarray, radius: int, axes: tuple[int, ...] = (0, 1)) -> np.ndarray:
    """Each pixel's mean over a box, by whole numbers; the picture's edge is repeated.

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
