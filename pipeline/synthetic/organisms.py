"""Builds the world's flowers, mushrooms, insects and shells, and animals that live in the sea or creep."""

import numpy as np

from pipeline.synthetic.canvas import compute_direction, cosine, rotate_points, sine, stack_points, strip
from pipeline.synthetic.objects import Builder
from pipeline.synthetic.parts import Part, build_pair, build_radial_outline, ellipse, mirror_points, path
from pipeline.synthetic.rng import Rng


def build_petal(kind: str, width: float) -> np.ndarray:
    """Builds a petal along x from 0 to 1, (n, 2)."""
    along = (1 - cosine(np.arange(11) / 20)) / 2
    bulge = np.sqrt(np.maximum(0, along * (1 - along)))
    half = width * {"round": bulge, "pointed": along * (1 - along) * 1.9, "club": bulge * along * 1.5}[kind]
    return np.concatenate([stack_points(along, half), stack_points(along, -half)[::-1]])


def make_flower_builder(petals: int, kind: str, width: float, rows: int = 1, heart: float = 0.22) -> Builder:
    """Returns a builder of flowers with a number of petals of one kind."""

    def build(dice: Rng) -> list[Part]:
        parts, wide, core = [], width * dice.bell(1, 0.2), heart * dice.bell(1, 0.25)
        for row in range(rows):
            for number in range(petals):
                turn = (number + 0.5 * row) / petals + dice.bell(0, 0.012)
                size = (1 - 0.3 * row) * dice.bell(1, 0.1)
                petal = rotate_points(build_petal(kind, wide) * size, turn)
                parts.append(Part(petal, 0, dice.bell(1, 0.12) - 0.15 * row))
        return [*parts, Part(ellipse(0, 0, core, core), 1)]

    return build


def make_mushroom_builder(cap: float, pointed: bool, spots: int) -> Builder:
    """Returns a builder of mushrooms with a cap of one height, smooth or spotted."""

    def build(dice: Rng) -> list[Part]:
        half, wide = dice.between(0.1, 0.25), dice.between(0.75, 1)
        turns = 0.5 + 0.5 * np.arange(17) / 16
        dome = stack_points(wide * cosine(turns), cap * sine(turns))
        if pointed:
            tip = strip(path((0, -cap), (0, 0)), 0.08, wide)[[0, 3]]
            dome = np.concatenate([path((-wide, 0)), tip, path((wide, 0))])
        stem = path((-half, 0), (half, 0), (half * 1.4, 1), (-half * 1.4, 1))
        parts = [Part(stem, 1), Part(ellipse(0, 0, wide, 0.15), 1, 0.7), Part(dome)]
        for _ in range(spots):
            x = dice.bell(0, 0.6 * wide)
            parts.append(Part(ellipse(x, -cap * dice.between(0.2, 0.65), 0.09, 0.07, corners=10), 2))
        return parts

    return build


FLOWER_BUILDERS: dict[str, Builder] = {
    "three broad petals": make_flower_builder(3, "round", 0.95),
    "four crossed petals": make_flower_builder(4, "club", 0.8),
    "five round petals": make_flower_builder(5, "round", 0.7),
    "five pointed petals": make_flower_builder(5, "pointed", 0.55),
    "six pointed petals": make_flower_builder(6, "pointed", 0.4, heart=0.14),
    "eight clubs": make_flower_builder(8, "club", 0.42),
    "daisy": make_flower_builder(17, "round", 0.17, heart=0.3),
    "dahlia": make_flower_builder(10, "pointed", 0.4, rows=3, heart=0.12),
    "flat mushroom": make_mushroom_builder(0.4, False, 0),
    "spotted mushroom": make_mushroom_builder(0.75, False, 7),
    "pointed mushroom": make_mushroom_builder(1.0, True, 0),
}


def build_legs(dice: Rng, pairs: int, reach: float, tone: int = 1) -> list[Part]:
    """Builds bent legs on both sides of a body that lies along y."""
    parts = []
    for number in range(pairs):
        y = 0.7 * ((number + 0.5) / pairs - 0.5)
        line = path((0, y), (reach * 0.6, y * 1.6 - 0.08), (reach, y * 2.1 + dice.bell(0.1, 0.1)))
        parts += [Part(strip(points, 0.035, 0.015), tone) for points in (line, mirror_points(line))]
    return parts


