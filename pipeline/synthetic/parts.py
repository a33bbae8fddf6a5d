"""Draws objects made of flat parts: outlines within [-1, 1], in any colours and any pose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.synthetic.camera import Light
from pipeline.synthetic.canvas import (
    Canvas,
    Colour,
    compute_direction,
    cosine,
    join_outlines,
    rotate_points,
    sine,
    stack_points,
    tint_colour,
)
from pipeline.synthetic.rng import Rng


@dataclass(frozen=True)
class Part:
    """One outline.

    Args:
        points: (n, 2) float64, within about [-1, 1].
        tone: index of one of the object's three colours.
        shade: brightness factor.
    """

    points: np.ndarray
    tone: int = 0
    shade: float = 1.0


def sample_colours(dice: Rng) -> list[Colour]:
    """Samples three colours."""
    colours = []
    for _ in range(3):
        bright = dice.between(60, 235)
        red, green, blue = (bright * dice.between(0.25, 1) for _ in range(3))
        colours.append(tint_colour((red, green, blue), 1))
    return colours


def build_radial_outline(reach: np.ndarray, start: float = 0.0) -> np.ndarray:
    """A closed outline from its radius at evenly spaced angles, (n,): (n, 2)."""
    turns = start + np.arange(len(reach)) / len(reach)
    return stack_points(reach * cosine(turns), reach * sine(turns))


def ellipse(x: float, y: float, wide: float, high: float, turn: float = 0.0, corners: int = 24) -> np.ndarray:
    """An ellipse, turned: (corners, 2)."""
    points = build_radial_outline(np.ones(corners)) * (wide, high)
    return rotate_points(points, turn, x, y)


def mirror_points(points: np.ndarray) -> np.ndarray:
    """Mirrors points left to right."""
    return points * (-1, 1)


def build_pair(points: np.ndarray, tone: int = 0) -> list[Part]:
    """Builds a part and its mirror image."""
    return [Part(points, tone), Part(mirror_points(points), tone)]


def path(*corners: tuple[float, float]) -> np.ndarray:
    """An outline from its corners, (n, 2)."""
    return np.array(corners)


def pose_points(points: np.ndarray, dice: Rng, width: float, drift: float) -> np.ndarray:
    """Turns, foreshortens, scales and shifts the points of an object into the picture.

    Args:
        points: of the object, (n, 2).
        dice: chooses the pose.
        width: of the object as a share of the picture.
        drift: the farthest from the centre.
    """
    turn, roll, squash = dice.between(0, 1), dice.between(0, 1), 1 - abs(dice.bell(0, 0.45))
    flip = dice.pick((-1, 1))
    posed = rotate_points(points * (flip, 1), turn) * (1, squash)
    return rotate_points(posed * (width / 2), roll, 0.5 + dice.bell(0, drift), 0.5 + dice.bell(0, drift))


def add_rims(parts: Sequence[Part], shade: float) -> list[Part]:
    """Puts every part on a slightly larger, darker one, so that parts of one tone stay distinct."""
    rimmed = []
    for part in parts:
        middle = (part.points.min(0) + part.points.max(0)) / 2
        rimmed += [Part((part.points - middle) * 1.06 + middle, part.tone, part.shade * shade), part]
    return rimmed


def paint_parts(canvas: Canvas, parts: Sequence[Part], dice: Rng, light: Light, width: float, drift: float) -> None:
    """Draws an object and its shadow in random colours.

    Args:
        canvas: to draw on.
        parts: from the lowest to the highest.
        dice: chooses pose and colours.
        light: gives the shadow.
        width: of the object as a share of the picture; above 1 it fills the picture, without rims and shadow.
        drift: the farthest from the centre.
    """
    colours, shade, gloss = sample_colours(dice), dice.between(0.4, 1), dice.between(0, 0.15)
    drawn = add_rims(parts, shade) if width < 1 else parts
    flat, edges = join_outlines([part.points for part in drawn])
    points = pose_points(flat, dice, width, drift)
    if width < 1:
        offset = np.array(light.offset) * dice.between(0.02, 0.12)
        canvas.shade(points + offset, edges, light.strength, light.softness)
    shades = []
    for part in drawn:
        lit = 1 + gloss * compute_direction(light.heading + 0.37 * len(part.points))[1]
        shades.append(tint_colour(colours[part.tone], part.shade * lit))
    canvas.fill(canvas.fixed(points), edges, shades)
