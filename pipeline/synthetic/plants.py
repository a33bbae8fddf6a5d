"""Grows seedlings: `grow_plant` builds one plant of a random age from the form of a species.

Lengths are relative to a full-grown leaf; the soil is z = 0, and z goes up.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.synthetic.canvas import build_edges, compute_direction, strip
from pipeline.synthetic.leaves import Leaf, LeafOutline, build_leaf_outline
from pipeline.synthetic.rng import Rng

SPIRALS = {"rosette": (0.382, 0.04), "alternate": (0.5, 0.07)}
"""Turns from one leaf to the next, and their spread."""


@dataclass(frozen=True, kw_only=True)
class PlantForm:
    """The form of a species.

    Args:
        leaf: its true leaves.
        cotyledon: its two seed leaves.
        arrangement: `rosette` (spiral on the soil), `opposite` (crossed pairs up a stem), `alternate` (one at a node,
            left and right), `whorl` (rings up a stem) or `tuft` (a fan from one point).
        young, old: leaves (rosette, tuft, alternate), pairs or rings of the youngest and the oldest plants.
        ring: leaves in a ring.
        internode: stem between two nodes.
        rise: slope of the leaves, in turns.
        droop: how far their tips hang.
        stems: lean of the stem, 0 upright to 1 lying.
    """

    leaf: Leaf
    cotyledon: Leaf
    arrangement: str = "rosette"
    young: int = 3
    old: int = 8
    ring: int = 6
    internode: float = 0.5
    rise: float = 0.06
    droop: float = 0.15
    stems: float = 0.3


@dataclass(frozen=True)
class Organ:
    """A leaf or a stem in space.

    Args:
        points: (n, 3) float64.
        outline: the polygons of the points.
        height: sort key, organs are drawn from the lowest up.
        heading: direction of the leaf, in turns.
    """

    points: np.ndarray
    outline: LeafOutline
    height: float
    heading: float


def stack_points_3d(x: np.ndarray | float, y: np.ndarray | float, z: np.ndarray) -> np.ndarray:
    """Stacks coordinates to points, (n, 3) float64."""
    points = np.empty((len(z), 3))
    points[:, 0], points[:, 1], points[:, 2] = x, y, z
    return points


def place_leaf(
    dice: Rng, leaf: Leaf, base: np.ndarray, heading: float, length: float, rise: float, droop: float
) -> Organ:
    """Places a leaf at a point, randomly bent, folded and drooping.

    Args:
        dice: chooses how far.
        leaf: its outline.
        base: (3,), where its stalk starts.
        heading: turns.
        length: of the leaf without its stalk.
        rise: turns.
        droop: how far the tip hangs.
    """
    shape = build_leaf_outline(leaf)
    x, y = shape.points[:, 0], shape.points[:, 1]
    bend, fold, wide = dice.bell(0, 0.22), dice.bell(0.2, 0.35), dice.bell(1, 0.16)
    side = (y * wide + bend * x * x) * length
    level, steep = compute_direction(rise)
    forward = x * (length * level)
    up = (x * steep - droop * x * x + fold * np.abs(y)) * length
    along, across = compute_direction(heading)
    points = stack_points_3d(forward * along - side * across, forward * across + side * along, up) + base
    return Organ(points, shape, float(base[2]) + 0.3 * length * (steep - 0.5 * droop), heading)


def sample_headings(form: PlantForm, dice: Rng, nodes: int) -> list[list[float]]:
    """Samples the headings of the leaves of each node, in turns, the oldest node first."""
    start = dice.between(0, 1)
    if form.arrangement in SPIRALS:
        step, spread = SPIRALS[form.arrangement]
        return [[start + step * node + dice.bell(0, spread)] for node in range(nodes)]
    if form.arrangement == "tuft":
        return [[start + 0.5 * (node % 2) + dice.bell(0, 0.2)] for node in range(nodes)]
    count = 2 if form.arrangement == "opposite" else form.ring
    twist = 0.25 if form.arrangement == "opposite" else 0.5 / count
    return [
        [start + twist * node + number / count + dice.bell(0, 0.025) for number in range(count)]
        for node in range(nodes)
    ]


def sample_stem(form: PlantForm, dice: Rng, nodes: int, start: float) -> np.ndarray:
    """Samples the nodes in space, (nodes + 1, 3), the cotyledons' first; a rosette's are all near the soil."""
    if form.arrangement in ("rosette", "tuft"):
        return stack_points_3d(0, 0, 0.05 + 0.02 * np.arange(nodes + 1))
    lean = min(1.0, max(0.0, dice.bell(form.stems, 0.3))) * 0.24
    upright, sideways = compute_direction(lean)
    course, curve = start + 0.25 + dice.bell(0, 0.1), dice.bell(0, 0.03)
    points = [np.array([0.0, 0.0, 0.15])]
    for node in range(nodes):
        step = form.internode * dice.bell(1, 0.2) * (1 - 0.5 * node / nodes)
        along, across = compute_direction(course + curve * node)
        points.append(points[-1] + (step * sideways * along, step * sideways * across, step * upright))
    return np.array(points)


def build_stem_organ(points: np.ndarray) -> Organ:
    """Builds the stem as a band, drawn below the leaves."""
    flat = strip(points[:, :2], 0.035, 0.022)
    heights = np.concatenate([points[:, 2], points[::-1, 2]])
    shape = LeafOutline(flat, build_edges(((0, len(flat)),)), (0,), None)
    return Organ(stack_points_3d(flat[:, 0], flat[:, 1], heights), shape, -1.0, 0.0)


def grow_plant(form: PlantForm, dice: Rng) -> list[Organ]:
    """Grows one plant of a random age; returns its organs from the lowest to the highest."""
    age = dice.between(0, 1)
    nodes = form.young + int(age * (form.old - form.young + 0.999))
    turns = sample_headings(form, dice, nodes)
    stem = sample_stem(form, dice, nodes, turns[0][0])
    organs = [build_stem_organ(stem)] if form.arrangement not in ("rosette", "tuft") else []
    for node, node_turns in enumerate(turns):
        youth = (node + 1) / nodes
        size = (0.72 + 0.28 * min(1.0, 2 * node / nodes)) * (1 - 0.62 * youth**3 * dice.between(0.5, 1))
        rise = form.rise + 0.07 * youth * youth
        for heading in node_turns:
            length, slope = size * dice.bell(1, 0.15), rise + dice.bell(0, 0.035)
            droop = form.droop * dice.between(0.5, 1.5)
            organs.append(place_leaf(dice, form.leaf, stem[node + 1], heading, length, slope, droop))
    if dice.chance(0.95 - 0.75 * age):
        first, size = turns[0][0] + 0.25 + dice.bell(0, 0.06), dice.bell(0.5, 0.15)
        for heading in (first, first + 0.5 + dice.bell(0, 0.05)):
            organs.append(place_leaf(dice, form.cotyledon, stem[0], heading, size, 0.01 + dice.bell(0.02, 0.03), 0.1))
    return sorted(organs, key=lambda organ: organ.height)
