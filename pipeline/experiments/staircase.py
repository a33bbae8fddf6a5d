"""Draws the staircase of a ladder: a step for each strategy, with accuracy, intervals, gain and cost."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from pipeline.evaluation.intervals import wilson_interval
from pipeline.figures.style import BLUE, GREY, INK, ORANGE, PALE, build_figure, render_png, style_axes

PART_STYLES = {"validation": (0.31, ORANGE, "o"), "test": (0.69, BLUE, "D")}
"""Where on its step a part stands, its colour and its mark."""


@dataclass(frozen=True, kw_only=True)
class LadderStep:
    """One strategy of the ladder.

    Args:
        name: of the strategy.
        validation: accuracy, one a seed.
        test: accuracy, one a seed.
        pictures: how many the validation part and the test part have.
        seconds: that the strategy took, caches as they were.
        trained: number of trained parameters.
        verdict: on it against the step before, see `find_verdict`; empty for the first.
    """

    name: str
    validation: Sequence[float]
    test: Sequence[float]
    pictures: tuple[int, int]
    seconds: float
    trained: int
    verdict: str = ""

    @property
    def height(self) -> float:
        """Mean test accuracy."""
        return float(np.mean(self.test))


def plot_staircase(steps: Sequence[LadderStep], *, chance: float, title: str | None = None) -> bytes:
    """Plots the ladder, one step a strategy: accuracy with 95 % intervals, gain, seconds and parameters.

    Args:
        steps: from the bottom upwards, at least one.
        chance: accuracy of the commonest class.
        title: the finding; None finds the largest step.

    Returns:
        A PNG file.
    """
    seeds = max(len(step.test) for step in steps)
    note = "Bars: 95% Wilson interval, given the number of pictures. A step stands at its test accuracy."
    note += f" Small dots: {seeds} seeds; marks: their mean." if seeds > 1 else ""
    width = max(8.0, 1.9 * len(steps) + 1.2)
    made = build_figure(width, 5.6, title or format_headline(steps), note)
    axes = made.add_axes((0.8 / width, 0.265, 1 - 1.0 / width, 0.61))
    style_axes(axes)
    floor, heights = _compute_axis_floor(steps, chance), [step.height for step in steps]
    axes.stairs(heights, range(len(steps) + 1), baseline=floor, fill=True, color=PALE, zorder=1)
    axes.stairs(heights, range(len(steps) + 1), baseline=None, color=BLUE, linewidth=1.4, zorder=2)
    for place, step in enumerate(steps):
        _draw_parts(axes, place, step)
        _draw_costs(axes, place, step, heights[place] - heights[place - 1] if place else None)
    if chance >= floor:
        axes.axhline(chance, color=GREY, linewidth=1, linestyle=(0, (5, 4)), zorder=3)
        axes.annotate(f"chance {chance:.0%}", (0, chance), (6, 3), textcoords="offset points", fontsize=9, color=GREY)
    axes.set(xlim=(0, len(steps)), ylim=(floor, 1 + 0.06 * (1 - floor)), ylabel="accuracy", xticks=[])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if floor < 0.8 else 1))
    axes.set_yticks([tick for tick in axes.get_yticks() if floor <= tick <= 1.0001])
    for name, (_, colour, mark) in PART_STYLES.items():
        axes.plot([], [], mark, color=colour, markersize=6, label=name)
    made.legend(loc="upper left", bbox_to_anchor=(0.01, 0.945), frameon=False, fontsize=9.5, ncols=2, handletextpad=0.2)
    return render_png(made)


def format_headline(steps: Sequence[LadderStep]) -> str:
    """Formats the largest step in one sentence."""
    first, top = steps[0], max(steps, key=lambda step: step.height)
    if len(steps) == 1:
        return f"{first.name}: {first.height:.1%} on test"
    if top is first:
        return f"{first.name} reaches {first.height:.1%} on test, and no later strategy more"
    gains = [after.height - before.height for before, after in itertools.pairwise(steps)]
    largest = int(np.argmax(gains))
    words = f"From {first.height:.1%} to {top.height:.1%}"
    return f"{words}; the largest step is “{steps[largest + 1].name}”, {100 * gains[largest]:+.1f} points"


def format_duration(seconds: float) -> str:
    """Seconds as a reader would say them: `0.4 s`, `48 s`, `12 min`, `3.1 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _compute_axis_floor(steps: Sequence[LadderStep], chance: float) -> float:
    """Computes where the axis begins: below chance, or below the lowest step where all stand far above it."""
    lowest = min(min(*step.validation, *step.test) for step in steps)
    near = chance - 0.06 * (1 - chance)
    return max(0.0, near if lowest - chance < 0.7 * (1 - chance) else lowest - 0.6 * max(1 - lowest, 0.03))


def _draw_parts(axes: Axes, place: int, step: LadderStep) -> None:
    """Draws the two marks of a step, their intervals, their seeds and their numbers."""
    for (name, (offset, colour, mark)), pictures in zip(PART_STYLES.items(), step.pictures, strict=True):
        values = step.validation if name == "validation" else step.test
        mean = float(np.mean(values))
        interval = wilson_interval(mean * pictures, pictures)
        reach = [[mean - interval.low], [interval.high - mean]]
        axes.errorbar(
            place + offset, mean, yerr=reach, fmt=mark, color=colour, markersize=6, capsize=4, linewidth=1.6, zorder=5
        )
        if len(values) > 1:
            spots = place + offset + np.sign(offset - 0.5) * np.linspace(0.07, 0.16, len(values))
            axes.scatter(spots, values, s=12, color="white", edgecolor=colour, linewidth=1, zorder=6)
        top = max(interval.high, *values)
        weight = "bold" if name == "test" else "normal"
        axes.annotate(
            f"{mean:.1%}", (place + offset, top), (0, 4), textcoords="offset points", ha="center", va="bottom",
            fontsize=9.5, color=colour, fontweight=weight, zorder=7,
        )  # fmt: skip


def _draw_costs(axes: Axes, place: int, step: LadderStep, gain: float | None) -> None:
    """Writes below a step its name, its gain and its cost."""
    gained = "" if gain is None else f"{100 * gain:+.1f} points"
    gained += f", {step.verdict}" if step.verdict == "within noise" else ""
    number = f"{step.trained:,}" if step.trained < 1e6 else f"{step.trained / 1e6:,.2f} M"
    lines = [
        (step.name, 11, INK, "bold"),
        (gained or "the first step", 8.5, GREY if step.verdict == "within noise" or gain is None else BLUE, "normal"),
        (format_duration(step.seconds), 8.5, INK, "normal"),
        (f"{number} trained parameters", 8.5, INK, "normal"),
    ]
    for line, (words, size, colour, weight) in enumerate(lines):
        axes.text(
            place + 0.5, -0.035 - 0.068 * line - 0.012 * (line > 0), words, transform=axes.get_xaxis_transform(),
            ha="center", va="top", fontsize=size, color=colour, fontweight=weight,
        )  # fmt: skip
