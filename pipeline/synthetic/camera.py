"""Simulates light and camera: shadows, blur, colour cast, noise, and a plant's pose and size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.synthetic.canvas import (
    FRACTION_BITS,
    THICK_BRUSH,
    Canvas,
    Colour,
    Edges,
    apply_box_blur,
    compute_direction,
    merge_edges,
    rasterize_polygons,
    rotate_points,
    stack_points,
    tint_colour,
)
from pipeline.synthetic.plants import Organ
from pipeline.synthetic.rng import Rng

MASK_SIDE = 160
MAX_EXTENT = 0.84
"""Of the picture's width, for the longer side of a plant."""


@dataclass(frozen=True)
class Light:
    """The light of one picture.

    Args:
        heading: direction of shadows, in turns.
        length: of a shadow over the height of its object.
        strength: darkness of shadows, 0 to 256.
        softness: radius of their edges in pixels of a picture of 128.
    """

    heading: float
    length: float
    strength: int
    softness: int

    @property
    def offset(self) -> tuple[float, float]:
        """The offset of the shadow of a point at height 1."""
        along, across = compute_direction(self.heading)
        return self.length * along, self.length * across


def sample_light(dice: Rng) -> Light:
    """Samples a light, from a grey day to a lamp."""
    return Light(dice.between(0, 1), dice.between(0.1, 0.9), dice.whole(20, 170), dice.whole(1, 5))


def sample_brightness(dice: Rng, size: int) -> np.ndarray:
    """Samples the brightness over the picture, with gradient, vignette and cast shadow: (size, size) int32, 256 = 1."""
    place = (np.arange(size, dtype=np.int32) * 512 + 256) // size - 256
    down, right = dice.whole(-70, 70), dice.whole(-70, 70)
    ramp = (place[:, None] * down + place[None] * right) // 256
    radius = (place[:, None] ** 2 + place[None] ** 2) // 256
    brightness = 256 + ramp - radius * dice.whole(0, 70) // 256
    if dice.chance(0.2):
        (right, down), edge = (int(256 * part) for part in compute_direction(dice.between(0, 1))), dice.whole(-150, 150)
        across = place[:, None] * down + place[None] * right
        brightness = brightness - np.clip((across // 256 - edge) * 4, 0, dice.whole(40, 110))
    return brightness


def apply_blur(dice: Rng, picture: np.ndarray) -> np.ndarray:
    """Blurs a picture (size, size, 3) uint8 by focus or motion, or not at all; returns int32."""
    amount = dice.whole(0, 256) if dice.chance(0.75) else 0
    axes: tuple[int, ...] = (0, 1)
    radius = dice.pick((1, 1, 1, 2))
    if dice.chance(0.2):
        axes, radius = (dice.whole(0, 1),), dice.pick((1, 2, 3))
    soft = apply_box_blur(picture, radius, axes) if amount else picture
    return (picture.astype(np.int32) * (256 - amount) + soft.astype(np.int32) * amount) >> 8


def simulate_camera(dice: Rng, picture: np.ndarray) -> np.ndarray:
    """Applies blur, brightness, colour cast, contrast and noise.

    Args:
        dice: chooses all of these.
        picture: (size, size, 3) uint8.

    Returns:
        (size, size, 3) uint8.
    """
    size = picture.shape[0]
    values = apply_blur(dice, picture)
    bright = dice.bell(260, 100)
    cast = np.array([int(bright * dice.bell(1, 0.22)) for _ in range(3)], np.int32)
    values = (values * sample_brightness(dice, size)[:, :, None] >> 8) * cast >> 8
    contrast, middle = int(dice.bell(256, 90)), dice.whole(90, 140)
    values = ((values - middle) * contrast >> 8) + middle + dice.whole(-12, 18)
    shape = (size, size, 3) if dice.chance(0.5) else (size, size, 1)
    grain = dice.texture(shape).astype(np.int32) - dice.texture(shape)
    values = values + (grain * dice.whole(2, 30) >> 8)
    return np.clip(values, 0, 255).astype(np.uint8)


def sample_leaf_colour(dice: Rng) -> Colour:
    """Samples a leaf's colour, from yellowish to bluish green, alike for all plants."""
    green = dice.between(85, 190)
    return tint_colour((green * dice.between(0.45, 0.95), green, green * dice.between(0.25, 0.7)), 1)


def project_points(points: np.ndarray, dice: Rng, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Projects points (n, 3) and their shadows on the soil into a tilted and rolled camera: each (n, 2)."""
    tilt, roll = abs(dice.bell(0, 0.14)), dice.between(0, 1)
    flat, steep = compute_direction(tilt)
    right, down = light.offset
    x, y, z = points.T
    ground = np.maximum(z, 0)
    projected = stack_points(x, y * flat - z * steep)
    shadow = stack_points(x + right * ground, (y + down * ground) * flat)
    return rotate_points(projected, roll), rotate_points(shadow, roll)


def fit_in_picture(points: np.ndarray, edges: Edges, area: float, dice: Rng) -> tuple[float, np.ndarray]:
    """Returns the scale at which the plant covers `area` of the picture, and the place of its origin, (2,)."""
    low, high = points.min(0), points.max(0)
    extent = float((high - low).max())
    fixed = np.rint((points - low) * ((MASK_SIDE << FRACTION_BITS) / extent)).astype(np.int64)
    mask = np.zeros(MASK_SIDE * MASK_SIDE, bool)
    mask[rasterize_polygons(fixed, edges, MASK_SIDE)[0]] = True
    covered = np.count_nonzero(mask) / MASK_SIDE**2 * extent * extent
    scale = min(float(np.sqrt(area / covered)), MAX_EXTENT / extent)
    room = np.maximum(0.06, (1.0 - (high - low) * scale) / 2)
    shift = np.array([dice.bell(0, 1.0) for _ in range(2)]) * room
    return scale, 0.5 + shift - (low + high) / 2 * scale


def paint_plant(canvas: Canvas, organs: Sequence[Organ], dice: Rng, light: Light, area: float, colour: Colour) -> None:
    """Draws a plant and its shadow.

    Args:
        canvas: to draw on.
        organs: the plant, from the lowest organ to the highest.
        dice: chooses its pose and place.
        light: gives the shadow and the leaves' shades.
        area: the share of the picture that it covers.
        colour: of its leaves.
    """
    starts = np.cumsum([0, *(len(organ.points) for organ in organs)]).tolist()
    edges = merge_edges([organ.outline.polygons for organ in organs], starts)
    projected, shadows = project_points(np.concatenate([organ.points for organ in organs]), dice, light)
    scale, origin = fit_in_picture(projected, edges, area, dice)
    canvas.shade(shadows * scale + origin, edges, light.strength, light.softness)
    whole = canvas.fixed(projected * scale + origin)
    vein, rim, gloss = dice.between(0.8, 1.35), dice.between(0.5, 0.8), dice.between(0.03, 0.22)
    for organ, start, end in zip(organs, starts[:-1], starts[1:], strict=True):
        fixed, shape, tone = whole[start:end], organ.outline, dice.bell(1, 0.16)
        lit = gloss * compute_direction(organ.heading - light.heading)[1]
        canvas.trace(fixed, shape.polygons, tint_colour(colour, rim * tone), THICK_BRUSH)
        shades = [tint_colour(colour, tone * (1 + lit * side)) for side in (-1, 0, 1)]
        canvas.fill(fixed, shape.polygons, [shades[side + 1] for side in shape.sides])
        if shape.veins is not None:
            canvas.trace(fixed, shape.veins, tint_colour(colour, tone * vein))
