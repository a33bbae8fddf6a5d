"""How good a base's features are at each depth, as a curve, with their number below."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.canvas import BLUE, INK, ORANGE, PALE, figure, plain, png


@dataclass(frozen=True, kw_only=True)
class Depth:
    """A base's features at one cut.

    Args:
        name: of the block; `whole base` for the last.
        width: number of features.
        score: the metric, the mean over folds.
        spread: its sample deviation over folds.
    """

    name: str
    width: int
    score: float
    spread: float = 0.0


def depth_curve(
    depths: Sequence[Depth], *, metric: str, best: int, enough: int, title: str, higher: bool = True
) -> bytes:
    """Quality of a base's features at each cut, from the picture upwards, and their number below.

    Args:
        depths: at least two, from the picture upwards.
        metric: its name, for the axis.
        best: which one is best.
        enough: the first that is within noise of the best.
        title: the finding.
        higher: whether a larger value is a better one.

    Returns:
        A PNG file.
    """
    longest, first = max(len(depth.name) for depth in depths), len(depths[0].name)
    names, left = 0.45 + 0.058 * longest, max(0.95, 0.048 * first - 0.25)
    width, height = max(7.5, 0.5 * len(depths) + left + 0.4), names + 4.8
    note = "Bars: ± one sample deviation over folds." if any(depth.spread for depth in depths) else ""
    made = figure(width, height, title, note)
    left, across = left / width, 1 - (left + 0.25) / width
    axes = made.add_axes((left, (names + 1.35) / height, across, 2.5 / height))
    _draw_scores(axes, depths, best, enough)
    axes.set_ylabel(f"{metric.replace('_', ' ')} ({'higher' if higher else 'lower'} is better)")
    _draw_widths(made, (left, names / height, across, 0.95 / height), depths, best)
    return png(made)


def _draw_scores(axes: Axes, depths: Sequence[Depth], best: int, enough: int) -> None:
    """The curve, its best cut and the range that is as good, and words for both above."""
    plain(axes)
    places, scores, spreads = range(len(depths)), [d.score for d in depths], [d.spread for d in depths]
    if enough < len(depths) - 1:
        axes.axvspan(enough - 0.5, len(depths) - 0.4, color=PALE, zorder=0, linewidth=0)
    axes.errorbar(places, scores, yerr=spreads, fmt="-o", color=BLUE, capsize=3, markersize=5, linewidth=1.6, zorder=3)
    axes.plot(best, scores[best], "*", color=ORANGE, markersize=17, markeredgecolor="white", zorder=5)
    axes.set(xlim=(-0.6, len(depths) - 0.4), xticks=[])
    axes.margins(y=0.12)
    words = f"★ best: {depths[best].name}, {depths[best].score:.4f}"
    axes.text(0, 1.115, words, transform=axes.transAxes, fontsize=9.5, color=ORANGE, fontweight="bold")
    words = f"shaded: from {depths[enough].name} on, nothing gained beyond noise"
    if enough == len(depths) - 1:
        words = "more depth pays, beyond noise, to the end"
    axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=9.5, color=BLUE)


def _draw_widths(made: Figure, place: tuple[float, float, float, float], depths: Sequence[Depth], best: int) -> None:
    """The number of features at each cut, and the names of the blocks."""
    axes = made.add_axes(place)
    plain(axes)
    axes.grid(visible=False)
    colours = [ORANGE if number == best else BLUE for number in range(len(depths))]
    bars = axes.bar(range(len(depths)), [depth.width for depth in depths], color=colours, width=0.62)
    axes.bar_label(bars, fontsize=8, color=INK, padding=1)
    axes.set(xlim=(-0.6, len(depths) - 0.4), yticks=[], ylabel="features")
    axes.margins(y=0.25)
    axes.set_xticks(
        range(len(depths)), [depth.name for depth in depths], rotation=50, ha="right", rotation_mode="anchor"
    )
