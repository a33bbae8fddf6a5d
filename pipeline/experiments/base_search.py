"""Searches which bases to use together: scores every combination by a linear classifier with every L2.

Takes features from the cache, scores all combinations on all cores, and trains the recipe's own head on the winner.
"""

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions
from pipeline.ensemble.calibration import FoldScorer
from pipeline.ensemble.member_selection import CombinationScores, Members, select_members
from pipeline.errors import require
from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import build_difference_record, estimate_gain
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.experiments import base_search_report
from pipeline.features.extractor import Extractor
from pipeline.models.base import parse_base
from pipeline.output import print_results
from pipeline.terminal import open_bar, paint_verdict
from pipeline.training import linear_probe
from pipeline.training.heads import ridge
from pipeline.workflow.context import Dataset, log_stage
from pipeline.workflow.finish import compute_metrics, format_score_spread
from pipeline.workflow.run import prepare_dataset
from pipeline.workflow.train import extract_features

COMPUTE_BUDGET = 2.5e11
"""Sum of the cubes of all decompositions' sides; what keeps 63 combinations of wide sets under a minute on 2 cores."""


@dataclass(frozen=True)
class CombinationResult:
    """What one combination of feature sets came to.

    Args:
        members: numbers of the sets.
        folds: the metric on each fold, at the l2 that is best on the others.
        l2: the best one over all folds.
        path: the metric's mean over folds for each of ridge.L2_VALUES.
        places: of ridge.L2_VALUES, the one that each fold was scored at.
    """

    members: Members
    folds: tuple[float, ...]
    l2: float
    path: tuple[float, ...]
    places: tuple[int, ...]


def evaluate_combinations(
    sets: Sequence[ridge.PrincipalComponents], scorer: FoldScorer, classes: int
) -> list[tuple[CombinationResult, np.ndarray]]:
    """Tries every combination of feature sets. Returns each with the pictures' parts in its metric, (pictures,).

    Args:
        sets: rows of the same pictures.
        scorer: the metric, the labels and the folds.
        classes: how many there are.
    """
    edges = np.cumsum([0, *(one.rows.shape[1] for one in sets)])
    rows = np.concatenate([one.rows for one in sets], axis=1)
    with open_thread_pool():
        products = ridge.GramMatrices(rows, scorer.labels, scorer.fold_of, classes)
    numbers = range(len(sets))
    result = [frozenset(c) for k in range(len(sets), 0, -1) for c in itertools.combinations(numbers, k)]

    def evaluate(members: Members) -> tuple[CombinationResult, np.ndarray]:
        columns = np.concatenate([np.arange(edges[m], edges[m + 1]) for m in sorted(members)])
        width = sum(sets[m].width for m in members)
        scores = products.held_out(columns, [l2 * width for l2 in ridge.L2_VALUES])
        found = select_l2(
            members,
            np.array([scorer.folds(one) for one in scores]),
            metrics.find_metric(scorer.metric).higher_is_better,
        )
        parts = {place: scorer.pictures(scores[place]) for place in set(found.places)}
        pictures = np.empty(len(scorer.labels))
        for place, rows in zip(found.places, scorer.fold_rows, strict=True):
            pictures[rows] = parts[place][rows]
        return found, pictures

    with open_thread_pool() as pool:
        return list(open_bar(pool.map(evaluate, result), desc="scout", unit="combination", total=len(result)))


