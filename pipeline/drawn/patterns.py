"""The world's textures: what fills a whole picture, as parts within [-1, 1]."""

import numpy as np

from pipeline.drawn.canvas import moved, pairs, rotated, sine, strip
from pipeline.drawn.dice import Dice
from pipeline.drawn.objects import Builder
from pipeline.drawn.parts import Part, ellipse, path, radial

BACK = path((-1, -1), (1, -1), (1, 1), (-1, 1))


def grid(dice: Dice, few: int, many: int) -> tuple[float, list[tuple[float, float, int, int]]]:
    """The step between places that fill the square, and the places: (x, y, row, column)."""
    count = dice.whole(few, many)
    step = 2 / count
    spots = [(step * (c + 0.5) - 1, step * (r + 0.5) - 1, r, c) for r in range(count) for c in range(count)]
    return step, spots


def box(x: float, y: float, half: float, high: float) -> np.ndarray:
    """An upright rectangle, (4, 2)."""
    return path((x - half, y - high), (x + half, y - high), (x + half, y + high), (x - half, y + high))


def stripes(dice: Dice) -> list[Part]:
    count, fill = dice.whole(9, 24), dice.between(0.3, 0.7)
    return [Part(BACK, 1), *(Part(box(0, 2 * (n + 0.5) / count - 1, 1, fill / count)) for n in range(count))]


def waves(dice: Dice) -> list[Part]:
    count, steps, high = dice.whole(9, 18), np.arange(60) / 59, dice.between(0.03, 0.07)
    x, bend = steps * 2 - 1, high * sine(steps * dice.between(4, 9))
    lines = [pairs(x, bend + 2 * (n + 0.5) / count - 1) for n in range(count)]
    return [Part(BACK, 1), *(Part(strip(line, 0.5 / count, 0.5 / count)) for line in lines)]


def zigzag(dice: Dice) -> list[Part]:
    count, points, high = dice.whole(9, 16), dice.whole(10, 20), dice.between(0.03, 0.08)
    x = np.arange(points) * 2 / (points - 1) - 1
    lines = [pairs(x, high * (np.arange(points) % 2) + 2 * (n + 0.5) / count - 1) for n in range(count)]
    return [Part(BACK, 1), *(Part(strip(line, 0.4 / count, 0.4 / count)) for line in lines)]


def dots(dice: Dice) -> list[Part]:
    step, spots = grid(dice, 8, 14)
    size, shift = step * dice.between(0.2, 0.42), dice.pick((0, 0.5))
    return [
        Part(BACK, 1),
        *(Part(ellipse(x + shift * step * (r % 2), y, size, size, corners=14)) for x, y, r, _ in spots),
    ]


def checks(dice: Dice) -> list[Part]:
    step, spots = grid(dice, 7, 14)
    return [Part(BACK, 1), *(Part(box(x, y, step / 2, step / 2)) for x, y, r, c in spots if (r + c) % 2)]


def bricks(dice: Dice) -> list[Part]:
    """Bricks in rows, each row shifted by half a brick."""
    step, spots = grid(dice, 8, 12)
    gap = dice.between(0.04, 0.12)
    return [
        Part(BACK, 1),
        *(
            Part(
                box(x + step * (r % 2) / 2, y / 2 + s, step * (0.5 - gap / 2), step * (0.25 - gap / 2)),
                0,
                dice.bell(1, 0.2),
            )
            for x, y, r, _ in spots
            for s in (-0.5, 0.5)
        ),
    ]


def weave(dice: Dice) -> list[Part]:
    step, spots = grid(dice, 7, 12)
    thick = dice.between(0.25, 0.42) * step
    parts = [Part(BACK, 2, 0.5)]
    for x, y, row, column in spots:
        flat, high = (step * 0.62, thick) if (row + column) % 2 else (thick, step * 0.62)
        parts.append(Part(box(x, y, flat, high), (row + column) % 2, 1))
    return parts


def scales(dice: Dice) -> list[Part]:
    step, spots = grid(dice, 8, 13)
    parts = [Part(BACK, 1)]
    for x, y, row, _ in reversed(spots):
        middle = x + step * (row % 2) / 2
        parts.append(Part(ellipse(middle, y, step * 0.58, step, corners=16), 1, 0.8))
        parts.append(Part(ellipse(middle, y, step * 0.5, step * 0.9, corners=16), 0, dice.bell(0.95, 0.18)))
    return parts


def honeycomb(dice: Dice) -> list[Part]:
    step, spots = grid(dice, 7, 12)
    cell = radial(np.ones(6), 1 / 12) * step * dice.between(0.46, 0.56)
    return [Part(BACK, 1), *(Part(moved(cell, x + step * (r % 2) / 2, y * 0.87)) for x, y, r, _ in spots)]


def cobbles(dice: Dice) -> list[Part]:
    step, spots = grid(dice, 7, 11)
    parts = [Part(BACK, 1, 0.5)]
    for x, y, row, _ in spots:
        stone = radial(step * (0.4 + 0.16 * dice.random.random(8)), dice.between(0, 1))
        parts.append(Part(moved(stone, x + step * (row % 2) / 2, y), 0, dice.bell(1, 0.3)))
    return parts


def triangles(dice: Dice) -> list[Part]:
    step, spots = grid(dice, 7, 12)
    half = step * dice.between(0.4, 0.5)
    return [
        Part(BACK, 1),
        *(Part(path((x - half, y + half), (x + half, y + half), (x, y - half))) for x, y, _, _ in spots),
    ]


def straw(dice: Dice) -> list[Part]:
    parts = [Part(BACK, 1, 0.6)]
    for _ in range(dice.whole(90, 130)):
        line, turn = path((-0.4, 0), (0.4, 0)) * dice.between(0.5, 1.2), dice.between(0, 1)
        line = rotated(line, turn, dice.between(-1, 1), dice.between(-1, 1))
        parts.append(Part(strip(line, 0.02, 0.02), 0, dice.bell(1, 0.4)))
    return parts


BUILDERS: dict[str, Builder] = {
    "stripes": stripes,
    "waves": waves,
    "zigzag": zigzag,
    "dots": dots,
    "checks": checks,
    "bricks": bricks,
    "weave": weave,
    "scales": scales,
    "honeycomb": honeycomb,
    "cobbles": cobbles,
    "triangles": triangles,
    "heap of straw": straw,
}
