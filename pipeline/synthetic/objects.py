"""Builds the world's objects: tools, toys and shapes, each a function that returns flat parts."""

from collections.abc import Callable

import numpy as np

from pipeline.synthetic.canvas import cosine, shift_points, sine, stack_points, strip
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


BUILDERS: dict[str, Builder] = {
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
