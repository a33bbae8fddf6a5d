"""Builds the world's shells, spirals, and animals that live in the sea or creep."""

import numpy as np

from pipeline.synthetic.canvas import compute_direction, cosine, rotate_points, sine, stack_points, strip
from pipeline.synthetic.flowers import build_petal
from pipeline.synthetic.objects import Builder
from pipeline.synthetic.parts import Part, build_radial_outline, ellipse, path
from pipeline.synthetic.rng import Rng


def build_snail(dice: Rng) -> list[Part]:
    """Builds a foot, and a shell of coils that shrink inwards."""
    coils, shrink = dice.whole(9, 12), dice.between(0.78, 0.84)
    foot = Part(path((-1, 0.75), (0.9, 0.75), (1, 0.35), (0.75, 0.45), (-0.7, 0.6)), 1)
    parts, radius, turn = [foot], 0.7, dice.between(0, 0.3)
    for number in range(coils):
        along, across = compute_direction(turn)
        coil = ellipse(0.3 * radius * along, 0.3 * radius * across, radius, radius, corners=20)
        parts.append(Part(coil, 0, 0.8 + 0.3 * (number % 2)))
        radius, turn = radius * shrink, turn + 0.16
    return parts


def build_spiral(dice: Rng) -> list[Part]:
    steps = np.arange(60) / 59
    turns = steps * dice.between(2.2, 3.6)
    reach = 0.95 * (0.06 + 0.94 * steps)
    return [Part(strip(stack_points(reach * cosine(turns), reach * sine(turns)), 0.02, dice.between(0.08, 0.14)))]


def build_scallop(dice: Rng) -> list[Part]:
    ribs, open_ = dice.whole(7, 11), dice.between(0.36, 0.46)
    parts = [Part(path((-0.3, 0.75), (0.3, 0.75), (0.2, 1), (-0.2, 1)), 1)]
    for number in range(ribs):
        turn = -0.25 + open_ * (number / (ribs - 1) - 0.5)
        rib = rotate_points(build_petal("club", 0.75 * open_) * (1.75, 1), turn, 0, 0.9)
        parts.append(Part(rib, 0, 0.85 + 0.3 * (number % 2)))
    return parts


def build_cone_shell(dice: Rng) -> list[Part]:
    """Builds whorls that narrow to a point."""
    whorls, wide = dice.whole(6, 9), dice.between(0.35, 0.5)
    parts = []
    for number in range(whorls):
        size = 1 - number / whorls
        whorl = ellipse(0, 0.75 - 1.65 * number / whorls, wide * size + 0.05, 0.2 * size + 0.05, 0.03)
        parts.append(Part(whorl, 0, 0.8 + 0.3 * (number % 2)))
    return parts


def build_fish(dice: Rng) -> list[Part]:
    high = dice.between(0.3, 0.48)
    tail = path((-0.5, 0), (-1, -high), (-0.85, 0), (-1, high))
    fin = path((-0.1, -high * 0.8), (0.1, -high - 0.25), (0.35, -high * 0.6))
    return [Part(tail, 1), Part(fin, 1), Part(ellipse(0.1, 0, 0.75, high)), Part(ellipse(0.55, -0.08, 0.07, 0.07), 2)]


def build_starfish(dice: Rng) -> list[Part]:
    turns = np.arange(60) / 60
    reach = 0.42 + 0.5 * np.maximum(0, cosine(turns * 5)) ** 2
    ridge = build_petal("round", 0.1) * 0.75
    return [Part(build_radial_outline(reach)), *(Part(rotate_points(ridge, n / 5), 1) for n in range(5))]


def build_worm(dice: Rng) -> list[Part]:
    steps = np.arange(30) / 29
    wave = dice.between(0.2, 0.4) * sine(steps * dice.between(1, 2))
    line = stack_points(steps * 2 - 1, wave)
    return [Part(strip(line, dice.between(0.07, 0.12), 0.04)), Part(ellipse(-0.2, wave[12], 0.09, 0.09), 1)]


BUILDERS: dict[str, Builder] = {
    "snail": build_snail,
    "spiral": build_spiral,
    "scallop": build_scallop,
    "cone shell": build_cone_shell,
    "fish": build_fish,
    "starfish": build_starfish,
    "worm": build_worm,
}
