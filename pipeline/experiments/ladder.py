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

from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions, Training
from pipeline.data import subsets
from pipeline.data.corrections import read_corrections
from pipeline.data.labels import load_labeled_pictures
from pipeline.errors import require, require_name
from pipeline.evaluation.intervals import (
    compare_paired,
    estimate_over_seeds,
    estimate_over_seeds_and_pictures,
    format_difference,
    wilson_interval,
)
from pipeline.experiments.staircase import LadderStep, plot_staircase
from pipeline.figures.text_table import format_records
from pipeline.files import write_atomic, write_text
from pipeline.output import print_lines, print_results
from pipeline.run_report.experiment_page import write_experiment_page
from pipeline.runs import folder as runs
from pipeline.terminal import paint_verdict
from pipeline.workflow import run
from pipeline.workflow.finish import find_finished_run
from pipeline.workflow.train import select_trained_base

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
    else:  # one seed, or seeds and pictures that all move alike
        truth = np.ones(len(before[0].right), int)
        difference = compare_paired(truth, *(each[0].right.astype(int) for each in (before, after))).difference
    sentence = format_difference(after[0].strategy, before[0].strategy, difference, points=True)
    return StrategyComparison(100 * difference.estimate, difference.verdict, sentence)


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
    if corrections := read_corrections(competition.name):
        name += f"-labels-{corrections.record['sha256'][:8]}"
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
    require_name(strategy, LADDER_STRATEGIES, "Unknown strategy.")
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
        strategies: some of LADDER_STRATEGIES, from the bottom upwards.
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
