"""Compares a base's features at each of its blocks: which is best, and from where on more depth gains nothing.

Fills the cache at every cut in one pass, trains linear heads on each, and writes a table and a curve.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions, select_folds
from pipeline.evaluation import intervals
from pipeline.evaluation.intervals import build_difference_record, format_mean
from pipeline.evaluation.metrics import find_metric
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.features import multi_depth
from pipeline.features.extractor import Extractor
from pipeline.figures.style import BLUE, INK, ORANGE, PALE, build_figure, render_png, style_axes
from pipeline.figures.text_table import format_records
from pipeline.files import write_atomic
from pipeline.models.base import Base, parse_base
from pipeline.output import print_results
from pipeline.run_report.experiment_page import write_experiment_page
from pipeline.runs import folder as runs
from pipeline.terminal import open_bar, paint_verdict
from pipeline.training import linear_probe
from pipeline.workflow.context import Dataset, log_stage
from pipeline.workflow.finish import compute_metrics
from pipeline.workflow.run import prepare_dataset

log = logging.getLogger(__name__)
WHOLE_BASE = "whole base"


@dataclass(frozen=True, kw_only=True)
class BlockResult:
    """What heads reached on a base's features at one cut.

    Args:
        recipe: how a recipe names it, `name@cut`.
        block: the cut; `whole base` for none.
        width: number of features.
        score: the competition's metric, the mean over folds.
        spread: its sample deviation over folds.
        accuracy: the mean over folds.
        seconds: to train the heads of all folds.
        pictures_per_second: up to this cut, by Keras on this machine.
        folds: the metric on each fold.
        oof: probabilities of all held-out pictures (n, classes) float32, in the order of `find_best_block`'s truth.
    """

    recipe: str
    block: str
    width: int
    score: float
    spread: float
    accuracy: float
    seconds: float
    pictures_per_second: float
    folds: tuple[float, ...]
    oof: np.ndarray


def plot_depth_curve(depths: Sequence[BlockResult], *, metric: str, best: int, enough: int, title: str) -> bytes:
    """Plots the scores of a base's features at each cut, and below them their number.

    Args:
        depths: at least two, from the picture upwards.
        metric: its name, for the axis.
        best: which one is best.
        enough: the first that is within noise of the best.
        title: the finding.

    Returns:
        A PNG file.
    """
    longest, first = max(len(depth.block) for depth in depths), len(depths[0].block)
    names, left = 0.45 + 0.058 * longest, max(0.95, 0.048 * first - 0.25)
    width, height = max(7.5, 0.5 * len(depths) + left + 0.4), names + 4.8
    note = "Bars: ± one sample deviation over folds." if any(depth.spread for depth in depths) else ""
    made = build_figure(width, height, title, note)
    left, across = left / width, 1 - (left + 0.25) / width
    axes = made.add_axes((left, (names + 1.35) / height, across, 2.5 / height))
    _draw_scores(axes, depths, best, enough)
    axes.set_ylabel(find_metric(metric).label)
    _draw_widths(made, (left, names / height, across, 0.95 / height), depths, best)
    return render_png(made)


def _draw_scores(axes: Axes, depths: Sequence[BlockResult], best: int, enough: int) -> None:
    """Draws the curve, its best cut and the range that is as good, and words for both above."""
    style_axes(axes)
    places, scores, spreads = range(len(depths)), [d.score for d in depths], [d.spread for d in depths]
    if enough < len(depths) - 1:
        axes.axvspan(enough - 0.5, len(depths) - 0.4, color=PALE, zorder=0, linewidth=0)
    axes.errorbar(places, scores, yerr=spreads, fmt="-o", color=BLUE, capsize=3, markersize=5, linewidth=1.6, zorder=3)
    axes.plot(best, scores[best], "*", color=ORANGE, markersize=17, markeredgecolor="white", zorder=5)
    axes.set(xlim=(-0.6, len(depths) - 0.4), xticks=[])
    axes.margins(y=0.12)
    words = f"★ best: {depths[best].block}, {depths[best].score:.4f}"
    axes.text(0, 1.115, words, transform=axes.transAxes, fontsize=9.5, color=ORANGE, fontweight="bold")
    words = f"shaded: from {depths[enough].block} on, nothing gained beyond noise"
    if enough == len(depths) - 1:
        words = "more depth pays, beyond noise, to the end"
    axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=9.5, color=BLUE)


def _draw_widths(
    made: Figure, place: tuple[float, float, float, float], depths: Sequence[BlockResult], best: int
) -> None:
    """Draws the number of features at each cut, and the names of the blocks."""
    axes = made.add_axes(place)
    style_axes(axes)
    axes.grid(visible=False)
    colours = [ORANGE if number == best else BLUE for number in range(len(depths))]
    bars = axes.bar(range(len(depths)), [depth.width for depth in depths], color=colours, width=0.62)
    axes.bar_label(bars, fontsize=8, color=INK, padding=1)
    axes.set(xlim=(-0.6, len(depths) - 0.4), yticks=[], ylabel="features")
    axes.margins(y=0.25)
    axes.set_xticks(
        range(len(depths)), [depth.block for depth in depths], rotation=50, ha="right", rotation_mode="anchor"
    )


@dataclass(frozen=True, kw_only=True)
class BlockComparison:
    """All cuts of a base, and which to take.

    Args:
        blocks: from the picture upwards, the whole base last.
        best: the number of the best one.
        enough: the number of the first one from which on, up to the best, none loses more than one standard error.
        over_whole: the best one's metric less the whole base's.
        over_enough: the best one's metric less that of the one that is enough.
        higher: whether a larger metric is a better one.
    """

    blocks: Sequence[BlockResult]
    best: int
    enough: int
    over_whole: intervals.Interval
    over_enough: intervals.Interval
    higher: bool


def find_best_block(blocks: Sequence[BlockResult], oof: OOFPredictions) -> BlockComparison:
    """Finds the best cut, and from where on more depth gains at most one standard error.

    The best of many is
    flattered by having been picked: one that only just beats the whole base may not do so on other pictures.

    Args:
        blocks: from the picture upwards, the whole base last.
        oof: the held-out pictures, their classes and folds, and the metric.
    """
    best = max(range(len(blocks)), key=lambda number: (oof.scorer.sign * blocks[number].score, -number))

    @cache
    def best_over(number: int) -> intervals.Interval:
        return intervals.estimate_difference(oof, blocks[number].oof, blocks[best].oof)

    enough = best
    while enough > 0 and _is_within_one_error(best_over(enough - 1)):
        enough -= 1
    return BlockComparison(
        blocks=blocks,
        best=best,
        enough=enough,
        over_whole=best_over(len(blocks) - 1),
        over_enough=best_over(enough),
        higher=oof.higher,
    )


def _is_within_one_error(difference: intervals.Interval) -> bool:
    """Returns whether a difference is at most one standard error of its 95 % interval.

    The rule for taking the smaller of two models (Breiman et al. 1984, Classification and Regression Trees, 3.4.3). A
    difference that is merely not beyond noise may be large where pictures are few.
    """
    from scipy.stats import norm

    error = (difference.high - difference.low) / 2 / float(norm.ppf(0.975))
    return difference.is_bounded and abs(difference.estimate) <= error


def format_conclusions(result: BlockComparison, metric: str) -> list[str]:
    """Formats the comparison in sentences, and the recipe that follows from it."""
    best, enough, whole = result.blocks[result.best], result.blocks[result.enough], result.blocks[-1]
    lines = [f"best: {best.block}, {metric} {format_mean(best.score, best.spread)} with {best.width} features"]
    if best is not whole:
        lines.append(
            intervals.format_difference(best.block, f"the {WHOLE_BASE}", result.over_whole, higher=result.higher)
        )
    if enough is not best:
        times = enough.pictures_per_second / whole.pictures_per_second
        faster = f", pictures {times:.1f} times as fast" if times >= 1.1 else ""
        loss = (result.over_enough if result.higher else -result.over_enough).high
        lines.append(
            f"from {enough.block} on, more depth gains at most one standard error ({enough.score:.4f}; with these"
            f" pictures it may still be {max(loss, 0):.4f} worse than the best): {enough.width} features instead of"
            f" {whole.width}{faster}: --base {enough.recipe}"
        )
    lines.append(f'recipe: bases=("{best.recipe}",), or on the command line: --base {best.recipe}')
    return lines


def format_headline(result: BlockComparison) -> str:
    """Formats the finding in a few words."""
    best, enough = result.blocks[result.best], result.blocks[result.enough]
    if best is not result.blocks[-1]:
        verdict = "within noise of" if result.over_whole.within_noise else "better than"
        return f"{best.block} is {verdict} the {WHOLE_BASE}"
    return f"the {WHOLE_BASE} is best" if enough is best else f"{enough.block} is within noise of the {WHOLE_BASE}"


def build_records(result: BlockComparison) -> list[dict[str, Any]]:
    """Builds one record a block, from the picture upwards, as plain JSON values."""
    columns = [one.name for one in fields(BlockResult) if one.name != "oof"]
    marks = {result.enough: "enough", result.best: "best"}
    return [
        {**{name: getattr(block, name) for name in columns}, "choice": marks.get(number, "")}
        for number, block in enumerate(result.blocks)
    ]


def format_table(result: BlockComparison, metric: str) -> list[str]:
    """Formats one line a block."""
    table = format_records(build_records(result), {
        "block": "{block}", "width": "{width}", metric: "{score:.4f} ± {spread:.4f}", "accuracy": "{accuracy:.4f}",
        "seconds": "{seconds:.2f}", "pictures/s": "{pictures_per_second:.0f}", "choice": "{choice}",
    })  # fmt: skip
    return ["by a linear head in the plain view alone", *table]


def write_block_report(competition: str, base: str, file: str, metric: str, result: BlockComparison) -> list[Path]:
    """Prints the table and what follows from it; writes the curve, the table and the page.

    Args:
        competition: its name.
        base: how a recipe names the whole base.
        file: name of the files below data/reports/<competition>/, without suffix.
        metric: of the competition.
        result: from `find_best_block`.

    Returns:
        The paths of the PNG, the CSV and the HTML file.
    """
    records = build_records(result)
    best, enough = result.blocks[result.best], result.blocks[result.enough]
    record = {"metric": metric, "blocks": records, "best": best.recipe, "enough": enough.recipe,
              "over_whole": build_difference_record(result.over_whole, higher=result.higher)}  # fmt: skip
    conclusions = [paint_verdict(line) for line in format_conclusions(result, metric)]
    print_results({base: record}, format_table(result, metric), conclusions)
    words = f"{base} on {competition}: {format_headline(result)}"
    picture = plot_depth_curve(result.blocks, metric=metric, best=result.best, enough=result.enough, title=words)
    rows = [{**row, "folds": " ".join(f"{value:.6f}" for value in row["folds"])} for row in records]
    folder = paths.reports_folder(competition)
    write_atomic(folder / f"{file}.png", lambda opened: opened.write(picture))
    runs.write_table(folder / f"{file}.csv", rows)
    page = write_experiment_page(
        folder / f"{file}.html",
        title=words,
        kind="comparison of blocks",
        conclusions=format_conclusions(result, metric),
        tables={"Blocks": rows},
        picture=picture,
    )
    return [folder / f"{file}.png", folder / f"{file}.csv", page]


def run_block_probe(competition: Competition, options: RunOptions) -> list[Path]:
    """Compares the blocks of each of the recipe's bases. Returns the curves and tables that it wrote.

    Args:
        competition: its recipe names whole bases, the folds and the size; the head is the linear one.
        options: `folds` and `engine` are used.
    """
    recipe = replace(competition.recipe, head="linear", views=(multi_depth.VIEW,), train_views=(multi_depth.VIEW,))
    recipe = replace(recipe, augmented_views=0)
    folds = select_folds(recipe, options)
    every = [multi_depth.list_cuts(parse_base(text, recipe.size)) for text in recipe.bases]
    data = prepare_dataset(competition, [cuts[-1] for cuts in every], options)
    written = []
    for cuts in every:
        blocks = probe_cuts(competition, recipe, cuts, data, folds, options.engine)
        result = find_best_block(blocks, stack_oof_predictions(blocks, competition, data, folds))
        file = f"blocks-{cuts[-1].layer_name}-{cuts[-1].size}"
        written += write_block_report(competition.name, str(cuts[-1]), file, competition.metric, result)
    for path in written:
        log.info("wrote %s", paths.format_path(path))
    return written


def stack_oof_predictions(
    blocks: Sequence[BlockResult], competition: Competition, data: Dataset, folds: Sequence[int]
) -> OOFPredictions:
    """Stacks the out-of-fold predictions of every block."""
    fold_of = data.fold_of
    rows = np.isin(fold_of, folds)
    return OOFPredictions.build(
        [block.oof for block in blocks],
        data.labels[rows],
        fold_of[rows],
        competition.metric,
        data.positive,
        data.group_of[rows],
    )


def probe_cuts(
    competition: Competition, recipe: Recipe, cuts: list[Base], data: Dataset, folds: Sequence[int], engine: str
) -> list[BlockResult]:
    """Runs the stages for one base: features in one pass, speeds, and heads at each cut."""
    digests = data.train_digests
    with log_stage("features") as notes:
        count = multi_depth.fill_feature_stores(cuts, data.files, digests, engine)
        notes.append(f"{len(digests):,} pictures at {len(cuts)} cuts of {cuts[-1]}, {count:,} computed in one pass")
    with log_stage("speed") as notes:
        speeds = multi_depth.measure_speeds(cuts)
        notes.append(f"{speeds[-1]:,.0f} pictures/s through the whole of {cuts[-1]}, by Keras")
    with log_stage("heads") as notes:
        pairs = open_bar(zip(cuts, speeds, strict=True), total=len(cuts), desc="heads", unit="cut")
        blocks = [probe_cut(competition, recipe, cut, data, folds, each) for cut, each in pairs]
        notes.append(f"{len(blocks)} cuts x {len(folds)} folds")
    if np.array_equal(blocks[-2].oof, blocks[-1].oof):
        del blocks[-2]  # the last block of many bases is their end
    return blocks


def probe_cut(
    competition: Competition, recipe: Recipe, cut: Base, data: Dataset, folds: Sequence[int], speed: float
) -> BlockResult:
    """Trains heads on the features of one cut, which are in the cache."""
    values = Extractor(cut, data.files, wanted="keras").features(data.train_digests, multi_depth.VIEW)
    fold_of = data.fold_of
    started = time.perf_counter()
    trained = linear_probe.train_heads(
        recipe,
        train_features={multi_depth.VIEW: values},
        labels=data.labels,
        fold_of=fold_of,
        folds=folds,
        classes=len(data.pictures.classes),
    )
    seconds = time.perf_counter() - started
    results = compute_metrics(competition, data, trained)
    return BlockResult(
        recipe=str(cut),
        block=cut.cut or WHOLE_BASE,
        width=values.shape[1],
        score=results["score"],
        spread=results["spread"],
        accuracy=results["accuracy"],
        seconds=round(seconds, 2),
        pictures_per_second=speed,
        folds=tuple(results["folds"]),
        oof=trained.oof[np.isin(fold_of, folds)],
    )
