"""Builds the world's objects (tools, toys, shapes) and textures, each a function that returns flat parts."""

from collections.abc import Callable

import numpy as np

from pipeline.synthetic.canvas import cosine, rotate_points, shift_points, sine, stack_points, strip
from pipeline.synthetic.parts import Part, build_radial_outline, ellipse, mirror_points, path
from pipeline.synthetic.rng import Rng

Builder = Callable[[Rng], list[Part]]


def arc(radius: float, start: float, end: float, half: float, taper: float = 1.0) -> np.ndarray:
    """Returns a curved band around the origin, from one turn to another."""
    turns = start + (end - start) * np.arange(17) / 16
    return strip(stack_points(radius * cosine(turns), radius * sine(turns)), half, half * taper)


def build_key(dice: Rng) -> list[Part]:
    ring = dice.between(0.28, 0.4)
    end, half = dice.between(0.8, 1.0), dice.between(0.05, 0.09)
    parts = [Part(ellipse(-0.6, 0, ring, ring)), Part(ellipse(-0.6, 0, ring * 0.55, ring * 0.5), 1)]
    parts.append(Part(path((-0.35, -half), (end, -half), (end, half), (-0.35, half))))
    for number in range(dice.whole(2, 4)):
        x, deep = end - 0.05 - 0.14 * number, dice.between(0.15, 0.35)
        parts.append(Part(path((x, 0), (x, deep), (x - 0.08, deep), (x - 0.08, 0))))
    return parts


def build_star(dice: Rng, points: int) -> list[Part]:
    reach = np.tile([1.0, dice.between(0.35, 0.55)], points)
    return [Part(build_radial_outline(reach)), Part(build_radial_outline(reach * dice.between(0.3, 0.7)), 1)]


def build_gear(dice: Rng) -> list[Part]:
    teeth, deep = dice.whole(9, 16), dice.between(0.72, 0.85)
    rim = np.tile([1.0, 1.0, deep, deep], teeth)
    return [Part(build_radial_outline(rim)), Part(ellipse(0, 0, 0.55, 0.55), 1), Part(ellipse(0, 0, 0.22, 0.22), 2)]


def build_cup(dice: Rng) -> list[Part]:
    low, high = dice.between(0.4, 0.55), dice.between(0.5, 0.7)
    handle = shift_points(arc(dice.between(0.3, 0.4), -0.25, 0.25, 0.08), high - 0.05, 0)
    body = path((-high, -0.7), (high, -0.7), (low, 0.8), (-low, 0.8))
    return [Part(handle, 0, 0.8), Part(body), Part(ellipse(0, -0.7, high, 0.16), 1), Part(ellipse(0, 0.78, low, 0.1))]


def build_spoon(dice: Rng) -> list[Part]:
    bowl = dice.between(0.2, 0.3)
    handle = strip(path((-1, 0), (-0.3, 0), (0.4, 0)), 0.1, 0.045)
    return [Part(handle), Part(ellipse(0.65, 0, 0.36, bowl)), Part(ellipse(0.66, 0.02, 0.27, bowl * 0.7), 0, 0.75)]


def build_fork(dice: Rng) -> list[Part]:
    tines = dice.whole(3, 4)
    parts = [Part(strip(path((-1, 0), (-0.2, 0), (0.4, 0)), 0.09, 0.05)), Part(ellipse(0.4, 0, 0.18, 0.26))]
    for number in range(tines):
        y = 0.4 * (number / (tines - 1) - 0.5)
        parts.append(Part(strip(path((0.4, y), (0.7, y), (1, y)), 0.045, 0.03)))
    return parts


def build_arrow(dice: Rng) -> list[Part]:
    half, head = dice.between(0.06, 0.18), dice.between(0.35, 0.6)
    shaft = path((-1, -half), (0.3, -half), (0.3, half), (-1, half))
    return [Part(shaft), Part(path((0.2, -head), (1, 0), (0.2, head)))]


def build_heart(dice: Rng) -> list[Part]:
    side, low = dice.between(0.45, 0.5), dice.between(0.8, 1)
    lobes = [Part(ellipse(x, -0.35, 0.5, 0.5)) for x in (-side, side)]
    return [*lobes, Part(path((-side - 0.4, -0.05), (0, low), (side + 0.4, -0.05), (0, -0.5)))]


def build_moon(dice: Rng) -> list[Part]:
    turns = 0.25 + 0.5 * np.arange(20) / 19
    outer = stack_points(cosine(turns), sine(turns))
    inner = outer * (dice.between(0.2, 0.6), 1)
    return [Part(np.concatenate([outer, inner[::-1]]))]


def build_house(dice: Rng) -> list[Part]:
    high, half = dice.between(-0.4, -0.1), dice.between(0.6, 0.8)
    parts = [Part(path((-half, high), (half, high), (half, 1), (-half, 1)))]
    parts.append(Part(path((-half - 0.2, high), (0, -1), (half + 0.2, high)), 1))
    for x in (-0.35, 0.1):
        parts.append(Part(path((x, 0.2), (x + 0.28, 0.2), (x + 0.28, 0.5), (x, 0.5)), 2))
    return parts


