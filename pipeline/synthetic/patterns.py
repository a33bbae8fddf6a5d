"""Builds the world's textures, which fill a whole picture, as parts within [-1, 1]."""

import numpy as np

from pipeline.synthetic.canvas import rotate_points, shift_points, sine, stack_points, strip
from pipeline.synthetic.objects import Builder
from pipeline.synthetic.parts import Part, build_radial_outline, ellipse, path
from pipeline.synthetic.rng import Rng


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


BUILDERS: dict[str, Builder] = {
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
