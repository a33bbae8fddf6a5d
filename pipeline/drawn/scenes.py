"""What lies under and over the subject: soils, pebbles, rims and labels; weeds, grass, straw and drops.

All of it is drawn from the same chances whatever the subject is, so that it tells nothing about it.
"""

from collections.abc import Callable

import numpy as np

from pipeline.drawn.canvas import THICK, Canvas, Colour, circle, cosine, moved, pairs, rotated, sine, strip, tinted
from pipeline.drawn.dice import Dice
from pipeline.drawn.leaves import Blade, Leaf, outline
from pipeline.drawn.light import Light, exposed, light
from pipeline.drawn.noise import window
from pipeline.drawn.raster import edges_of
from pipeline.drawn.views import greens

Painter = Callable[[Canvas, Dice, Light], None]
SOILS: dict[str, tuple[Colour, Colour, str, int]] = {
    "peat": ((58, 42, 32), (96, 76, 58), "rough", 90),
    "loam": ((112, 82, 56), (74, 54, 40), "rough", 80),
    "clay": ((150, 104, 76), (122, 92, 72), "soft", 50),
    "sand": ((190, 168, 130), (160, 136, 100), "fine", 60),
    "gravel": ((120, 116, 110), (84, 80, 76), "fine", 90),
    "moss": ((104, 108, 62), (60, 56, 38), "patchy", 80),
    "mat": ((62, 66, 76), (44, 46, 52), "fine", 60),
    "tray": ((176, 176, 172), (148, 150, 152), "soft", 24),
}
"""Of each soil: two colours, the cloud that mixes them, and how strong its grain is."""
WEEDS = (
    Blade(width=0.9, base=0.5, tip=0.5),
    Blade(width=0.35, base=0.8, tip=1.2),
    Blade(width=0.12, base=0.6, tip=0.9, veins=0),
    Blade(width=0.6, base=0.5, tip=0.9, lobes=3, cut=0.4),
)


