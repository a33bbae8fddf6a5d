"""Reports a base search: combinations ranked in a table and a chart, and the recipe that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from pipeline import paths
from pipeline.config import Competition, Recipe
from pipeline.ensemble.member_selection import CombinationScores, Members, SelectionHistory
from pipeline.evaluation.intervals import Interval, build_difference_record, format_mean, format_plus_minus
from pipeline.evaluation.metrics import find_metric
from pipeline.figures.style import BLUE, GREY, INK, ORANGE, RULE, build_figure, render_png, style_axes
from pipeline.figures.text_table import Cell, format_records
from pipeline.files import write_atomic
from pipeline.output import print_results
from pipeline.run_report.experiment_page import write_experiment_page
from pipeline.runs import folder as runs
from pipeline.terminal import paint_verdict

MAX_COMBINATIONS = 32


RANKING_NOTE = "by ridge regression in the plain view, which ranks bases; the head of a run scores better"
MAX_TABLE_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class BaseSearchResult:
    """Everything that scouting found.

    Args:
        names: of the bases, as the recipe has them.
        widths: number of features of each.
        trials: what each combination scored.
        l2_values: the best one of each combination.
        paths: the metric's mean over folds for every l2, of each combination.
        growth: which bases belong together.
        metric: of the competition.
    """

    names: Sequence[str]
    widths: Sequence[int]
    trials: CombinationScores
    l2_values: Mapping[Members, float]
    paths: Mapping[Members, Mapping[float, float]]
    growth: SelectionHistory
    metric: str

    @property
    def short(self) -> list[str]:
        """The names without the files of their weights, where they can be told apart without."""
        cut = [name.partition("=")[0] for name in self.names]
        return cut if len(set(cut)) == len(cut) else list(self.names)

    def format_members(self, members: Members) -> str:
        """Returns the names of a combination."""
        return " + ".join(self.short[member] for member in sorted(members))

    def spread(self, members: Members) -> float:
        """Returns the sample deviation over folds."""
        return float(pd.Series(self.trials.folds[members]).std())

    def format_score(self, members: Members) -> str:
        """Returns a combination's metric with its spread."""
        return format_mean(self.trials.mean(members), self.spread(members))


def plot_combinations(result: BaseSearchResult, title: str) -> bytes:
    """Plots the best combinations, every single base and the winner, the best first (UpSet, Lex et al. 2014).

    Args:
        result: all combinations.
        title: the finding.

    Returns:
        A PNG file.
    """
    ranked = result.trials.ranked()
    shown = [
        members
        for place, members in enumerate(ranked)
        if place < MAX_COMBINATIONS or members == result.growth.winner or len(members) == 1
    ]
    names = result.short
    left, below = 0.5 + 0.075 * max(map(len, names)), 0.55 + 0.27 * len(names)
    width, height = max(7.5, left + 0.27 * len(shown) + 0.5), below + 3.6
    note = "Bars: ± one sample deviation over folds. Upright numbers: far off the scale."
    less = f" The best {MAX_COMBINATIONS} of {len(ranked)}, and every base alone." if len(shown) < len(ranked) else ""
    made = build_figure(width, height, title, note + less)
    across = 1 - (left + 0.3) / width
    axes = made.add_axes((left / width, (below + 0.1) / height, across, 2.8 / height))
    _draw_scores(axes, result, shown)
    axes.set_ylabel(find_metric(result.metric).label)
    lower = made.add_axes((left / width, 0.45 / height, across, (below - 0.45) / height), sharex=axes)
    _draw_members(lower, result, shown)
    return render_png(made)


