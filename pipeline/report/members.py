"""Combinations as a chart: scores from the best on, and below each which members it has (Lex et al. 2014, UpSet)."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from pipeline.report.canvas import BLUE, GREY, INK, ORANGE, RULE, figure, plain, png

MOST = 32


@dataclass(frozen=True)
class Row:
    """One combination.

    Args:
        members: numbers of those that are in it.
        score: the metric, the mean over folds.
        spread: its sample deviation over folds.
        winner: whether it is the one to take.
    """

    members: frozenset[int]
    score: float
    spread: float
    winner: bool


def members_chart(rows: Sequence[Row], names: Sequence[str], *, metric: str, title: str, higher: bool) -> bytes:
    """The best combinations, every single member and the winner, the best first.

    Args:
        rows: all combinations, the best first.
        names: of the members.
        metric: its name, for the axis.
        title: the finding.
        higher: whether a larger value is a better one.

    Returns:
        A PNG file.
    """
    kept = [row for place, row in enumerate(rows) if place < MOST or row.winner or len(row.members) == 1]
    left, below = 0.5 + 0.075 * max(map(len, names)), 0.55 + 0.27 * len(names)
    width, height = max(7.5, left + 0.27 * len(kept) + 0.5), below + 3.6
    note = "Bars: ± one sample deviation over folds. Upright numbers: far off the scale."
    less = f" The best {MOST} of {len(rows)}, and every base alone." if len(kept) < len(rows) else ""
    made = figure(width, height, title, note + less)
    across = 1 - (left + 0.3) / width
    axes = made.add_axes((left / width, (below + 0.1) / height, across, 2.8 / height))
    _scores(axes, kept)
    axes.set_ylabel(f"{metric.replace('_', ' ')} ({'higher' if higher else 'lower'} is better)")
    _dots(made.add_axes((left / width, 0.45 / height, across, (below - 0.45) / height), sharex=axes), kept, names)
    return png(made)


def _scores(axes: Axes, rows: Sequence[Row]) -> None:
    """A point with its spread for each combination; for those that are far worse only the number, at the edge."""
    plain(axes)
    span = abs(rows[len(rows) * 3 // 4].score - rows[0].score) + 2 * max(rows[0].spread, 1e-9)
    edge, side = (0.98, "top") if rows[-1].score > rows[0].score else (0.02, "bottom")
    for place, row in enumerate(rows):
        colour = ORANGE if row.winner else BLUE
        if abs(row.score - rows[0].score) > 2 * span:
            words = axes.text(place, edge, f"{row.score:.3g}", ha="center", va=side, fontsize=8, color=GREY)
            words.set(transform=axes.get_xaxis_transform(), rotation=90)
            continue
        axes.errorbar(place, row.score, yerr=row.spread, fmt="o", color=colour, capsize=2, markersize=6, linewidth=1.3)
    axes.set(xlim=(-0.7, len(rows) - 0.3))
    axes.margins(y=0.1)
    axes.tick_params(labelbottom=False)


def _dots(axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    """A filled dot where a member is in the combination."""
    plain(axes)
    axes.grid(visible=False)
    for place, row in enumerate(rows):
        inside = sorted(row.members)
        colour = ORANGE if row.winner else INK
        axes.scatter([place] * len(names), range(len(names)), s=34, color=RULE, zorder=1)
        axes.plot([place] * len(inside), inside, "-o", color=colour, markersize=6, linewidth=1.6, zorder=2)
    axes.set_yticks(range(len(names)), list(names), fontsize=8.5, color=GREY)
    axes.set(ylim=(len(names) - 0.4, -0.6), xticks=[])
    axes.spines["bottom"].set_visible(False)