def build_bottle(dice: Rng) -> list[Part]:
    body, neck, shoulder = dice.between(0.3, 0.45), dice.between(0.09, 0.15), dice.between(-0.4, -0.1)
    right = path((neck, -1), (neck, shoulder - 0.2), (body, shoulder + 0.15), (body, 1))
    label = path((-body, 0.25), (body, 0.25), (body, 0.7), (-body, 0.7))
    cork = path((-neck, -1), (neck, -1), (neck, -0.85), (-neck, -0.85))
    return [Part(np.concatenate([right, mirror_points(right)[::-1]])), Part(label, 1), Part(cork, 2)]


def build_hammer(dice: Rng) -> list[Part]:
    half, head = dice.between(0.06, 0.1), dice.between(0.35, 0.55)
    shaft = path((-half, -0.7), (half, -0.7), (half * 1.3, 1), (-half * 1.3, 1))
    block = path((-head, -0.9), (head * 0.6, -0.9), (head * 1.3, -0.7), (head * 0.6, -0.5), (-head, -0.5))
    return [Part(shaft, 1), Part(block)]


def build_scissors(dice: Rng) -> list[Part]:
    parts, wide = [], dice.between(0.12, 0.3)
    for side in (1, -1):
        blade = path((-0.2, 0.06 * side), (1, wide * side), (0.95, wide * side + 0.06), (-0.2, -0.08 * side))
        handle = shift_points(arc(0.26, 0, 1, 0.06), -0.65, -0.3 * side)
        shank = strip(path((-0.42, -0.2 * side), (-0.2, 0), (0, 0.03 * side)), 0.06, 0.06)
        parts += [Part(blade), Part(handle, 1), Part(shank, 1)]
    return [*parts, Part(ellipse(0, 0, 0.06, 0.06), 2)]


def build_umbrella(dice: Rng) -> list[Part]:
    ribs = dice.whole(3, 6)
    turns = 0.5 + 0.5 * np.arange(17) / 16
    dome = stack_points(cosine(turns), sine(turns) * dice.between(0.7, 1))
    parts = [Part(strip(path((0, 0), (0, 0.5), (0, 0.85)), 0.03, 0.03), 1), Part(dome)]
    parts += [Part(ellipse((2 * n + 1) / ribs - 1, 0, 1 / ribs, 0.14), 0, 0.8 + 0.3 * (n % 2)) for n in range(ribs)]
    return [*parts, Part(shift_points(arc(0.12, 0, 0.5, 0.035), -0.12, 0.85), 1)]


def build_cross(dice: Rng) -> list[Part]:
    half = dice.between(0.18, 0.34)
    bars = [path((-1, -half), (1, -half), (1, half), (-1, half)), path((-half, -1), (half, -1), (half, 1), (-half, 1))]
    return [Part(bar) for bar in bars]


def build_rings(dice: Rng) -> list[Part]:
    step = dice.between(0.16, 0.24)
    return [Part(ellipse(0, 0, 1 - step * n, 1 - step * n), n % 2) for n in range(int(1 / step))]


OBJECT_BUILDERS: dict[str, Builder] = {
    "key": build_key,
    "five-pointed star": lambda dice: build_star(dice, 5),
    "eight-pointed star": lambda dice: build_star(dice, 8),
    "gear": build_gear,
    "cup": build_cup,
    "spoon": build_spoon,
    "fork": build_fork,
    "arrow": build_arrow,
    "heart": build_heart,
    "moon": build_moon,
    "house": build_house,
    "bottle": build_bottle,
    "hammer": build_hammer,
    "scissors": build_scissors,
    "umbrella": build_umbrella,
    "cross": build_cross,
    "target": build_rings,
}


def sample_grid(dice: Rng, few: int, many: int) -> tuple[float, list[tuple[float, float, int, int]]]:
    """Samples a grid over the square: its step, and its places (x, y, row, column)."""
    count = dice.whole(few, many)
    step = 2 / count
    spots = [(step * (c + 0.5) - 1, step * (r + 0.5) - 1, r, c) for r in range(count) for c in range(count)]
    return step, spots


def rectangle(x: float, y: float, half: float, high: float) -> np.ndarray:
    """Returns an upright rectangle, (4, 2)."""
    return path((x - half, y - high), (x + half, y - high), (x + half, y + high), (x - half, y + high))


def build_stripes(dice: Rng) -> list[Part]:
    count, fill = dice.whole(9, 24), dice.between(0.3, 0.7)
    return [Part(rectangle(0, 2 * (n + 0.5) / count - 1, 1, fill / count)) for n in range(count)]


def build_waves(dice: Rng) -> list[Part]:
    count, steps, high = dice.whole(9, 18), np.arange(60) / 59, dice.between(0.03, 0.07)
    x, bend = steps * 2 - 1, high * sine(steps * dice.between(4, 9))
    lines = [stack_points(x, bend + 2 * (n + 0.5) / count - 1) for n in range(count)]
    return [Part(strip(line, 0.5 / count, 0.5 / count)) for line in lines]


