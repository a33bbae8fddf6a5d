"""A plant as the camera sees it: turned, tilted, brought to a size that says nothing of its species, and painted."""

from collections.abc import Sequence

import numpy as np

from pipeline.drawn.canvas import THICK, Canvas, Colour, direction, pairs, rotated, tinted
from pipeline.drawn.dice import Dice
from pipeline.drawn.light import Light
from pipeline.drawn.plants import Organ
from pipeline.drawn.raster import BITS, Edges, filled, merged

GRID = 160
LARGEST = 0.84
"""Of the picture's width, for the longer side of a plant."""


def greens(dice: Dice) -> Colour:
    """A leaf's colour: from yellowish to bluish green, drawn the same for all plants."""
    green = dice.between(85, 190)
    return tinted((green * dice.between(0.45, 0.95), green, green * dice.between(0.25, 0.7)), 1)


def projected(points: np.ndarray, dice: Dice, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Points in space, (n, 3), and their shadows on the soil, as a tilted and rolled camera sees them: each (n, 2)."""
    tilt, roll = abs(dice.bell(0, 0.14)), dice.between(0, 1)
    flat, steep = direction(tilt)
    right, down = light.offset
    x, y, z = points.T
    ground = np.maximum(z, 0)
    seen = pairs(x, y * flat - z * steep)
    shadow = pairs(x + right * ground, (y + down * ground) * flat)
    return rotated(seen, roll), rotated(shadow, roll)


def fitted(seen: np.ndarray, edges: Edges, area: float, dice: Dice) -> tuple[float, np.ndarray]:
    """The scale at which the plant covers `area` of the picture, and where its origin then goes, (2,)."""
    low, high = seen.min(0), seen.max(0)
    extent = float((high - low).max())
    mask = np.zeros(GRID * GRID, bool)
    mask[filled(np.rint((seen - low) * ((GRID << BITS) / extent)).astype(np.int64), edges, GRID)[0]] = True
    covered = np.count_nonzero(mask) / GRID**2 * extent * extent
    scale = min(float(np.sqrt(area / covered)), LARGEST / extent)
    room = np.maximum(0.06, (1.0 - (high - low) * scale) / 2)
    shift = np.array([dice.bell(0, 1.0) for _ in range(2)]) * room
    return scale, 0.5 + shift - (low + high) / 2 * scale


def paint(canvas: Canvas, organs: Sequence[Organ], dice: Dice, light: Light, area: float, colour: Colour) -> None:
    """Draws a plant and its shadow.

    Args:
        canvas: to draw on.
        organs: the plant, from the lowest organ to the highest.
        dice: chooses its pose and place.
        light: gives the shadow and the leaves' shades.
        area: the part of the picture that it covers.
        colour: of its leaves.
    """
    starts = np.cumsum([0, *(len(organ.points) for organ in organs)]).tolist()
    edges = merged([organ.outline.polygons for organ in organs], starts)
    seen, shadows = projected(np.concatenate([organ.points for organ in organs]), dice, light)
    scale, origin = fitted(seen, edges, area, dice)
    canvas.shade(shadows * scale + origin, edges, light.strength, light.softness)
    whole = canvas.fixed(seen * scale + origin)
    vein, rim, gloss = dice.between(0.8, 1.35), dice.between(0.5, 0.8), dice.between(0.03, 0.22)
    for organ, start, end in zip(organs, starts[:-1], starts[1:], strict=True):
        fixed, shape, tone = whole[start:end], organ.outline, dice.bell(1, 0.16)
        lit = gloss * direction(organ.heading - light.heading)[1]
        canvas.trace(fixed, shape.polygons, tinted(colour, rim * tone), THICK)
        shades = [tinted(colour, tone * (1 + lit * side)) for side in (-1, 0, 1)]
        canvas.fill(fixed, shape.polygons, [shades[side + 1] for side in shape.sides])
        if shape.veins is not None:
            canvas.trace(fixed, shape.veins, tinted(colour, tone * vein))
