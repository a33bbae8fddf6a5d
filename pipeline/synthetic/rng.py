"""Chance: one generator a picture, seeded by whole numbers, asked only for what NumPy keeps the same for ever."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Rng:
    """A seeded source of numbers.

    Args:
        keys: whole numbers from 0 up; the same keys give the same throws.
    """

    def __init__(self, *keys: int) -> None:
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(keys)))

    def between(self, low: float, high: float) -> float:
        """A number, uniform in [low, high)."""
        return low + (high - low) * self.random.random()

    def bell(self, middle: float, spread: float) -> float:
        """A number within `spread` of the middle, most often near it: the mean of three uniform ones."""
        throws = self.random.random() + self.random.random() + self.random.random()
        return middle + spread * (throws / 1.5 - 1.0)

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int((high - low + 1) * self.random.random())

    def chance(self, probability: float) -> bool:
        """True as often as the probability says."""
        return self.random.random() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.whole(0, len(items) - 1)]

    def order(self, count: int) -> list[int]:
        """The numbers 0 to count - 1, shuffled (Fisher and Yates)."""
        numbers = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.whole(0, last)
            numbers[last], numbers[other] = numbers[other], numbers[last]
        return numbers

    def texture(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform uint8 values of the given shape."""
        return self.random.integers(0, 256, shape, dtype=np.uint8)