def build_zigzag(dice: Rng) -> list[Part]:
    count, points, high = dice.whole(9, 16), dice.whole(10, 20), dice.between(0.03, 0.08)
    x = np.arange(points) * 2 / (points - 1) - 1
    lines = [stack_points(x, high * (np.arange(points) % 2) + 2 * (n + 0.5) / count - 1) for n in range(count)]
    return [Part(strip(line, 0.4 / count, 0.4 / count)) for line in lines]


def build_dots(dice: Rng) -> list[Part]:
    step, spots = sample_grid(dice, 8, 14)
    size, shift = step * dice.between(0.2, 0.42), dice.pick((0, 0.5))
    return [Part(ellipse(x + shift * step * (r % 2), y, size, size, corners=14)) for x, y, r, _ in spots]


def build_checks(dice: Rng) -> list[Part]:
    step, spots = sample_grid(dice, 7, 14)
    return [Part(rectangle(x, y, step / 2, step / 2)) for x, y, r, c in spots if (r + c) % 2]


def build_bricks(dice: Rng) -> list[Part]:
    """Builds rows of bricks, each shifted by half a brick."""
    step, spots = sample_grid(dice, 8, 12)
    gap = dice.between(0.04, 0.12)
    half, high = step * (0.5 - gap / 2), step * (0.25 - gap / 2)
    return [
        Part(rectangle(x + step * (r % 2) / 2, y / 2 + s, half, high), 0, dice.bell(1, 0.2))
        for x, y, r, _ in spots
        for s in (-0.5, 0.5)
    ]


def build_weave(dice: Rng) -> list[Part]:
    step, spots = sample_grid(dice, 7, 12)
    thick = dice.between(0.25, 0.42) * step
    parts = []
    for x, y, row, column in spots:
        flat, high = (step * 0.62, thick) if (row + column) % 2 else (thick, step * 0.62)
        parts.append(Part(rectangle(x, y, flat, high), (row + column) % 2, 1))
    return parts


def build_scales(dice: Rng) -> list[Part]:
    step, spots = sample_grid(dice, 8, 13)
    parts = []
    for x, y, row, _ in reversed(spots):
        middle = x + step * (row % 2) / 2
        parts.append(Part(ellipse(middle, y, step * 0.58, step, corners=16), 1, 0.8))
        parts.append(Part(ellipse(middle, y, step * 0.5, step * 0.9, corners=16), 0, dice.bell(0.95, 0.18)))
    return parts


def build_honeycomb(dice: Rng) -> list[Part]:
    step, spots = sample_grid(dice, 7, 12)
    cell = build_radial_outline(np.ones(6), 1 / 12) * step * dice.between(0.46, 0.56)
    return [Part(shift_points(cell, x + step * (r % 2) / 2, y * 0.87)) for x, y, r, _ in spots]


def build_cobbles(dice: Rng) -> list[Part]:
    step, spots = sample_grid(dice, 7, 11)
    parts = []
    for x, y, row, _ in spots:
        stone = build_radial_outline(step * (0.4 + 0.16 * dice.random.random(8)), dice.between(0, 1))
        parts.append(Part(shift_points(stone, x + step * (row % 2) / 2, y), 0, dice.bell(1, 0.3)))
    return parts


def build_triangles(dice: Rng) -> list[Part]:
    step, spots = sample_grid(dice, 7, 12)
    half = step * dice.between(0.4, 0.5)
    return [Part(path((x - half, y + half), (x + half, y + half), (x, y - half))) for x, y, _, _ in spots]


def build_straw(dice: Rng) -> list[Part]:
    parts = []
    for _ in range(dice.whole(90, 130)):
        line, turn = path((-0.4, 0), (0.4, 0)) * dice.between(0.5, 1.2), dice.between(0, 1)
        line = rotate_points(line, turn, dice.between(-1, 1), dice.between(-1, 1))
        parts.append(Part(strip(line, 0.02, 0.02), 0, dice.bell(1, 0.4)))
    return parts


def lay_on_background(build: Builder, tone: int = 1, shade: float = 1.0) -> Builder:
    """Returns a builder that puts a square of one tone below the parts of another builder."""
    square = Part(rectangle(0, 0, 1, 1), tone, shade)
    return lambda dice: [square, *build(dice)]


PATTERN_BUILDERS: dict[str, Builder] = {
    "stripes": lay_on_background(build_stripes),
    "waves": lay_on_background(build_waves),
    "zigzag": lay_on_background(build_zigzag),
    "dots": lay_on_background(build_dots),
    "checks": lay_on_background(build_checks),
    "bricks": lay_on_background(build_bricks),
    "weave": lay_on_background(build_weave, 2, 0.5),
    "scales": lay_on_background(build_scales),
    "honeycomb": lay_on_background(build_honeycomb),
    "cobbles": lay_on_background(build_cobbles, 1, 0.5),
    "triangles": lay_on_background(build_triangles),
    "heap of straw": lay_on_background(build_straw, 1, 0.6),
}