def _draw_scores(axes: Axes, result: BaseSearchResult, shown: Sequence[Members]) -> None:
    """Draws a point with its spread for each combination; of those far worse only the number, at the edge."""
    style_axes(axes)
    scores, spreads = [result.trials.mean(members) for members in shown], [result.spread(members) for members in shown]
    span = abs(scores[len(scores) * 3 // 4] - scores[0]) + 2 * max(spreads[0], 1e-9)
    edge, side = (0.98, "top") if scores[-1] > scores[0] else (0.02, "bottom")
    for place, (members, score, spread) in enumerate(zip(shown, scores, spreads, strict=True)):
        colour = ORANGE if members == result.growth.winner else BLUE
        if abs(score - scores[0]) > 2 * span:
            text = axes.text(place, edge, f"{score:.3g}", ha="center", va=side, fontsize=8, color=GREY)
            text.set(transform=axes.get_xaxis_transform(), rotation=90)
            continue
        axes.errorbar(place, score, yerr=spread, fmt="o", color=colour, capsize=2, markersize=6, linewidth=1.3)
    axes.set(xlim=(-0.7, len(shown) - 0.3))
    axes.margins(y=0.1)
    axes.tick_params(labelbottom=False)


def _draw_members(axes: Axes, result: BaseSearchResult, shown: Sequence[Members]) -> None:
    """Draws a filled dot where a base is in the combination."""
    names = result.short
    style_axes(axes)
    axes.grid(visible=False)
    for place, members in enumerate(shown):
        inside = sorted(members)
        colour = ORANGE if members == result.growth.winner else INK
        axes.scatter([place] * len(names), range(len(names)), s=34, color=RULE, zorder=1)
        axes.plot([place] * len(inside), inside, "-o", color=colour, markersize=6, linewidth=1.6, zorder=2)
    axes.set_yticks(range(len(names)), names, fontsize=8.5, color=GREY)
    axes.set(ylim=(len(names) - 0.4, -0.6), xticks=[])
    axes.spines["bottom"].set_visible(False)


def build_records(result: BaseSearchResult) -> list[dict[str, Any]]:
    """Builds one record a combination, the best first."""
    return [
        {
            "rank": place,
            "bases": result.format_members(members),
            "score": result.trials.mean(members),
            "spread": result.spread(members),
            "l2": result.l2_values[members],
            "width": sum(result.widths[member] for member in members),
            "folds": " ".join(f"{value:.6f}" for value in result.trials.folds[members]),
            "winner": members == result.growth.winner,
            **{f"at {l2:.0e}": score for l2, score in result.paths[members].items()},
        }
        for place, members in enumerate(result.trials.ranked(), 1)
    ]


def build_base_records(result: BaseSearchResult) -> list[dict[str, Any]]:
    """Builds one record a base, alone and what it gains; the largest gain first."""
    gains = [result.trials.with_and_without(number) for number in range(len(result.names))]
    records = [
        {
            "base": result.names[number], "name": result.short[number],
            "score": result.trials.mean(alone), "spread": result.spread(alone),
            "gain": build_difference_record(gain), "worth": format_plus_minus(gain, 4),
        }
        for number, gain in enumerate(gains)
        for alone in [frozenset([number])]
    ]  # fmt: skip
    return sorted(records, key=lambda record: -record["gain"]["estimate"])


def format_tables(result: BaseSearchResult) -> list[list[str]]:
    """Formats the best combinations, every base alone and the winner; then the gain by each base, the largest first."""
    ranked = [
        {**record, "mark": " <- the winner" if record["winner"] else ""}
        for record, members in zip(build_records(result), result.trials.ranked(), strict=True)
        if record["rank"] <= MAX_TABLE_ROWS or len(members) == 1 or record["winner"]
    ]
    score = "{score:.4f} ± {spread:.4f}"
    combinations = {
        "rank": "{rank}",
        result.metric: score,
        "l2": "{l2:.0e}",
        "width": "{width}",
        "bases": "{bases}{mark}",
    }
    bases: dict[str, Cell] = {"base": "{name}", "alone": score, "gain ± noise (95 %)": "{worth}",
             "verdict": lambda record: paint_verdict(record["gain"]["verdict"])}  # fmt: skip
    return [[RANKING_NOTE, *format_records(ranked, combinations)], format_records(build_base_records(result), bases)]


def format_conclusions(result: BaseSearchResult) -> list[str]:
    """Formats the steps of the selection, and the winner."""
    lines = []
    for step in result.growth.steps:
        onto, name = result.format_members(step.onto), result.short[step.member]
        lines.append(f"{step.decision}, {step.gain.verdict}: {name} onto {onto}: {format_plus_minus(step.gain, 4)}")
    over = result.growth.over_best
    if over is not None:
        best, tried = result.format_members(result.trials.ranked()[0]), len(result.trials.folds)
        lines.append(f"the best of {tried}, {best}, is within noise of the winner: {format_plus_minus(over, 4)}")
    winner = result.growth.winner
    lines.append(f"winner: {result.format_members(winner)}, {result.metric} {result.format_score(winner)}")
    return lines


def build_step_records(result: BaseSearchResult) -> list[dict[str, Any]]:
    """Builds one record a step of the selection."""
    return [
        {"base": result.names[step.member], "onto": result.format_members(step.onto), "decision": step.decision,
         "gain": build_difference_record(step.gain)}
        for step in result.growth.steps
    ]  # fmt: skip


def format_recipe(recipe: Recipe) -> str:
    """Formats a recipe as a competition's file has it: the fields that differ from the defaults."""
    plain = Recipe()
    values = {one.name: getattr(recipe, one.name) for one in fields(Recipe)}
    words = [f"{name}={value!r}" for name, value in values.items() if value != getattr(plain, name) or name == "bases"]
    return f"Recipe({', '.join(words)})"


def format_verdict(gain: Interval, head: str, *, refused: bool = False) -> str:
    """Returns whether the recipe's own head finds a combination better than the best base alone.

    Args:
        gain: over that base.
        head: its name.
        refused: the quick classifier had not taken the combination.
    """
    follows = ", which is kept" if not gain.is_positive else ", though the ranking had refused it" if refused else ""
    words = f"{gain.verdict}: {format_plus_minus(gain, 4)} over the best base alone{follows}"
    return f"by the {head} head the combination is {words}"


def write_search_report(competition: Competition, result: BaseSearchResult) -> list[Path]:
    """Prints the tables and what follows from them; writes scout.csv, scout.png and scout.html.

    Args:
        competition: whose reports' folder they go to.
        result: what scouting found.
    """
    records = build_records(result)
    print_results(
        {"metric": result.metric, "combinations": records, "bases": build_base_records(result),
         "steps": build_step_records(result), "winner": [result.names[one] for one in sorted(result.growth.winner)]},
        *format_tables(result), [paint_verdict(line) for line in format_conclusions(result)],
    )  # fmt: skip
    folder = paths.reports_folder(competition.name)
    winner, count = result.format_members(result.growth.winner), len(result.trials.folds)
    title = f"{competition.name}: take {winner}, of {count} combinations"
    picture = plot_combinations(result, title)
    runs.write_table(folder / "scout.csv", records)
    write_atomic(folder / "scout.png", lambda file: file.write(picture))
    page = write_experiment_page(
        folder / "scout.html",
        title=title,
        kind="base search",
        conclusions=[RANKING_NOTE, *format_conclusions(result)],
        tables={"Combinations": records},
        picture=picture,
    )
    return [folder / "scout.csv", folder / "scout.png", page]
