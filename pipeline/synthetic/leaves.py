"""Builds leaves from botanical traits: a blade's outline, margin and veins, and compound leaves.

A leaf lies along x: the stalk begins at 0, then the blade or blades over a length of 1, y across.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from pipeline.synthetic.canvas import (
    Edges,
    build_edges,
    compute_direction,
    cosine,
    rotate_points,
    sine,
    stack_points,
    strip,
)


@dataclass(frozen=True, kw_only=True)
class Blade:
    """One undivided blade.

    Args:
        width: over its length.
        widest: where along it, 0 (base) to 1 (tip).
        base, tip: shape of its ends: below 0.5 blunt, 0.5 round as an ellipse, 1 pointed, 2 drawn out.
        cordate: how far the base reaches back beside the stalk.
        notch: how far the tip is notched.
        teeth, depth: their number a side and their depth; `scalloped` ones are round.
        lobes, cut, lean: lobes a side (of a round blade: in all), depth between them, and how far they lean forward.
        round: the stalk meets the blade in its middle, and lobes and veins run out from there.
        sinus: the open part of a round blade's circle, at the stalk.
        veins: side veins on each side; negative: that many run along the blade.
    """

    width: float = 0.5
    widest: float = 0.45
    base: float = 0.6
    tip: float = 0.8
    cordate: float = 0.0
    notch: float = 0.0
    teeth: int = 0
    depth: float = 0.0
    scalloped: bool = False
    lobes: int = 0
    cut: float = 0.0
    lean: float = 0.0
    round: bool = False
    sinus: float = 0.1
    veins: int = 4


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A whole leaf.

    Args:
        blade: of the leaf or of each leaflet.
        stalk: length of the leaf's stalk over that of the rest.
        compound: `simple`, `pinnate` (leaflets in pairs), `palmate` (from one point) or `twice` (pairs of forked ones).
        leaflets: pairs of them; for `palmate` their number.
        spread: turns between the leaf's axis and the (outermost) leaflets.
        size: of a leaflet.
        taper: how much smaller the pairs get towards the tip.
    """

    blade: Blade
    stalk: float = 0.2
    compound: str = "simple"
    leaflets: int = 1
    spread: float = 0.2
    size: float = 0.4
    taper: float = 0.3


@dataclass(frozen=True)
class LeafOutline:
    """A leaf's points, (n, 2) float64, its polygons, the side of the midrib of each, and its veins."""

    points: np.ndarray
    polygons: Edges
    sides: tuple[int, ...]
    veins: Edges | None


def compute_margin(blade: Blade, along: np.ndarray, count: int) -> np.ndarray:
    """Returns the factor of the width by its teeth, at places along the blade from 0 to 1."""
    place = along * count % 1
    bite = np.abs(sine(place / 2)) if blade.scalloped else place
    return 1 + blade.depth * (bite - 0.6)


def build_long_edge(blade: Blade) -> np.ndarray:
    """Builds the upper edge of a blade with a midrib, from base to tip: (n, 2)."""
    count = 22 + 7 * blade.teeth + 9 * blade.lobes
    along = (1 - cosine(np.arange(count + 1) / count / 2)) / 2
    front = along >= blade.widest
    near = np.where(front, (1 - along) / (1 - blade.widest), along / blade.widest)
    full = blade.width / 2 * (1 - (1 - near) ** 2) ** np.where(front, blade.tip, blade.base)
    y = full
    if blade.lobes:
        y = full * (1 - blade.cut * (1 + cosine(along * blade.lobes)) / 2)
    if blade.teeth:
        y = y * compute_margin(blade, along, blade.teeth)
    root = np.sqrt(near)
    bump = 4 * root * (1 - root)
    x = along + np.where(front, blade.notch, -blade.cordate) * bump + blade.lean * y
    return stack_points(x, y)


def build_round_edge(blade: Blade) -> np.ndarray:
    """Builds the upper edge of a blade around its stalk's end, from the sinus to the tip: (n, 2)."""
    count = 22 + 7 * blade.teeth + 6 * blade.lobes
    turns = (1 - np.arange(count + 1) / count) * (1 - blade.sinus) / 2
    radius = 0.5 * (1 + 0.12 * cosine(turns))
    if blade.lobes:
        place = turns * blade.lobes / (1 - blade.sinus)
        away = np.abs((place + 0.5) % 1 - 0.5) * 2
        radius = radius * (1 - blade.cut * away**blade.tip)
    if blade.teeth:
        radius = radius * compute_margin(blade, 1 - turns * 2, blade.teeth)
    edge = stack_points(radius * cosine(turns), radius * sine(turns) * blade.width)
    return np.concatenate([[[0.0, 0.0]], edge])


