"""The blocks of a base compared: which is best, where more depth stops paying, in words, a table and a curve."""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.files import write_atomic, write_text
from pipeline.predict import gains, intervals
from pipeline.predict.held import Held
from pipeline.report.curves import Depth, depth_curve

log = logging.getLogger(__name__)
WHOLE = "whole base"


@dataclass(frozen=True, kw_only=True)
class Block:
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
        held: probabilities of all held-out pictures (n, classes) float32, in the order of `compared`'s truth.
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
    held: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All cuts of a base, and which to take.

    Args:
        blocks: from the picture upwards, the whole base last.
        best: the number of the best one.
        enough: the number of the first one from which on, up to the best, none loses more than one standard error.
        over_whole: the best one's metric less the whole base's.
        over_enough: the best one's metric less that of the one that is enough.
        higher: whether a larger metric is a better one.
    """

    blocks: Sequence[Block]
    best: int
    enough: int
    over_whole: intervals.Interval
    over_enough: intervals.Interval
    higher: bool


def compared(blocks: Sequence[Block], held: Held, share: float) -> Comparison:
    """Finds the best cut, and from where on more depth gains at most one standard error.

    Cuts are compared fold by fold, or where there is one fold by the bootstrap over its pictures. The best of many is
    flattered by having been picked: one that only just beats the whole base may not do so on other pictures.

    Args:
        blocks: from the picture upwards, the whole base last.
        held: the held-out pictures, their classes and folds, and the metric.
        share: of all pictures that a fold holds out.
    """
    best = max(range(len(blocks)), key=lambda number: (blocks[number].score * (1 if held.higher else -1), -number))

    @cache
    def best_over(number: int) -> intervals.Interval:
        before, after = blocks[number].held, blocks[best].held
        if len(held.folds) > 1:
            return gains.difference_over_folds(held, before, after, share=share)
        return gains.difference_over_pictures(held, before, after)

    enough = best
    while enough > 0 and _within_one_error(best_over(enough - 1), len(blocks[best].folds)):
        enough -= 1
    return Comparison(
        blocks=blocks,
        best=best,
        enough=enough,
        over_whole=best_over(len(blocks) - 1),
        over_enough=best_over(enough),
        higher=held.higher,
    )


def _within_one_error(difference: intervals.Interval, folds: int) -> bool:
    """Whether a difference is at most one standard error, which its 95 % interval of Student's or a normal law gives.

    The rule for taking the smaller of two models (Breiman et al. 1984, Classification and Regression Trees, 3.4.3). A
    difference that is merely not beyond noise may be large where pictures are few.
    """
    from scipy.stats import norm, t

    errors = float(t.ppf(0.975, folds - 1) if folds > 1 else norm.ppf(0.975))
    return difference.known and abs(difference.estimate) <= (difference.high - difference.low) / 2 / errors


def conclusions(found: Comparison, metric: str) -> list[str]:
    """What the comparison says, and the recipe that follows from it."""
    best, enough, whole = found.blocks[found.best], found.blocks[found.enough], found.blocks[-1]
    said = [f"best: {best.block}, {metric} {best.score:.4f} ± {best.spread:.4f} with {best.width} features"]
    if best is not whole:
        noise = found.over_whole.within_noise
        words = intervals.sentence(
            best.block, f"the {WHOLE}", found.over_whole, within_noise=noise, higher=found.higher
        )
        said.append(words)
    if enough is not best:
        times = enough.pictures_per_second / whole.pictures_per_second
        faster = f", pictures {times:.1f} times as fast" if times >= 1.1 else ""
        loss = (found.over_enough if found.higher else -found.over_enough).high
        said.append(
            f"from {enough.block} on, more depth gains at most one standard error ({enough.score:.4f}; with these"
            f" pictures it may still be {max(loss, 0):.4f} worse than the best): {enough.width} features instead of"
            f" {whole.width}{faster}: --base {enough.recipe}"
        )
    said.append(f'recipe: bases=("{best.recipe}",), or on the command line: --base {best.recipe}')
    return said


def title(found: Comparison) -> str:
    """The finding in a few words."""
    best, enough = found.blocks[found.best], found.blocks[found.enough]
    if best is not found.blocks[-1]:
        return f"{best.block} {'is within noise of' if found.over_whole.within_noise else 'beats'} the {WHOLE}"
    return f"the {WHOLE} is best" if enough is best else f"{enough.block} is within noise of the {WHOLE}"


def print_table(found: Comparison, metric: str) -> None:
    """One line a block."""
    log.info("")
    log.info("by a linear head in the plain view alone")
    log.info("%-26s %6s  %-19s %9s %9s %11s", "block", "width", metric, "accuracy", "seconds", "pictures/s")
    for number, block in enumerate(found.blocks):
        marks = {found.enough: "  enough", found.best: "  best"}
        score = f"{block.score:.4f} ± {block.spread:.4f}"
        log.info(
            *("%-26s %6d  %-19s %9.4f %9.2f %11.0f%s", block.block, block.width, score, block.accuracy),
            *(block.seconds, block.pictures_per_second, marks.get(number, "")),
        )
    log.info("")


def tell(competition: str, base: str, file: str, metric: str, found: Comparison) -> list[Path]:
    """Prints the table and what follows from it; writes the curve and the table.

    Args:
        competition: its name.
        base: how a recipe names the whole base.
        file: name of the files below data/reports/<competition>/, without suffix.
        metric: of the competition.
        found: from `compared`.

    Returns:
        The paths of the PNG and the CSV file.
    """
    print_table(found, metric)
    for line in conclusions(found, metric):
        log.info("%s", line)
    depths = [Depth(name=b.block, width=b.width, score=b.score, spread=b.spread) for b in found.blocks]
    words = f"{base} on {competition}: {title(found)}"
    picture = depth_curve(depths, metric=metric, best=found.best, enough=found.enough, title=words, higher=found.higher)
    columns = [one.name for one in fields(Block) if one.name != "held"]
    rows = [{name: getattr(block, name) for name in columns} for block in found.blocks]
    rows = [{**row, "folds": " ".join(f"{value:.6f}" for value in row["folds"])} for row in rows]
    table = io.StringIO()
    pd.DataFrame(rows).to_csv(table, index=False, lineterminator="\n")
    folder = paths.reports_folder(competition)
    write_atomic(folder / f"{file}.png", lambda opened: opened.write(picture))
    write_text(folder / f"{file}.csv", table.getvalue())
    return [folder / f"{file}.png", folder / f"{file}.csv"]
