"""The ladder told: a table of rungs, what each step is worth, and the staircase."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, runs
from pipeline.files import write_atomic
from pipeline.predict.intervals import over_seeds, over_seeds_and_pictures, paired, sentence, wilson
from pipeline.report.figures import Step, staircase

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """One rung with one seed.

    Args:
        rung: its name.
        seed: of training.
        validation: accuracy on the validation part.
        right: whether each test picture is right, (test,) bool, in the order of the answers.
        seconds: of the whole run, caches as they were.
        trained: number of trained parameters.
    """

    rung: str
    seed: int
    validation: float
    right: np.ndarray
    seconds: float
    trained: int

    @property
    def test(self) -> float:
        """Accuracy on the test part."""
        return float(self.right.mean())


def told(name: str, base: str, climbed: Sequence[Climbed], pictures: tuple[int, int], chance: float) -> list[Path]:
    """Prints the table and what each step is worth, and writes both and the staircase. Returns the files.

    Args:
        name: of the ladder's competition.
        base: the recipe's base, which enters the files' names.
        climbed: rungs and seeds.
        pictures: number of validation and of test pictures.
        chance: accuracy of naming the commonest class.
    """
    names = list(dict.fromkeys(one.rung for one in climbed))
    by_rung = {rung: [one for one in climbed if one.rung == rung] for rung in names}
    compared = {after: step_of(by_rung[before], by_rung[after]) for before, after in itertools.pairwise(names)}
    rows = [row_of(rung, by_rung[rung], pictures[1]) for rung in names]
    log.info("")
    log.info("%-18s %10s  %-26s %9s %10s", "rung", "validation", "test (95 % interval)", "seconds", "trained")
    for row in rows:
        test = f"{row['test']:.1%} ({row['test_low']:.1%} to {row['test_high']:.1%})"
        log.info(
            "%-18s %10s  %-26s %9.0f %10s", row["rung"], f"{row['validation']:.1%}", test, row["seconds"],
            f"{row['trained']:,}",
        )  # fmt: skip
    for words, _ in compared.values():
        log.info("  %s", words)
    steps = [
        Step(
            name=rung,
            validation=[one.validation for one in by_rung[rung]],
            test=[one.test for one in by_rung[rung]],
            pictures=pictures,
            seconds=float(np.mean([one.seconds for one in by_rung[rung]])),
            trained=by_rung[rung][0].trained,
            within_noise=rung in compared and compared[rung][1],
        )
        for rung in names
    ]
    folder = paths.reports_folder(name)
    picture, table = folder / f"staircase-{base}.png", folder / f"ladder-{base}.csv"
    write_atomic(picture, lambda file: file.write(staircase(steps, chance=chance)))
    runs.write_table(table, rows)
    return [table, picture]


def row_of(name: str, found: Sequence[Climbed], total: int) -> dict[str, Any]:
    """A line of the table: means over seeds; the interval is Wilson's, or Student's over seeds where that is wider."""
    right = float(np.mean([one.right.sum() for one in found]))
    interval = wilson(right, total)
    low, high = interval.low, interval.high
    if len(found) > 1:
        seeds = over_seeds([one.test for one in found], 1 / total)
        low, high = min(low, max(0.0, seeds.low)), max(high, min(1.0, seeds.high))
    return {
        "rung": name,
        "seeds": len(found),
        "validation": float(np.mean([one.validation for one in found])),
        "test": interval.estimate,
        "test_low": low,
        "test_high": high,
        "seconds": float(np.mean([one.seconds for one in found])),
        "trained": found[0].trained,
    }


def step_of(before: Sequence[Climbed], after: Sequence[Climbed]) -> tuple[str, bool]:
    """What a step is worth on the test pictures, and whether that is noise: over seeds and pictures where there are
    several seeds, by McNemar's exact test where there is one.
    """
    several = len(before) == len(after) > 1
    moved = np.array([two.right.astype(float) - one.right for one, two in zip(before, after, strict=several)])
    if several and np.ptp(moved) > 0:
        difference = over_seeds_and_pictures(moved)
        noise = difference.within_noise
    else:  # one seed, or seeds and pictures that all move alike
        truth = np.ones(len(before[0].right), int)
        found = paired(truth, before[0].right.astype(int), after[0].right.astype(int))
        difference, noise = found.difference, found.within_noise
    return sentence(after[0].rung, before[0].rung, difference, within_noise=noise, points=True), noise
