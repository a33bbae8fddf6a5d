"""Draws the scene around a subject: soil, pebbles, pots and labels below, weeds and drops above.

Everything has the same distribution for every subject, so that a background does not give the class away.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from pipeline.synthetic.camera import Light, sample_leaf_colour, sample_light, simulate_camera
from pipeline.synthetic.canvas import (
    THICK_BRUSH,
    Canvas,
    Colour,
    build_edges,
    circle,
    cosine,
    rotate_points,
    shift_points,
    sine,
    stack_points,
    strip,
    tint_colour,
)
from pipeline.synthetic.leaves import Blade, Leaf, build_leaf_outline
from pipeline.synthetic.rng import Rng

TILE_SIDE = 512
NOISE_WEIGHTS = {
    "fine": {1: 3, 2: 4, 4: 2},
    "rough": {2: 2, 4: 4, 8: 4, 16: 2},
    "soft": {16: 2, 32: 4, 64: 2},
    "patchy": {4: 1, 8: 2, 16: 3, 32: 3},
}
"""The weight of each cell size, by grain."""
Painter = Callable[[Canvas, Rng, Light], None]
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
"""Of each soil: two colours, the grain of its relief, and the relief's strength."""
WEED_BLADES = (
    Blade(width=0.9, base=0.5, tip=0.5),
    Blade(width=0.35, base=0.8, tip=1.2),
    Blade(width=0.12, base=0.6, tip=0.9, veins=0),
    Blade(width=0.6, base=0.5, tip=0.9, lobes=3, cut=0.4),
)


