"""Builds the world's flowers, by number and form of petals, and its mushrooms."""

import numpy as np

from pipeline.synthetic.canvas import cosine, rotate_points, sine, stack_points, strip
from pipeline.synthetic.objects import Builder
from pipeline.synthetic.parts import Part, ellipse, path
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


BUILDERS: dict[str, Builder] = {
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
