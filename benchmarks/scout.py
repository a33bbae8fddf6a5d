"""Scouting: seconds and peak memory for every combination of 6 feature sets, 4,800 pictures, 120 classes.

    python -m benchmarks.scout                                       on sets that it draws
    python -m benchmarks.scout --comp dog-breed --base mobilenet_v2 --base mobilenet_025 ...    on cached features
    python -m benchmarks.scout --directions 1280                     and with so many directions a set, compared

Reading the features, their principal directions and all combinations are timed; decoding and extraction are not.
"""

import argparse
import logging
import resource
import sys
import time
from dataclasses import replace

import numpy as np

from pipeline.ensemble.calibration import FoldScorer
from pipeline.ensemble.member_selection import CombinationScores, SelectionHistory, select_members
from pipeline.evaluation.metrics import find_metric
from pipeline.experiments import base_search
from pipeline.training.heads import ridge

WIDTHS = (1280, 1280, 512, 320, 256, 160)
KNOWS = (0.35, 0.3, 0.35, 0.35, 0.3, 0.0)
"""How much of the class a drawn set sees."""


def drawn(pictures: int, classes: int, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Rectified features of what pictures show: their class, and much else that sets share. And labels and folds."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(pictures) % classes)
    centres, shown = random.normal(size=(classes, 200)), random.normal(size=(pictures, 300))
    sets = []
    for width, knows in zip(WIDTHS, KNOWS, strict=True):
        seen = np.concatenate([knows * centres[labels], shown], axis=1) * random.permutation(np.linspace(1.5, 0.1, 500))
        mixed = seen @ random.normal(size=(500, width)) / 20 + random.normal(0, 1.5, (pictures, width))
        sets.append(np.maximum(mixed, 0).astype(np.float32))
    return sets, labels, np.arange(pictures) % 5


def cached(comp: str, bases: list[str]) -> tuple[list[np.ndarray], FoldScorer]:
    """A competition's features from the cache, each base at its own size, and its metric on its folds."""
    import competitions
    from pipeline.config import RunOptions
    from pipeline.features.extractor import Extractor
    from pipeline.models.base import parse_base
    from pipeline.workflow.run import prepare_dataset

    competition = competitions.find(comp)
    competition = replace(competition, recipe=replace(competition.recipe, bases=tuple(bases), size=None))
    parsed = [parse_base(text) for text in bases]
    data = prepare_dataset(competition, parsed, RunOptions())
    digests = data.train_digests
    values = [Extractor(base, data.files).features(digests, "plain") for base in parsed]
    fold_of = data.fold_of
    judge = FoldScorer(metric=competition.metric, labels=data.labels, fold_of=fold_of, positive=data.positive)
    return values, judge


def once(values: list[np.ndarray], judge: FoldScorer, most: int | None) -> tuple[CombinationScores, SelectionHistory]:
    """Scouts, and prints what it took."""
    started, worked = time.perf_counter(), time.process_time()
    folds = len(np.unique(judge.fold_of))
    most = most or ridge.find_max_components([one.shape[1] for one in values], folds, base_search.COMPUTE_BUDGET)
    sets = base_search.compute_principal_directions(values, most)
    tried = base_search.evaluate_combinations(sets, judge, int(judge.labels.max()) + 1)
    trials = CombinationScores(
        {one.members: one.folds for one in tried}, 1 / folds, find_metric(judge.metric).higher_is_better
    )
    growth = select_members(trials)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kept = ", ".join(f"{one.kept:.0%} of {one.width}" for one in sets)
    print(
        f"{len(tried)} combinations x {folds} folds x {len(ridge.L2_VALUES)} values of l2, "
        f"{len(judge.labels):,} pictures, {judge.labels.max() + 1} classes: {time.perf_counter() - started:.1f} s "
        f"({time.process_time() - worked:.1f} s of processor time), peak {peak:,.0f} MB"
    )
    print(f"at most {most} directions a set: {kept}")
    best = trials.ranked()[0]
    print(
        f"best {sorted(best)} {trials.mean(best):.4f}; winner {sorted(growth.winner)} {trials.mean(growth.winner):.4f}"
    )
    return trials, growth


def compared(few: CombinationScores, many: CombinationScores) -> None:
    """Prints how far two rankings of the same combinations agree."""
    from scipy.stats import kendalltau, spearmanr

    every = list(few.folds)
    one, two = ([trials.mean(members) for members in every] for trials in (few, many))
    moved = np.subtract(two, one)
    print(
        f"rank correlation of the two: Spearman {spearmanr(one, two).statistic:.4f}, "
        f"Kendall {kendalltau(one, two).statistic:.4f}; scores move by {moved.mean():+.4f}, "
        f"{np.std(moved):.4f} beside that"
    )


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comp")
    parser.add_argument("--base", action="append", default=[])
    parser.add_argument("--pictures", type=int, default=4800)
    parser.add_argument("--classes", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directions", type=int, help="scout again with so many, and compare the rankings")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    if given.comp:
        values, judge = cached(given.comp, given.base)
    else:
        values, labels, fold_of = drawn(given.pictures, given.classes, given.seed)
        judge = FoldScorer(metric="log_loss", labels=labels, fold_of=fold_of)
    few, growth = once(values, judge, None)
    if given.directions:
        many, other = once(values, judge, given.directions)
        compared(few, many)
        print("the same winner" if growth.winner == other.winner else "another winner")


if __name__ == "__main__":
    main()
