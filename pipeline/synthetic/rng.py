"""Generates the random numbers of one picture, with methods that NumPy guarantees not to change."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Rng:
    """A seeded source of numbers.

    Args:
        keys: whole numbers from 0 up; the same keys give the same numbers.
    """

    def __init__(self, *keys: int) -> None:
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(keys)))

    def between(self, low: float, high: float) -> float:
        """Returns a number, uniform in [low, high)."""
        return low + (high - low) * self.random.random()

    def bell(self, middle: float, spread: float) -> float:
        """Returns a number within `spread` of the middle, mostly near it: the mean of three uniform ones."""
        total = self.random.random() + self.random.random() + self.random.random()
        return middle + spread * (total / 1.5 - 1.0)

    def whole(self, low: int, high: int) -> int:
        """Returns a whole number from low to high, both included."""
        return low + int((high - low + 1) * self.random.random())

    def chance(self, probability: float) -> bool:
        """Returns True with a probability."""
        return self.random.random() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        """Returns one of the items."""
        return items[self.whole(0, len(items) - 1)]

    def order(self, count: int) -> list[int]:
        """Returns the numbers 0 to count - 1, shuffled (Fisher and Yates)."""
        numbers = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.whole(0, last)
            numbers[last], numbers[other] = numbers[other], numbers[last]
        return numbers

    def texture(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns uniform uint8 values of a shape."""
        return self.random.integers(0, 256, shape, dtype=np.uint8)
