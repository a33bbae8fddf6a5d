"""Light and lens: where the light comes from, and what it, the lens and the sensor do to a finished drawing."""

from dataclasses import dataclass

import numpy as np

from pipeline.drawn.canvas import box, direction
from pipeline.drawn.dice import Dice


@dataclass(frozen=True)
class Light:
    """The light of one picture.

    Args:
        heading: turns, where shadows fall.
        length: of a shadow over the height of what throws it.
        strength: how dark shadows are, 0 to 256.
        softness: radius of their edges in pixels of a picture of 128.
    """

    heading: float
    length: float
    strength: int
    softness: int

    @property
    def offset(self) -> tuple[float, float]:
        """Where the shadow of a point at height 1 falls."""
        along, across = direction(self.heading)
        return self.length * along, self.length * across


def light(dice: Dice) -> Light:
    """Some light: from a grey day to a lamp."""
    return Light(dice.between(0, 1), dice.between(0.1, 0.9), dice.whole(20, 170), dice.whole(1, 5))


def slope(dice: Dice, size: int) -> np.ndarray:
    """Brightness over the picture: a gradient, a vignette, a cast shadow: (size, size) int32, 256 = 1."""
    place = (np.arange(size, dtype=np.int32) * 512 + 256) // size - 256
    down, right = dice.whole(-70, 70), dice.whole(-70, 70)
    ramp = (place[:, None] * down + place[None] * right) // 256
    radius = (place[:, None] ** 2 + place[None] ** 2) // 256
    brightness = 256 + ramp - radius * dice.whole(0, 70) // 256
    if dice.chance(0.2):
        (right, down), edge = (int(256 * part) for part in direction(dice.between(0, 1))), dice.whole(-150, 150)
        across = place[:, None] * down + place[None] * right
        brightness = brightness - np.clip((across // 256 - edge) * 4, 0, dice.whole(40, 110))
    return brightness


def blurred(dice: Dice, picture: np.ndarray) -> np.ndarray:
    """Out of focus, shaken, or sharp."""
    amount = dice.whole(0, 256) if dice.chance(0.75) else 0
    axes: tuple[int, ...] = (0, 1)
    radius = dice.pick((1, 1, 1, 2))
    if dice.chance(0.2):
        axes, radius = (dice.whole(0, 1),), dice.pick((1, 2, 3))
    soft = box(picture, radius, axes) if amount else picture
    return (picture.astype(np.int32) * (256 - amount) + soft.astype(np.int32) * amount) >> 8


def exposed(dice: Dice, picture: np.ndarray) -> np.ndarray:
    """The picture under its light, through its lens, with its sensor's noise.

    Args:
        dice: chooses all of these.
        picture: (size, size, 3) uint8.

    Returns:
        (size, size, 3) uint8.
    """
    size = picture.shape[0]
    values = blurred(dice, picture)
    bright = dice.bell(260, 100)
    cast = np.array([int(bright * dice.bell(1, 0.22)) for _ in range(3)], np.int32)
    values = (values * slope(dice, size)[:, :, None] >> 8) * cast >> 8
    contrast, middle = int(dice.bell(256, 90)), dice.whole(90, 140)
    values = ((values - middle) * contrast >> 8) + middle + dice.whole(-12, 18)
    shape = (size, size, 3) if dice.chance(0.5) else (size, size, 1)
    grain = dice.texture(shape).astype(np.int32) - dice.texture(shape)
    values = values + (grain * dice.whole(2, 30) >> 8)
    return np.clip(values, 0, 255).astype(np.uint8)
