"""Shows steps that were tried, their gains, and which were kept: a table for the terminal, and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pipeline.evaluation.intervals import Interval, find_verdict, format_difference, format_plus_minus
from pipeline.evaluation.metrics import find_metric
from pipeline.figures.style import BLUE, GREEN, GREY, INK, build_figure, render_png, style_axes
from pipeline.figures.text_table import format_records
from pipeline.terminal import paint_verdict

MIN_VISIBLE_GAIN = 5e-6
"""Smaller gains are zero in a table with five digits, and no verdict is built on them."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Something that was tried, judged on folds that it has not seen.

    Args:
        kind: `run`, `method` or `step`.
        name: what it is.
        folds: the metric on each fold.
        against: what it is compared with; empty for what comes first.
        gain: the difference to that, positive where it is better, the mean over folds.
        kept: whether the final fit builds on it; of methods, whether it is the one that was chosen.
        note: what the table says of it.
    """

    kind: str
    name: str
    folds: Sequence[float]
    against: str = ""
    gain: Interval | None = None
    kept: bool = False
    note: str = ""

    @property
    def score(self) -> float:
        """Mean over folds."""
        return float(np.mean(self.folds))

    @property
    def spread(self) -> float:
        """Sample deviation over folds."""
        return float(np.std(self.folds, ddof=1))

    @property
    def better(self) -> bool:
        """Whether it is better than what it is compared with, be it by noise."""
        return self.gain is not None and self.gain.estimate > 0

    @property
    def helps(self) -> bool:
        """Whether it is better than what it is compared with, beyond noise."""
        return self.verdict == "better"

    def taken(self, kept: bool, note: str = "") -> "StepResult":
        """Returns the same step with the decision on it."""
        return replace(self, kept=kept, note=note)

    @property
    def verdict(self) -> str:
        """What the nested folds say of it, see `find_verdict`; empty where it is compared with nothing."""
        return "" if self.gain is None else find_verdict(self.gain.estimate, within_noise=not self.counts)

    @property
    def counts(self) -> bool:
        """Whether the gain is beyond noise and can be seen in a table, be it a loss."""
        return self.gain is not None and not self.gain.within_noise and abs(self.gain.estimate) >= MIN_VISIBLE_GAIN

    @property
    def final_fit(self) -> str:
        """What the final fit, on all folds, does with it."""
        if self.kind != "step":
            return "chosen" if self.kept else ""
        if self.gain is None:
            return "the start" if self.kept else "not tried" if self.against else ""
        return "kept" if self.kept else "left out"

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        gain = (self.gain or Interval(0.0, 0.0, 0.0)).record()
        return {
            "kind": self.kind, "name": self.name, "score": self.score, "spread": self.spread, "against": self.against,
            "gain": gain["estimate"], "gain_low": gain["low"], "gain_high": gain["high"], "p_value": gain["p_value"],
            "verdict": self.verdict, "final_fit": self.final_fit, "kept": self.kept, "note": self.note,
        }  # fmt: skip


def format_step_table(steps: Sequence[StepResult], metric: str) -> list[str]:
    """Formats one line a step: its score and gain on nested folds, the verdict on them, and what the final fit does.

    Args:
        steps: at least one, of one kind.
        metric: its name, which stands above scores that are compared with nothing.
    """
    judged = "nested (judged)" if any(step.gain for step in steps) else metric
    return format_records(steps, {
        steps[0].kind: lambda step: step.name,
        judged: lambda step: find_metric(metric).format(step.score, step.spread),
        "gain ± noise (95 %)": lambda step: "" if step.gain is None else format_plus_minus(step.gain, 5),
        "verdict": lambda step: paint_verdict(step.verdict),
        "final fit": lambda step: step.final_fit,
        "note": lambda step: step.note,
    })  # fmt: skip


def format_total_gain(steps: Sequence[StepResult], metric: str, difference: Interval) -> str:
    """Formats the gain from the first step to the last one kept.

    Args:
        steps: in their order.
        metric: its name.
        difference: of the metric, the last step kept less the first.
    """
    record, kept = find_metric(metric), [step for step in steps if step.kept]
    first, last = kept[0], kept[-1]
    if first is last:
        return f"nothing beats the {first.name}"
    share = f"; {difference.estimate / first.score:+.1%}" if not record.higher_is_better else ""
    lines = format_difference(last.name, first.name, difference, higher=record.higher_is_better)
    return f"{lines}; {metric} {record.format(first.score)} to {record.format(last.score)}{share}"


def format_headline(steps: Sequence[StepResult], metric: str, difference: Interval) -> str:
    """Formats the same, short enough for a title."""
    kept = [step for step in steps if step.kept]
    words = f"{metric.replace('_', ' ')} {kept[0].score:.4f} to {kept[-1].score:.4f}"
    return (
        f"{words} by “{kept[-1].name}”{', within noise' if difference.within_noise else ''}"
        if len(kept) > 1
        else f"{words}: no step helps"
    )


def plot_steps(steps: Sequence[StepResult], metric: str, difference: Interval) -> bytes:
    """Plots the steps from top to bottom: every fold, the mean, and dropped steps in grey.

    Args:
        steps: in their order, at least one.
        metric: its name.
        difference: of the metric, the last step kept less the first.

    Returns:
        A PNG file.
    """
    height, left = 1.6 + 0.42 * len(steps), 0.5 + 0.085 * max(len(step.name) for step in steps)
    width = left + 7.0
    note = "Small dots: folds; large ones: their mean. Right: the gain over what it builds on, ± its 95% noise."
    made = build_figure(width, height, format_headline(steps, metric, difference), note)
    axes = made.add_axes((left / width, 0.85 / height, 4.2 / width, (height - 1.5) / height))
    style_axes(axes)
    for place, step in enumerate(steps):
        _draw_step(axes, place, step)
    kept = [(step.score, place) for place, step in enumerate(steps) if step.kept]
    axes.plot(*zip(*kept, strict=True), color=BLUE, linewidth=1.4, zorder=2)
    axes.set_yticks(range(len(steps)), [step.name for step in steps])
    axes.set(ylim=(len(steps) - 0.5, -0.5))
    axes.set_xlabel(find_metric(metric).label, fontsize=9, color=INK)
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.8)
    return render_png(made)


def _draw_step(axes: Axes, place: int, step: StepResult) -> None:
    """Draws one step: its folds, its mean and its gain."""
    colour = BLUE if step.kept else GREY
    axes.scatter(step.folds, [place] * len(step.folds), s=13, color="white", edgecolor=colour, linewidth=0.9, zorder=3)
    axes.scatter([step.score], [place], s=52, color=colour, zorder=4)
    words = step.final_fit
    if step.gain is not None:
        words = ", ".join(filter(None, (format_plus_minus(step.gain, 4), step.verdict, step.final_fit)))
    axes.annotate(
        words, (1.02, place), xycoords=axes.get_yaxis_transform(), va="center", fontsize=8.5,
        color=GREEN if step.helps else GREY,
    )  # fmt: skip
