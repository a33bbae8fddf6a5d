"""The world's shells, spirals and what lives in the sea or creeps."""

import numpy as np

from pipeline.drawn.canvas import cosine, direction, pairs, rotated, sine, strip
from pipeline.drawn.dice import Dice
from pipeline.drawn.flowers import petal
from pipeline.drawn.objects import Builder
from pipeline.drawn.parts import Part, ellipse, path, radial


def snail(dice: Dice) -> list[Part]:
    """A foot, and a shell of coils that shrink inwards."""
    coils, shrink = dice.whole(9, 12), dice.between(0.78, 0.84)
    foot = Part(path((-1, 0.75), (0.9, 0.75), (1, 0.35), (0.75, 0.45), (-0.7, 0.6)), 1)
    parts, radius, turn = [foot], 0.7, dice.between(0, 0.3)
    for number in range(coils):
        along, across = direction(turn)
        parts.append(
            Part(
                ellipse(0.3 * radius * along, 0.3 * radius * across, radius, radius, corners=20),
                0,
                0.8 + 0.3 * (number % 2),
            )
        )
        radius, turn = radius * shrink, turn + 0.16
    return parts


def spiral(dice: Dice) -> list[Part]:
    steps = np.arange(60) / 59
    turns = steps * dice.between(2.2, 3.6)
    reach = 0.95 * (0.06 + 0.94 * steps)
    return [Part(strip(pairs(reach * cosine(turns), reach * sine(turns)), 0.02, dice.between(0.08, 0.14)))]


def scallop(dice: Dice) -> list[Part]:
    ribs, open_ = dice.whole(7, 11), dice.between(0.36, 0.46)
    parts = [Part(path((-0.3, 0.75), (0.3, 0.75), (0.2, 1), (-0.2, 1)), 1)]
    for number in range(ribs):
        turn = -0.25 + open_ * (number / (ribs - 1) - 0.5)
        rib = rotated(petal("club", 0.75 * open_) * (1.75, 1), turn, 0, 0.9)
        parts.append(Part(rib, 0, 0.85 + 0.3 * (number % 2)))
    return parts


def cone_shell(dice: Dice) -> list[Part]:
    """Whorls that narrow to a point."""
    whorls, wide = dice.whole(6, 9), dice.between(0.35, 0.5)
    parts = []
    for number in range(whorls):
        size = 1 - number / whorls
        parts.append(
            Part(
                ellipse(0, 0.75 - 1.65 * number / whorls, wide * size + 0.05, 0.2 * size + 0.05, 0.03),
                0,
                0.8 + 0.3 * (number % 2),
            )
        )
    return parts


def fish(dice: Dice) -> list[Part]:
    high = dice.between(0.3, 0.48)
    tail = path((-0.5, 0), (-1, -high), (-0.85, 0), (-1, high))
    fin = path((-0.1, -high * 0.8), (0.1, -high - 0.25), (0.35, -high * 0.6))
    return [Part(tail, 1), Part(fin, 1), Part(ellipse(0.1, 0, 0.75, high)), Part(ellipse(0.55, -0.08, 0.07, 0.07), 2)]


def starfish(dice: Dice) -> list[Part]:
    turns = np.arange(60) / 60
    reach = 0.42 + 0.5 * np.maximum(0, cosine(turns * 5)) ** 2
    return [Part(radial(reach)), *(Part(rotated(petal("round", 0.1) * 0.75, n / 5), 1) for n in range(5))]


def worm(dice: Dice) -> list[Part]:
    steps = np.arange(30) / 29
    wave = dice.between(0.2, 0.4) * sine(steps * dice.between(1, 2))
    line = pairs(steps * 2 - 1, wave)
    return [Part(strip(line, dice.between(0.07, 0.12), 0.04)), Part(ellipse(-0.2, wave[12], 0.09, 0.09), 1)]


BUILDERS: dict[str, Builder] = {
    "snail": snail,
    "spiral": spiral,
    "scallop": scallop,
    "cone shell": cone_shell,
    "fish": fish,
    "starfish": starfish,
    "worm": worm,
}