def build_veins(blade: Blade, edge: np.ndarray) -> list[np.ndarray]:
    """Builds the side veins, above and below."""
    if blade.round:
        count = (blade.lobes or 5) // 2
        turns = np.arange(1, count + 1) / (count + 0.5) * (1 - blade.sinus) / 2
        ends = stack_points(cosine(turns), sine(turns) * blade.width) * 0.42
        starts = ends * 0
    else:
        places = (np.arange(abs(blade.veins)) + 1) / (abs(blade.veins) + 1.2)
        tops = edge[(np.minimum(places + 0.12, 1) * (len(edge) - 1)).astype(int)]
        if blade.veins < 0:
            steps = np.arange(2, len(edge) - 1, 3)
            return [edge[steps] * (1, side * place) for place in places for side in (1, -1)]
        starts, ends = stack_points(places, places * 0), tops * (1, 0.8)
    return [np.stack([start, end]) * (1, side) for start, end in zip(starts, ends, strict=True) for side in (1, -1)]


def build_blade(blade: Blade) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Builds the two halves of a blade, and its veins, the midrib first."""
    edge = build_round_edge(blade) if blade.round else build_long_edge(blade)
    reach = edge[-1, 0]
    midrib = stack_points(np.arange(7) / 6 * reach, np.zeros(7))
    halves = [np.concatenate([edge * (1, side), midrib[::-1]]) for side in (1, -1)]
    return halves, [midrib * (0.94, 1), *build_veins(blade, edge)]


def place_blades(leaf: Leaf) -> list[tuple[float, float, float]]:
    """Returns the blades' places: (x, turn, size)."""
    if leaf.compound == "simple":
        return [(leaf.stalk, 0.0, 1.0)]
    if leaf.compound == "palmate":
        middle = (leaf.leaflets - 1) / 2
        steps = [(number - middle) / max(middle, 0.5) for number in range(leaf.leaflets)]
        return [(leaf.stalk, step * leaf.spread, leaf.size * (1 - leaf.taper * abs(step))) for step in steps]
    places = []
    for pair in range(leaf.leaflets):
        part = (pair + 0.3) / leaf.leaflets
        size = leaf.size * (1 - leaf.taper * part)
        for side in (1, -1):
            places.append((leaf.stalk + part * 0.85, side * leaf.spread, size))
            if leaf.compound == "twice":
                out = size * 0.45
                x = leaf.stalk + part * 0.85 + out * compute_direction(leaf.spread)[0]
                places.append((x, side * (leaf.spread + 0.1), -out))
    return [*places, (leaf.stalk + 0.8, 0.0, leaf.size * (1 - leaf.taper))]


def pose_blade(points: np.ndarray, x: float, turn: float, size: float, spread: float) -> np.ndarray:
    """Places a blade's points in its leaf; a negative size is a fork's, which starts on the side of its leaflet."""
    y = 0.0 if size > 0 else -size * compute_direction(spread)[1] * (1 if turn > 0 else -1)
    return rotate_points(points * abs(size), turn, x, y)


@lru_cache(maxsize=512)
def build_leaf_outline(leaf: Leaf) -> LeafOutline:
    """Builds the leaf's points, rounded to 1/4096, once: a plant's leaves differ in size and bend only."""
    halves, lines = build_blade(leaf.blade)
    reach = leaf.stalk + (0.9 if leaf.compound in ("pinnate", "twice") else 0.02)
    axis = stack_points(np.arange(6) / 5 * reach, np.zeros(6))
    outlines, sides, veins = [strip(axis, 0.028, 0.018)], [0], []
    for x, turn, size in place_blades(leaf):
        outlines += [pose_blade(half, x, turn, size, leaf.spread) for half in halves]
        sides += [1, -1]
        veins += [pose_blade(line, x, turn, size, leaf.spread) for line in lines]
    lengths = np.cumsum([0, *(len(points) for points in (*outlines, *veins))]).tolist()
    ranges = tuple(pairwise(lengths))
    points = np.rint(np.concatenate(outlines + veins) * 4096) / 4096
    return LeafOutline(
        points, build_edges(ranges[: len(sides)]), tuple(sides), build_edges(ranges[len(sides) :], closed=False)
    )
