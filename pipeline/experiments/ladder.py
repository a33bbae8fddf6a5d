"""Runs the ladder: every strategy on the same pictures, what each step gains and costs, as a table and a staircase.

The ladder's pictures are links in a folder with a table of labels, so that each strategy is a plain run of one's own
competition; pixels and features are cached by content and shared with every other run. The test labels stay apart.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions, Training
from pipeline.data import subsets
from pipeline.data.labels import load_labeled_pictures
from pipeline.errors import require
from pipeline.evaluation.intervals import (
    compare_paired,
    estimate_over_seeds,
    estimate_over_seeds_and_pictures,
    find_verdict,
    format_difference,
    wilson_interval,
)
from pipeline.figures.style import BLUE, GREY, INK, ORANGE, PALE, build_figure, render_png, style_axes
from pipeline.figures.text_table import format_records
from pipeline.files import write_atomic, write_text
from pipeline.output import print_lines, print_results
from pipeline.run_report.experiment_page import write_experiment_page
from pipeline.runs import folder as runs
from pipeline.terminal import paint_verdict
from pipeline.workflow import run
from pipeline.workflow.finish import find_finished_run
from pipeline.workflow.train import select_trained_base

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


log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StrategyResult:
    """One strategy with one seed.

    Args:
        strategy: its name.
        seed: of training.
        validation: accuracy on the validation part.
        right: whether each test picture is right, (test,) bool, in the order of the answers.
        seconds: of the whole run, caches as they were.
        trained: number of trained parameters.
    """

    strategy: str
    seed: int
    validation: float
    right: np.ndarray
    seconds: float
    trained: int

    @property
    def test(self) -> float:
        """Accuracy on the test part."""
        return float(self.right.mean())


def write_ladder_report(
    name: str, base: str, climbed: Sequence[StrategyResult], pictures: tuple[int, int], chance: float
) -> list[Path]:
    """Prints the table and what each step is worth, and writes both and the staircase. Returns the files.

    Args:
        name: of the ladder's competition.
        base: the recipe's base, which enters the files' names.
        climbed: strategies and seeds.
        pictures: number of validation and of test pictures.
        chance: accuracy of naming the commonest class.
    """
    names = list(dict.fromkeys(one.strategy for one in climbed))
    by_strategy = {strategy: [one for one in climbed if one.strategy == strategy] for strategy in names}
    compared = {
        after: compare_strategies(by_strategy[before], by_strategy[after])
        for before, after in itertools.pairwise(names)
    }
    rows = [build_table_row(strategy, by_strategy[strategy], pictures[1], compared.get(strategy)) for strategy in names]
    sentences = [one.sentence for one in compared.values()]
    print_results(
        {"competition": name, "base": base, "chance": chance, "strategies": rows},
        format_records(rows, {
            "strategy": "{strategy}", "validation": "{validation:.1%}",
            "test (95 % interval)": "{test:.1%} ({test_low:.1%} to {test_high:.1%})", "points": "{points:+.1f}",
            "verdict": lambda row: paint_verdict(row["verdict"]), "seconds": "{seconds:,.0f}", "trained": "{trained:,}",
        }),
        [paint_verdict(line) for line in sentences],
    )  # fmt: skip
    steps = [
        LadderStep(
            name=strategy,
            validation=[one.validation for one in by_strategy[strategy]],
            test=[one.test for one in by_strategy[strategy]],
            pictures=pictures,
            seconds=row["seconds"],
            trained=row["trained"],
            verdict=row["verdict"],
        )
        for strategy, row in zip(names, rows, strict=True)
    ]
    folder = paths.reports_folder(name)
    picture, records = folder / f"staircase-{base}.png", folder / f"ladder-{base}.csv"
    staircase = plot_staircase(steps, chance=chance)
    write_atomic(picture, lambda file: file.write(staircase))
    runs.write_table(records, rows)
    page = write_experiment_page(
        folder / f"ladder-{base}.html",
        title=f"{name}: the ladder of {base}",
        kind="ladder",
        conclusions=sentences,
        tables={"Strategies, means over seeds": rows},
        picture=staircase,
    )
    return [records, picture, page]


@dataclass(frozen=True)
class StrategyComparison:
    """A strategy compared with the one before it on the ladder.

    Args:
        points: difference of the test accuracies, in percentage points.
        verdict: see `find_verdict`.
        sentence: the same in words, with the interval.
    """

    points: float
    verdict: str
    sentence: str


def build_table_row(
    name: str, result: Sequence[StrategyResult], total: int, compared: StrategyComparison | None = None
) -> dict[str, Any]:
    """Builds a row of the table: means over seeds; the interval is Wilson's, or Student's over seeds where wider."""
    right = float(np.mean([one.right.sum() for one in result]))
    interval = wilson_interval(right, total)
    low, high = interval.low, interval.high
    if len(result) > 1:
        seeds = estimate_over_seeds([one.test for one in result], 1 / total)
        low, high = min(low, max(0.0, seeds.low)), max(high, min(1.0, seeds.high))
    return {
        "strategy": name,
        "seeds": len(result),
        "validation": float(np.mean([one.validation for one in result])),
        "test": interval.estimate,
        "test_low": low,
        "test_high": high,
        "points": compared.points if compared else None,
        "verdict": compared.verdict if compared else "",
        "seconds": float(np.mean([one.seconds for one in result])),
        "trained": result[0].trained,
    }


def compare_strategies(before: Sequence[StrategyResult], after: Sequence[StrategyResult]) -> StrategyComparison:
    """Compares two strategies on the test pictures.

    Over seeds and pictures where there are several seeds, by McNemar's exact test where there is one.
    """
    several = len(before) == len(after) > 1
    moved = np.array([two.right.astype(float) - one.right for one, two in zip(before, after, strict=several)])
    if several and np.ptp(moved) > 0:
        difference = estimate_over_seeds_and_pictures(moved)
        noise = difference.within_noise
    else:  # one seed, or seeds and pictures that all move alike
        truth = np.ones(len(before[0].right), int)
        result = compare_paired(truth, before[0].right.astype(int), after[0].right.astype(int))
        difference, noise = result.difference, result.within_noise
    verdict = find_verdict(difference.estimate, within_noise=noise)
    names = after[0].strategy, before[0].strategy
    sentence = format_difference(*names, difference, within_noise=noise, points=True)
    return StrategyComparison(100 * difference.estimate, verdict, sentence)


DEFAULT_SIZES = (2000, 1000, 1000)
LADDER_STRATEGIES = ("scratch", "augmented", "features", "frozen", "frozen end to end", "finetune")
DEFAULT_STRATEGIES = ("scratch", "augmented", "features", "frozen", "finetune")


@dataclass(frozen=True, kw_only=True)
class LadderData:
    """The pictures that every strategy sees.

    Args:
        competition: the excerpt, with a hold-out for validation.
        answers: class by id, of the test part.
        sizes: number of training, validation and test pictures.
    """

    competition: Competition
    answers: dict[str, str]
    sizes: tuple[int, int, int]


def prepare_ladder(
    competition: Competition, sizes: tuple[int, int, int] = DEFAULT_SIZES, seed: int = 0, bundle: Path | None = None
) -> LadderData:
    """Draws the ladder's pictures from a competition's labelled ones, as many of each class as there can be.

    Args:
        competition: fetched where it is not there yet.
        sizes: training, validation and test pictures. Where there are too few, the last two share what the first
            leaves, as long as that is at least a tenth.
        seed: of the draw.
        bundle: an archive that was downloaded by hand.
    """
    table, raw = load_labeled_pictures(competition, bundle)
    table = table.drop_duplicates("sha256").assign(label=table["label"].str.strip())  # as labels in tables are read
    sizes = subsets.limit_sizes(sizes, len(table))
    chosen = subsets.select_balanced(table, sum(sizes), np.random.default_rng(seed))
    test = subsets.select_balanced(chosen, sizes[2], np.random.default_rng(seed))
    rest = chosen.drop(test.index)
    name = f"{competition.name}-ladder-{'-'.join(map(str, sizes))}-seed{seed}"
    folder = paths.home_folder() / "data" / "ladders" / name
    subsets.link_subset(rest, raw, folder / "train")
    subsets.link_subset(test, raw, folder / "test", flat=True)
    write_text(folder / "answers.csv", subsets.format_test_labels(test))
    recipe = replace(competition.recipe, folds=1, holdout=sizes[1] / (sizes[0] + sizes[1]), split_seed=seed)
    own = Competition(
        name=name,
        data=str(folder),
        labels=subsets.build_subset_labels("train", competition.labels.positive),
        metric=competition.metric,
        recipe=recipe,
    )
    answers = {subsets.build_file_name(row): row.label for row in test.itertuples()}
    return LadderData(competition=own, answers=answers, sizes=sizes)


def parse_sizes(counts: Sequence[int]) -> tuple[int, int, int]:
    """Checks the numbers of training, validation and test pictures, each at least two."""
    require(
        len(counts) == 3 and min(counts) > 1,
        "A ladder has three parts.",
        expected="three numbers such as 2000,1000,1000",
        received=tuple(counts),
    )
    return counts[0], counts[1], counts[2]


def build_recipe(strategy: str, recipe: Recipe, seed: int) -> Recipe:
    """Builds a strategy's recipe; `frozen end to end` is the strategy `frozen` without cached activations."""
    require(
        strategy in LADDER_STRATEGIES, "Unknown strategy.", expected=" | ".join(LADDER_STRATEGIES), received=strategy
    )
    training = replace(recipe.training, end_to_end=True) if strategy == "frozen end to end" else recipe.training
    return replace(recipe, strategy=strategy.removesuffix(" end to end"), training=training, seed=seed)


