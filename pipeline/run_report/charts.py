"""Charts as plain geometry, which the template draws as inline SVG in the colours of the light or dark page."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 42
"""Pixels around the plot, for ticks and labels."""
MAX_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, or one set of dots or bars.

    Args:
        name: in the legend; empty for none.
        style: class of the SVG element: `blue`, `orange`, `green` or `grey`, and `dashed`.
        points: x and y of each, (n, 2).
        kind: `line`, `dots` or `bars` (from zero).
        notes: a tooltip for each point; or none.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    kind: str = "line"
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels.

    Args:
        low: the value at `start`.
        high: the value at `end`.
        start: in pixels.
        end: in pixels.
        logarithmic: by the values' logarithms.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Returns the pixel of a value, to a tenth."""
        low, high, value = np.log10([self.low, self.high, value]) if self.logarithmic else (self.low, self.high, value)
        return round(float(self.start + (value - low) / (high - low) * (self.end - self.start)), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and text of each tick: at 1, 2 or 5 times a power of ten, or at powers of ten."""
        if self.logarithmic:
            powers = np.arange(np.ceil(np.log10(self.low) - 1e-9), np.log10(self.high) + 1e-9)
            values = 10.0 ** powers[:: -(-len(powers) // MAX_TICKS) or 1]
        else:
            values = find_ticks(self.low, self.high)
        return [(self.place(value), f"{value + 0.0:g}") for value in values]  # + 0.0 takes the sign of -0 away


def find_ticks(low: float, high: float) -> np.ndarray:
    """Finds at most MAX_TICKS + 1 round values from low to high, 1, 2 or 5 times a power of ten apart."""
    least = (high - low) / MAX_TICKS
    power = 10.0 ** np.floor(np.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    return np.round(np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step, 10)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines, dots and bars between two axes.

    Args:
        title: the finding or the subject, which a screen reader reads.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        series: in the order of drawing.
        logarithmic: whether the horizontal axis is.
        x_range: its ends; None takes the points'.
        y_range: the same of the vertical axis.
        width: in pixels.
        height: in pixels.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    logarithmic: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = field(default=LEFT, init=False)
    top: int = field(default=TOP, init=False)

    @property
    def x(self) -> Axis:
        """The horizontal axis."""
        low, high = self.x_range or self._span(0)
        return Axis(low, high, LEFT, self.width - RIGHT, self.logarithmic)

    @property
    def y(self) -> Axis:
        """The vertical axis, which grows upwards."""
        low, high = self.y_range or self._span(1)
        return Axis(low, high, self.height - BOTTOM, TOP)

    def _span(self, column: int) -> tuple[float, float]:
        """Returns the ends of the points, a little apart where they are one."""
        values = np.array([point[column] for one in self.series for point in one.points])
        low, high = float(values.min()), float(values.max())
        if self.logarithmic and column == 0:
            return (low, high) if high > low else (low / 10, high * 10)
        edge = 0.04 * (high - low) or abs(low) / 10 or 1.0
        return low - edge, high + edge

    @property
    def drawn(self) -> list[dict[str, object]]:
        """Each series with its points in pixels."""
        x, y = self.x, self.y
        return [
            {
                "name": one.name, "style": one.style, "kind": one.kind, "notes": one.notes,
                "points": [(x.place(a), y.place(b)) for a, b in one.points],
            }
            for one in self.series
        ]  # fmt: skip

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Style and name of the series that have a name, each name once; dots have the style `dot`, too."""
        named = {one.name: f"{one.style}{' dot' if one.kind == 'dots' else ''}" for one in self.series if one.name}
        return [(style, name) for name, style in named.items()]
