"""Things made of flat parts: outlines within [-1, 1], each with a tone, drawn in any colours and any pose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.drawn.canvas import Canvas, Colour, cosine, direction, pairs, rotated, sine, tinted
from pipeline.drawn.dice import Dice
from pipeline.drawn.light import Light
from pipeline.drawn.raster import joined


@dataclass(frozen=True)
class Part:
    """One outline.

    Args:
        points: (n, 2) float64, within about [-1, 1].
        tone: which of the thing's three colours.
        shade: how light it is.
    """

    points: np.ndarray
    tone: int = 0
    shade: float = 1.0


def hues(dice: Dice) -> list[Colour]:
    """Three colours, any."""
    found = []
    for _ in range(3):
        bright = dice.between(60, 235)
        red, green, blue = (bright * dice.between(0.25, 1) for _ in range(3))
        found.append(tinted((red, green, blue), 1))
    return found


def radial(reach: np.ndarray, start: float = 0.0) -> np.ndarray:
    """A closed outline from its radius at evenly spaced angles, (n,): (n, 2)."""
    turns = start + np.arange(len(reach)) / len(reach)
    return pairs(reach * cosine(turns), reach * sine(turns))


def ellipse(x: float, y: float, wide: float, high: float, turn: float = 0.0, corners: int = 24) -> np.ndarray:
    """An ellipse, turned: (corners, 2)."""
    points = radial(np.ones(corners)) * (wide, high)
    return rotated(points, turn, x, y)


def mirrored(points: np.ndarray) -> np.ndarray:
    """The points with left and right exchanged."""
    return points * (-1, 1)


def path(*corners: tuple[float, float]) -> np.ndarray:
    """An outline from its corners, (n, 2)."""
    return np.array(corners)


def pose(points: np.ndarray, dice: Dice, width: float, drift: float) -> np.ndarray:
    """The parts' points in the picture: turned, foreshortened, scaled and shifted.

    Args:
        points: of the thing, (n, 2).
        dice: chooses the pose.
        width: of the thing in parts of the picture.
        drift: the farthest from the centre.
    """
    turn, roll, squash = dice.between(0, 1), dice.between(0, 1), 1 - abs(dice.bell(0, 0.45))
    flip = dice.pick((-1, 1))
    every = rotated(points * (flip, 1), turn) * (1, squash)
    return rotated(every * (width / 2), roll, 0.5 + dice.bell(0, drift), 0.5 + dice.bell(0, drift))


def rimmed(parts: Sequence[Part], shade: float) -> list[Part]:
    """Every part on a slightly larger, darker one of the same form, so that parts of one tone stay apart."""
    found = []
    for part in parts:
        middle = (part.points.min(0) + part.points.max(0)) / 2
        found += [Part((part.points - middle) * 1.06 + middle, part.tone, part.shade * shade), part]
    return found


def paint_parts(canvas: Canvas, parts: Sequence[Part], dice: Dice, light: Light, width: float, drift: float) -> None:
    """Draws a thing and its shadow in colours of its own.

    Args:
        canvas: to draw on.
        parts: from the lowest to the highest.
        dice: chooses pose and colours.
        light: gives the shadow.
        width: of the thing in parts of the picture; above 1 it fills the picture, without rims and shadow.
        drift: the farthest from the centre.
    """
    colours, shade, gloss = hues(dice), dice.between(0.4, 1), dice.between(0, 0.15)
    drawn = rimmed(parts, shade) if width < 1 else parts
    flat, edges = joined([part.points for part in drawn])
    points = pose(flat, dice, width, drift)
    if width < 1:
        offset = np.array(light.offset) * dice.between(0.02, 0.12)
        canvas.shade(points + offset, edges, light.strength, light.softness)
    shades = []
    for part in drawn:
        lit = 1 + gloss * direction(light.heading + 0.37 * len(part.points))[1]
        shades.append(tinted(colours[part.tone], part.shade * lit))
    canvas.fill(canvas.fixed(points), edges, shades)