def run_strategies(
    ladder: LadderData, strategies: Sequence[str], seeds: Sequence[int], options: RunOptions
) -> list[StrategyResult]:
    """Runs every strategy with every seed, unless that very run is finished already."""
    result = []
    for seed in seeds:
        for place, strategy in enumerate(strategies):
            competition = replace(ladder.competition, recipe=build_recipe(strategy, ladder.competition.recipe, seed))
            print_lines([f"strategy  {strategy}, seed {seed}"])
            # the split depends on the pictures and the seed alone: made again it is the same, unless pictures changed
            ahead = replace(
                options,
                capture_for=find_finetune_training(strategies[place + 1 :], ladder.competition.recipe),
                resplit=True,
            )
            folder = find_finished_run(competition, options) or run.run(competition, ahead)
            result.append(load_result(folder, strategy, seed, ladder.answers))
    return result


def find_finetune_training(later: Sequence[str], recipe: Recipe) -> Training | None:
    """Returns how `finetune` trains where it follows: earlier strategies keep the activations that it needs.

    They look through the whole base anyway, so that its pictures need not pass the lower part again.
    """
    return build_recipe("finetune", recipe, 0).resolved_training if "finetune" in later else None


def load_result(folder: Path, strategy: str, seed: int, answers: dict[str, str]) -> StrategyResult:
    """Loads the result of a finished run, its test predictions scored by the answers."""
    results = runs.read_metrics(folder)
    return StrategyResult(
        strategy=strategy, seed=seed, validation=results["accuracy"],
        right=runs.find_correct(folder / "test.npz", answers), seconds=results["seconds"],
        trained=results["parameters"],
    )  # fmt: skip