def make_beetle_builder(spots: int, horns: bool, long: float) -> Builder:
    """Returns a builder of beetles, spotted or plain, round or long."""

    def build(dice: Rng) -> list[Part]:
        wide = dice.between(0.5, 0.62) / long
        parts = [*build_legs(dice, 3, 0.95), Part(ellipse(0, -0.72, wide * 0.5, 0.22), 1)]
        if horns:
            horn = path((0.05, -0.8), (0.3, -1.0), (0.2, -1.35))
            parts += [Part(strip(points, 0.05, 0.02), 1) for points in (horn, mirror_points(horn))]
        parts += [Part(ellipse(0, 0.15, wide, 0.8)), Part(strip(path((0, -0.6), (0, 0.9)), 0.02, 0.02), 1)]
        for number in range(spots):
            for side in (1, -1):
                y = -0.25 + 0.9 * number / spots
                parts.append(Part(ellipse(side * wide * 0.5, y, 0.1, 0.1, corners=12), 2))
        return parts

    return build


def make_butterfly_builder(tails: bool, pointed: bool) -> Builder:
    """Returns a builder of butterflies with round or pointed wings."""

    def build(dice: Rng) -> list[Part]:
        kind, parts = "pointed" if pointed else "club", []
        for turn, size, wide in ((0.09, 0.8, 0.9), (-0.09, 1.05, 0.95)):
            wing = rotate_points(build_petal(kind, wide * dice.bell(1, 0.15)) * size, turn)
            mark = rotate_points(build_petal("round", 0.4) * (size * 0.4) + (size * 0.45, 0), turn)
            parts += [*build_pair(wing), *build_pair(mark, 2)]
        if tails:
            tail = strip(path((0.3, 0.35), (0.5, 0.75), (0.45, 1.05)), 0.07, 0.02)
            parts = [*build_pair(tail), *parts]
        feeler = strip(path((0, -0.3), (0.12, -0.6), (0.25, -0.75)), 0.02, 0.02)
        return [*parts, Part(ellipse(0, 0, 0.07, 0.42), 1), *build_pair(feeler, 1)]

    return build


def build_ant(dice: Rng) -> list[Part]:
    thin = dice.between(0.16, 0.24)
    body = [
        Part(ellipse(0, y, thin * wide, high)) for y, wide, high in ((0.6, 1.3, 0.36), (0, 0.8, 0.24), (-0.5, 1, 0.2))
    ]
    feeler = strip(path((0.05, -0.6), (0.25, -0.85), (0.2, -1.05)), 0.025, 0.02)
    return [*build_legs(dice, 3, 0.85), *build_pair(feeler, 1), *body]


def build_spider(dice: Rng) -> list[Part]:
    fat = dice.between(0.28, 0.42)
    return [
        *build_legs(dice, 4, 1.0),
        Part(ellipse(0, 0.3, fat, fat * 1.1)),
        Part(ellipse(0, -0.2, fat * 0.6, fat * 0.55), 1),
    ]


def build_dragonfly(dice: Rng) -> list[Part]:
    parts = []
    for turn in (dice.bell(-0.04, 0.02), dice.bell(0.05, 0.02)):
        wing = rotate_points(build_petal("round", 0.26) * 1.05, turn, 0, -0.35)
        parts += build_pair(wing, 1)
    return [*parts, Part(strip(path((0, -0.5), (0, 0.3), (0, 1)), 0.1, 0.04)), Part(ellipse(0, -0.6, 0.15, 0.13), 2)]


def build_caterpillar(dice: Rng) -> list[Part]:
    count, bow, wave = dice.whole(8, 11), dice.between(0.1, 0.35), dice.between(0.4, 1)
    parts = []
    for number in range(count):
        x = 1.8 * number / (count - 1) - 0.9
        parts.append(Part(ellipse(x, bow * compute_direction(wave * x)[1], 0.17, 0.21, corners=16), number % 2))
    return parts


INSECT_BUILDERS: dict[str, Builder] = {
    "ladybird": make_beetle_builder(3, False, 0.9),
    "stag beetle": make_beetle_builder(0, True, 1.4),
    "long beetle": make_beetle_builder(0, False, 2.2),
    "round butterfly": make_butterfly_builder(False, False),
    "tailed butterfly": make_butterfly_builder(True, False),
    "pointed butterfly": make_butterfly_builder(False, True),
    "ant": build_ant,
    "spider": build_spider,
    "dragonfly": build_dragonfly,
    "caterpillar": build_caterpillar,
}


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


SEASHELL_BUILDERS: dict[str, Builder] = {
    "snail": build_snail,
    "spiral": build_spiral,
    "scallop": build_scallop,
    "cone shell": build_cone_shell,
    "fish": build_fish,
    "starfish": build_starfish,
    "worm": build_worm,
}