def ground(dice: Dice, size: int) -> np.ndarray:
    """Soil, (size, size, 3) uint8."""
    name = dice.pick(tuple(SOILS))
    first, second, grain, strength = SOILS[name]
    stretch = (dice.whole(2, 6), dice.whole(2, 6))
    mix = window(dice, "patchy", size, stretch)[:, :, None]
    relief = window(dice, grain, size, stretch)
    if name == "mat":
        lines = np.arange(size) // dice.whole(1, 3) % 2 * 255
        relief = (relief + lines[None] + lines[:, None] * dice.whole(0, 1)) // 2
    drift = [dice.bell(1, 0.35)] + [dice.bell(1, 0.12) for _ in range(3)]
    low, high = (
        np.array([int(channel * drift[0] * part) for channel, part in zip(colour, drift[1:], strict=True)], np.int32)
        for colour in (first, second)
    )
    soil = (low * (256 - mix) + high * mix) >> 8
    bright = 256 + ((relief - 128) * strength * dice.whole(60, 150) // 12800)
    return np.clip(soil * bright[:, :, None] >> 8, 0, 255).astype(np.uint8)


def blob(dice: Dice, x: float, y: float, radius: float) -> np.ndarray:
    """An uneven roundish outline, (9, 2)."""
    turns = (np.arange(9) + dice.random.random(9) * 0.6) / 9
    reach = radius * (0.65 + 0.5 * dice.random.random(9))
    squash, turn = dice.between(0.5, 1), dice.between(0, 1)
    flat = pairs(reach * cosine(turns), reach * sine(turns) * squash)
    return rotated(flat, turn, x, y)


def line(canvas: Canvas, points: np.ndarray, colour: Colour) -> None:
    """A thin line through points, (n, 2)."""
    canvas.trace(canvas.fixed(points), edges_of(((0, len(points)),), closed=False), colour)


def pebbles(canvas: Canvas, dice: Dice) -> None:
    """Stones and crumbs, each with a dark side."""
    count = dice.pick((0, 6, 15, 15, 40))
    base = tinted((150, 142, 130), dice.between(0.4, 1.4))
    largest = dice.between(0.01, 0.045)
    stones, colours = [], []
    for _ in range(count):
        stone = blob(dice, dice.between(0, 1), dice.between(0, 1), dice.between(0.004, largest))
        colour = tinted(base, dice.between(0.6, 1.3))
        stones += [stone + 0.006, stone]
        colours += [tinted(colour, 0.35), colour]
    canvas.polygons(stones, colours)


def pot(canvas: Canvas, dice: Dice) -> None:
    """The rim of a pot, or the straight edge of a tray, with what lies beyond."""
    colour = dice.pick(((150, 84, 56), (40, 40, 42), (180, 180, 176), (70, 84, 92)))
    if dice.chance(0.5):
        turn, edge = dice.between(0, 1), dice.between(0.3, 0.48)
        slab = np.array([[edge, -2.0], [3.0, -2.0], [3.0, 2.0], [edge, 2.0]])
        canvas.polygon(rotated(slab, turn) + 0.5, tinted(colour, 0.6))
        canvas.polygon(rotated(moved(slab, 0.05, 0), turn) + 0.5, colour)
        return
    radius = dice.between(0.42, 0.7)
    ring = circle(dice.bell(0.5, 0.2), dice.bell(0.5, 0.2), radius, 48)
    ring = np.concatenate([ring, ring[:1]])
    canvas.polygons([strip(ring, 0.03, 0.03), strip(ring, 0.017, 0.017)], [tinted(colour, 0.5), colour])


def label(canvas: Canvas, dice: Dice) -> None:
    """A plant label or a stick, with scribbles that say nothing."""
    turn, x, y = dice.between(0, 1), dice.between(0.05, 0.95), dice.between(0.05, 0.95)
    width, length = dice.between(0.025, 0.09), dice.between(0.3, 0.7)
    colour = tinted(dice.pick(((232, 232, 226), (224, 200, 80), (190, 150, 100))), dice.between(0.6, 1))
    body = np.array([[0, -width], [length, -width], [length + width, 0], [length, width], [0, width]])
    outlines = [rotated(body, turn, x + 0.012, y + 0.012), rotated(body, turn, x, y)]
    canvas.polygons(outlines, [(26, 22, 20), colour])
    for row in range(dice.whole(0, 3)):
        places = 0.05 + 0.03 * np.arange(dice.whole(3, 8))
        marks = pairs(places, width * (0.5 * row - 0.5) + width * 0.3 * dice.random.random(len(places)))
        line(canvas, rotated(marks, turn, x, y), tinted(colour, 0.4))


def scrap(canvas: Canvas, dice: Dice, leaf: Leaf, length: float, colour: Colour) -> None:
    """A single leaf, lying anywhere."""
    shape = outline(leaf)
    flat, turn = shape.points * (length, length * dice.between(0.4, 1)), dice.between(0, 1)
    fixed = canvas.fixed(rotated(flat, turn, dice.between(0, 1), dice.between(0, 1)))
    canvas.trace(fixed, shape.polygons, tinted(colour, 0.6), THICK)
    canvas.fill(fixed, shape.polygons, [tinted(colour, 1 + 0.08 * side) for side in shape.sides])


def weeds(canvas: Canvas, dice: Dice, most: int) -> None:
    """Leaves of other plants, of a few common outlines."""
    for _ in range(dice.whole(0, most)):
        leaf = Leaf(blade=dice.pick(WEEDS), stalk=0.2)
        scrap(canvas, dice, leaf, dice.between(0.05, 0.22), greens(dice))


def blades_of_grass(canvas: Canvas, dice: Dice, most: int) -> None:
    """Grass, straw and stems that cross the picture, bent."""
    for _ in range(dice.whole(0, most)):
        steps = np.arange(8) / 7
        bow = dice.bell(0, 0.5)
        middle = pairs((steps - 0.5) * dice.between(0.4, 1.6), bow * steps * (1 - steps))
        middle = rotated(middle, dice.between(0, 1), dice.between(0, 1), dice.between(0, 1))
        straw = tinted((196, 172, 110), dice.between(0.5, 1.1))
        colour = greens(dice) if dice.chance(0.6) else straw
        width = dice.between(0.004, 0.02)
        end = width * dice.between(0.1, 1)
        bands = [strip(middle, width + 0.003, end + 0.003), strip(middle, width, end)]
        canvas.polygons(bands, [tinted(colour, 0.55), colour])
        line(canvas, middle, tinted(colour, 0.85))


def debris(canvas: Canvas, dice: Dice) -> None:
    """Crumbs of soil, dead leaves and drops of water, over everything."""
    count = dice.pick((0, 0, 4, 10))
    crumbs = [blob(dice, dice.between(0, 1), dice.between(0, 1), dice.between(0.004, 0.03)) for _ in range(count)]
    canvas.polygons(crumbs, [tinted((100, 76, 54), dice.between(0.4, 1.3)) for _ in range(count)])
    if dice.chance(0.2):
        dead = tinted((150, 108, 60), dice.between(0.5, 1.1))
        scrap(canvas, dice, Leaf(blade=dice.pick(WEEDS)), dice.between(0.1, 0.25), dead)
    for _ in range(dice.pick((0, 0, 0, 8))):
        x, y, radius = dice.between(0, 1), dice.between(0, 1), dice.between(0.006, 0.02)
        rings = [circle(x - radius * out, y - radius * out, radius * (1 - 1.5 * out), 12) for out in (0, 0.2, 0.4)]
        canvas.polygons(rings, [(70, 84, 80), (150, 164, 160), (250, 250, 250)])


def picture(dice: Dice, size: int, painter: Painter) -> np.ndarray:
    """A whole picture: ground, what lies on it, the subject, what lies over it, and the lens.

    Args:
        dice: chooses everything.
        size: side in pixels.
        painter: draws the subject.

    Returns:
        (size, size, 3) uint8.
    """
    canvas, lit = Canvas(ground(dice, size)), light(dice)
    pebbles(canvas, dice)
    if dice.chance(0.22):
        pot(canvas, dice)
    if dice.chance(0.18):
        label(canvas, dice)
    weeds(canvas, dice, 5)
    blades_of_grass(canvas, dice, 2)
    painter(canvas, dice, lit)
    weeds(canvas, dice, 2)
    blades_of_grass(canvas, dice, 3)
    debris(canvas, dice)
    return exposed(dice, canvas.picture())