def run_ladder(
    competition: Competition,
    *,
    strategies: Sequence[str] = DEFAULT_STRATEGIES,
    seeds: int = 1,
    sizes: tuple[int, int, int] = DEFAULT_SIZES,
    options: RunOptions | None = None,
) -> list[StrategyResult]:
    """Runs the whole experiment: prepares the pictures, runs every strategy with every seed, writes the report.

    Args:
        competition: whose labelled pictures are climbed on; its recipe names the base.
        strategies: some of RUNGS, from the bottom upwards.
        seeds: how many; the split stays the same.
        sizes: training, validation and test pictures.
        options: engine and bundle.
    """
    options = options or RunOptions()
    for recipe in (build_recipe(strategy, competition.recipe, seed=0) for strategy in strategies):
        if recipe.strategy != "features":
            select_trained_base(recipe)
    made = prepare_ladder(competition, sizes, competition.recipe.split_seed, options.bundle)
    climbed = run_strategies(made, strategies, range(seeds), replace(options, bundle=None, skip_submission=True))
    shares = np.unique(list(made.answers.values()), return_counts=True)[1] / len(made.answers)
    base = "+".join(competition.recipe.bases).replace("/", "_")
    for path in write_ladder_report(made.competition.name, base, climbed, made.sizes[1:], float(shares.max())):
        log.info("wrote %s", paths.format_path(path))
    return climbed