def sample_lattice(dice: Rng, cell: int) -> np.ndarray:
    """Samples periodic noise, linear between one value a cell: (TILE_SIDE, TILE_SIDE) int32, 0 to 255."""
    values = dice.texture((TILE_SIDE // cell, TILE_SIDE // cell)).astype(np.int32)
    for axis in (0, 1):
        start = values.repeat(cell, axis)
        end = np.roll(values, -1, axis).repeat(cell, axis)
        part = np.arange(start.shape[axis], dtype=np.int32) % cell
        part = part[:, None] if axis == 0 else part[None]
        values = (start * (cell - part) + end * part) // cell
    return values


@cache
def build_noise_tile(grain: str) -> np.ndarray:
    """Builds a tile of noise, spread over all values: (TILE_SIDE, TILE_SIDE) uint8; once per process."""
    dice = Rng(20, list(NOISE_WEIGHTS).index(grain))
    total = np.asarray(sum(weight * sample_lattice(dice, cell) for cell, weight in NOISE_WEIGHTS[grain].items()))
    low, high = int(total.min()), int(total.max())
    spread = (total - (low + high) // 2) * 320 // (high - low) + 128
    return np.clip(spread, 0, 255).astype(np.uint8)


def sample_noise(dice: Rng, grain: str, size: int, stretch: tuple[int, int] = (4, 4)) -> np.ndarray:
    """Samples a piece of a noise tile at a random place, flipped at random.

    Args:
        dice: chooses the place.
        grain: key of NOISE_WEIGHTS.
        size: side of the piece.
        stretch: quarters of a step down and across: (4, 4) is the tile's scale, smaller ones magnify.

    Returns:
        (size, size) int32, 0 to 255.
    """
    tile = build_noise_tile(grain)
    if dice.chance(0.5):
        tile = tile.T
    rows, columns = (
        (dice.whole(0, TILE_SIDE - 1) + dice.pick((-1, 1)) * (np.arange(size) * step // 4)) % TILE_SIDE
        for step in stretch
    )
    return tile[rows[:, None], columns].astype(np.int32)


def draw_soil(dice: Rng, size: int) -> np.ndarray:
    """Draws soil, (size, size, 3) uint8."""
    name = dice.pick(tuple(SOILS))
    first, second, grain, strength = SOILS[name]
    stretch = (dice.whole(2, 6), dice.whole(2, 6))
    mix = sample_noise(dice, "patchy", size, stretch)[:, :, None]
    relief = sample_noise(dice, grain, size, stretch)
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


def sample_blob(dice: Rng, x: float, y: float, radius: float) -> np.ndarray:
    """Samples an uneven roundish outline, (9, 2)."""
    turns = (np.arange(9) + dice.random.random(9) * 0.6) / 9
    reach = radius * (0.65 + 0.5 * dice.random.random(9))
    squash, turn = dice.between(0.5, 1), dice.between(0, 1)
    flat = stack_points(reach * cosine(turns), reach * sine(turns) * squash)
    return rotate_points(flat, turn, x, y)


def draw_line(canvas: Canvas, points: np.ndarray, colour: Colour) -> None:
    """Draws a thin line through points, (n, 2)."""
    canvas.trace(canvas.fixed(points), build_edges(((0, len(points)),), closed=False), colour)


def draw_pebbles(canvas: Canvas, dice: Rng) -> None:
    """Draws stones and crumbs, each with a dark side."""
    count = dice.pick((0, 6, 15, 15, 40))
    base = tint_colour((150, 142, 130), dice.between(0.4, 1.4))
    largest = dice.between(0.01, 0.045)
    stones, colours = [], []
    for _ in range(count):
        stone = sample_blob(dice, dice.between(0, 1), dice.between(0, 1), dice.between(0.004, largest))
        colour = tint_colour(base, dice.between(0.6, 1.3))
        stones += [stone + 0.006, stone]
        colours += [tint_colour(colour, 0.35), colour]
    canvas.polygons(stones, colours)


def draw_pot(canvas: Canvas, dice: Rng) -> None:
    """Draws the rim of a pot, or the straight edge of a tray and the area beyond."""
    colour = dice.pick(((150, 84, 56), (40, 40, 42), (180, 180, 176), (70, 84, 92)))
    if dice.chance(0.5):
        turn, edge = dice.between(0, 1), dice.between(0.3, 0.48)
        slab = np.array([[edge, -2.0], [3.0, -2.0], [3.0, 2.0], [edge, 2.0]])
        canvas.polygon(rotate_points(slab, turn) + 0.5, tint_colour(colour, 0.6))
        canvas.polygon(rotate_points(shift_points(slab, 0.05, 0), turn) + 0.5, colour)
        return
    radius = dice.between(0.42, 0.7)
    ring = circle(dice.bell(0.5, 0.2), dice.bell(0.5, 0.2), radius, 48)
    ring = np.concatenate([ring, ring[:1]])
    canvas.polygons([strip(ring, 0.03, 0.03), strip(ring, 0.017, 0.017)], [tint_colour(colour, 0.5), colour])


def draw_label(canvas: Canvas, dice: Rng) -> None:
    """Draws a plant label or a stick, with meaningless scribbles."""
    turn, x, y = dice.between(0, 1), dice.between(0.05, 0.95), dice.between(0.05, 0.95)
    width, length = dice.between(0.025, 0.09), dice.between(0.3, 0.7)
    colour = tint_colour(dice.pick(((232, 232, 226), (224, 200, 80), (190, 150, 100))), dice.between(0.6, 1))
    body = np.array([[0, -width], [length, -width], [length + width, 0], [length, width], [0, width]])
    outlines = [rotate_points(body, turn, x + 0.012, y + 0.012), rotate_points(body, turn, x, y)]
    canvas.polygons(outlines, [(26, 22, 20), colour])
    for row in range(dice.whole(0, 3)):
        places = 0.05 + 0.03 * np.arange(dice.whole(3, 8))
        marks = stack_points(places, width * (0.5 * row - 0.5) + width * 0.3 * dice.random.random(len(places)))
        draw_line(canvas, rotate_points(marks, turn, x, y), tint_colour(colour, 0.4))


def draw_loose_leaf(canvas: Canvas, dice: Rng, leaf: Leaf, length: float, colour: Colour) -> None:
    """Draws a single leaf anywhere."""
    shape = build_leaf_outline(leaf)
    flat, turn = shape.points * (length, length * dice.between(0.4, 1)), dice.between(0, 1)
    fixed = canvas.fixed(rotate_points(flat, turn, dice.between(0, 1), dice.between(0, 1)))
    canvas.trace(fixed, shape.polygons, tint_colour(colour, 0.6), THICK_BRUSH)
    canvas.fill(fixed, shape.polygons, [tint_colour(colour, 1 + 0.08 * side) for side in shape.sides])


def draw_weeds(canvas: Canvas, dice: Rng, most: int) -> None:
    """Draws leaves of other plants, of a few common outlines."""
    for _ in range(dice.whole(0, most)):
        leaf = Leaf(blade=dice.pick(WEED_BLADES), stalk=0.2)
        draw_loose_leaf(canvas, dice, leaf, dice.between(0.05, 0.22), sample_leaf_colour(dice))


def draw_grass(canvas: Canvas, dice: Rng, most: int) -> None:
    """Draws bent grass, straw and stems that cross the picture."""
    for _ in range(dice.whole(0, most)):
        steps = np.arange(8) / 7
        bow = dice.bell(0, 0.5)
        middle = stack_points((steps - 0.5) * dice.between(0.4, 1.6), bow * steps * (1 - steps))
        middle = rotate_points(middle, dice.between(0, 1), dice.between(0, 1), dice.between(0, 1))
        straw = tint_colour((196, 172, 110), dice.between(0.5, 1.1))
        colour = sample_leaf_colour(dice) if dice.chance(0.6) else straw
        width = dice.between(0.004, 0.02)
        end = width * dice.between(0.1, 1)
        bands = [strip(middle, width + 0.003, end + 0.003), strip(middle, width, end)]
        canvas.polygons(bands, [tint_colour(colour, 0.55), colour])
        draw_line(canvas, middle, tint_colour(colour, 0.85))


def draw_debris(canvas: Canvas, dice: Rng) -> None:
    """Draws crumbs of soil, dead leaves and drops of water over everything."""
    count = dice.pick((0, 0, 4, 10))
    crumbs = [
        sample_blob(dice, dice.between(0, 1), dice.between(0, 1), dice.between(0.004, 0.03)) for _ in range(count)
    ]
    canvas.polygons(crumbs, [tint_colour((100, 76, 54), dice.between(0.4, 1.3)) for _ in range(count)])
    if dice.chance(0.2):
        dead = tint_colour((150, 108, 60), dice.between(0.5, 1.1))
        draw_loose_leaf(canvas, dice, Leaf(blade=dice.pick(WEED_BLADES)), dice.between(0.1, 0.25), dead)
    for _ in range(dice.pick((0, 0, 0, 8))):
        x, y, radius = dice.between(0, 1), dice.between(0, 1), dice.between(0.006, 0.02)
        rings = [circle(x - radius * out, y - radius * out, radius * (1 - 1.5 * out), 12) for out in (0, 0.2, 0.4)]
        canvas.polygons(rings, [(70, 84, 80), (150, 164, 160), (250, 250, 250)])


def draw_scene(dice: Rng, size: int, painter: Painter) -> np.ndarray:
    """Draws a whole picture: soil, background objects, the subject, foreground objects, and the camera's effects.

    Args:
        dice: chooses everything.
        size: side in pixels.
        painter: draws the subject.

    Returns:
        (size, size, 3) uint8.
    """
    canvas, light = Canvas(draw_soil(dice, size)), sample_light(dice)
    draw_pebbles(canvas, dice)
    if dice.chance(0.22):
        draw_pot(canvas, dice)
    if dice.chance(0.18):
        draw_label(canvas, dice)
    draw_weeds(canvas, dice, 5)
    draw_grass(canvas, dice, 2)
    painter(canvas, dice, light)
    draw_weeds(canvas, dice, 2)
    draw_grass(canvas, dice, 3)
    draw_debris(canvas, dice)
    return simulate_camera(dice, canvas.picture())
