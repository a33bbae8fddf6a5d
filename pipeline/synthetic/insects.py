"""Builds the world's beetles, butterflies and other insects, seen from above."""

from pipeline.synthetic.canvas import compute_direction, rotate_points, strip
from pipeline.synthetic.flowers import build_petal
from pipeline.synthetic.objects import Builder
from pipeline.synthetic.parts import Part, build_pair, ellipse, mirror_points, path
from pipeline.synthetic.rng import Rng


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


BUILDERS: dict[str, Builder] = {
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