@contextlib.contextmanager
def open_thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for work that keeps a core busy by itself: matrices of some hundred rows gain little by a second one."""
    import scipy.linalg  # noqa: F401  (limits bind the libraries that are loaded)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        yield pool


def compute_principal_directions(values: Sequence[np.ndarray], most: int) -> list[ridge.PrincipalComponents]:
    """Computes the leading directions of each feature set, (pictures, width) float32."""
    with open_thread_pool() as pool:
        reduced = pool.map(lambda one: ridge.compute_principal_components(one, most), values)
        return list(open_bar(reduced, total=len(values), desc="principal directions", unit="base"))


def select_l2(members: Members, table: np.ndarray, higher: bool) -> CombinationResult:
    """Chooses an l2 for each fold by the other folds.

    Args:
        members: numbers of the sets.
        table: the metric (values of l2, folds).
        higher: whether a larger one is better.
    """
    worth = table if higher else -table
    places = (worth.sum(axis=1, keepdims=True) - worth).argmax(axis=0)
    best = int(worth.mean(axis=1).argmax())
    folds = tuple(float(value) for value in table[places, np.arange(table.shape[1])])
    return CombinationResult(
        members, folds, ridge.L2_VALUES[best], tuple(map(float, table.mean(axis=1))), tuple(map(int, places))
    )


log = logging.getLogger(__name__)
VIEW = "plain"
MAX_BASES = 8


def run_base_search(
    competition: Competition, options: RunOptions, *, verify: bool = True, most: int | None = None
) -> list[Path]:
    """Tries every combination of the recipe's bases. Returns the table and the figure that it wrote.

    Args:
        competition: its recipe names the bases, the size and the folds.
        options: `engine` is used.
        verify: train a real head on the best base and on the winner.
        most: principal directions a set; None takes as many as the time allows.
    """
    recipe = competition.recipe
    require(
        len(recipe.bases) <= MAX_BASES,
        "Too many bases: each one doubles the combinations.",
        expected=f"at most {MAX_BASES}",
        received=len(recipe.bases),
    )
    require(recipe.folds > 1, "Scouting compares over folds.", expected="2 folds or more", received=recipe.folds)
    data = prepare_dataset(competition, [parse_base(text, recipe.size) for text in recipe.bases], options)
    competition = data.competition
    recipe = competition.recipe
    sets = extract_feature_sets(recipe, data, options, most)
    fold_of = data.fold_of
    scorer = FoldScorer(metric=competition.metric, labels=data.labels, fold_of=fold_of, positive=data.positive)
    with log_stage("scout") as notes:
        scored = evaluate_combinations(sets, scorer, len(data.pictures.classes))
        notes.append(f"{len(scored)} combinations x {recipe.folds} folds x {len(ridge.L2_VALUES)} values of l2")
    trials = CombinationScores(
        folds={one.members: one.folds for one, _ in scored},
        pictures={one.members: pictures for one, pictures in scored},
        fold_of=fold_of,
        metric=competition.metric,
        group_of=data.group_of,
    )
    growth = select_members(trials)
    search = base_search_report.BaseSearchResult(
        names=recipe.bases,
        widths=[one.width for one in sets],
        trials=trials,
        l2_values={one.members: one.l2 for one, _ in scored},
        paths={one.members: dict(zip(ridge.L2_VALUES, one.path, strict=True)) for one, _ in scored},
        growth=growth,
        metric=competition.metric,
    )
    written = base_search_report.write_search_report(competition, search)
    taken = confirm_winner(competition, data, options, search) if verify else growth.winner
    suggested = base_search_report.format_recipe(select_bases(recipe, taken))
    print_results({"recipe": suggested}, [f"recipe={suggested}"], apart=False)
    for path in written:
        log.info("wrote %s", paths.format_path(path))
    return written


def extract_feature_sets(
    recipe: Recipe, data: Dataset, options: RunOptions, most: int | None
) -> list[ridge.PrincipalComponents]:
    """Extracts each base's features of the training pictures, reduced to their principal directions."""
    digests = data.train_digests
    extractors = _build_extractors(recipe, data, options)
    with log_stage("features") as notes:
        values = [extractor.features(digests, VIEW) for extractor in extractors]
        computed = sum(extractor.computed for extractor in extractors)
        notes.append(f"{len(digests):,} pictures in {len(values)} sets, {computed:,} computed, the rest cached")
    with log_stage("turn") as notes:
        widths = [one.shape[1] for one in values]
        most = most or ridge.find_max_components(widths, recipe.folds, COMPUTE_BUDGET)
        sets = compute_principal_directions(values, most)
        notes.append(f"at most {most} directions a set, {min(one.kept for one in sets):.1%} of the variance or more")
    return sets


def _build_extractors(recipe: Recipe, data: Dataset, options: RunOptions) -> list[Extractor]:
    return [Extractor(parse_base(text, recipe.size), data.files, wanted=options.engine) for text in recipe.bases]


def select_bases(recipe: Recipe, members: Members) -> Recipe:
    """Selects the recipe with some of its bases only."""
    return replace(recipe, bases=tuple(recipe.bases[member] for member in sorted(members)))


def confirm_winner(
    competition: Competition, data: Dataset, options: RunOptions, search: base_search_report.BaseSearchResult
) -> Members:
    """Trains the recipe's own head on the best base and on the winner; the latter has to be better, beyond noise.

    Where the quick classifier sees no combination ahead beyond noise, the one that it ranks first is given the chance:
    the head that counts may see more.
    """
    trials, winner = search.trials, search.growth.winner
    best = next(members for members in trials.ranked() if len(members) == 1)
    refused = winner == best
    if refused:
        winner = next((members for members in trials.ranked() if len(members) > 1), best)
    if winner == best or trials.gain(winner, best).estimate <= 0:
        return best
    predicted = []
    for members in (best, winner):
        recipe = select_bases(competition.recipe, members)
        with log_stage("head") as notes:
            results, oof = evaluate_head(replace(competition, recipe=recipe), data, options)
            predicted.append(oof)
            score = f"{competition.metric} {format_score_spread(results)}"
            notes.append(f"{search.format_members(members)}: {score}, accuracy {results['accuracy']:.1%}")
    pair = OOFPredictions.build(predicted, data.labels, data.fold_of, competition.metric, data.positive, data.group_of)
    gain = estimate_gain(pair, *predicted)
    verdict = base_search_report.format_verdict(gain, competition.recipe.head, refused=refused)
    print_results({"head": build_difference_record(gain)}, [paint_verdict(verdict)], apart=False)
    return winner if gain.is_positive else best


def evaluate_head(competition: Competition, data: Dataset, options: RunOptions) -> tuple[dict[str, Any], np.ndarray]:
    """Scores the recipe's own head and views out of fold, as `finish.compute_metrics`; returns its predictions, too."""
    recipe = competition.recipe
    digests = data.train_digests
    extractors = _build_extractors(recipe, data, options)
    features = extract_features(extractors, digests, tuple(dict.fromkeys((*recipe.training_views, *recipe.views))))
    trained = linear_probe.train_heads(
        recipe,
        train_features=features,
        labels=data.labels,
        fold_of=data.fold_of,
        folds=range(recipe.folds),
        classes=len(data.pictures.classes),
    )
    return compute_metrics(competition, data, trained), trained.oof
