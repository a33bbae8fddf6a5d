"""The last words of a run: what it came to, where it would stand, what is still ahead of it, and what to try next.

Where a run's cross-validated score would stand on the final leaderboard, and how sure that is.

The last stages: what a run came to, measured, and written into its folder.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import SCRATCH_STRATEGIES, Competition, Recipe
from pipeline.data import folds as splits
from pipeline.evaluation import metrics, submission
from pipeline.evaluation.intervals import Interval, bootstrap_score, estimate_over_folds
from pipeline.files import hash_json, read_json, write_json
from pipeline.kaggle.leaderboard import LeaderboardPosition, compute_position, find_leaderboard, format_position
from pipeline.models.base import compute_weights_digest, find_missing_weights
from pipeline.models.small_cnn import list_networks
from pipeline.run_options import RunOptions, select_folds
from pipeline.runs import folder as runs
from pipeline.training.linear_probe import CVResult
from pipeline.workflow.prepare import Dataset

log = logging.getLogger(__name__)


def format_score_spread(results: dict[str, Any]) -> str:
    """The score and its spread over folds, where there are several."""
    folds = len(results["folds"])
    return f"{results['score']:.5f} ± {results['spread']:.5f}" if folds > 1 else f"{results['score']:.5f} (one fold)"


def log_summary(
    competition: Competition,
    results: dict[str, Any],
    written: list[Path],
    standing: LeaderboardPosition | None = None,
    before: tuple[Path, float] | None = None,
) -> None:
    """The last words: the score and where it would stand, the files, the run that is `before` it, what to try next."""
    name = competition.metric
    log.info("")
    log.info("%s %s (chance %.5f)", name, format_score_spread(results), results["chance"])
    for line in format_position(standing) if standing else ():
        log.info("  %s", line)
    memory = results["megabytes"]
    taken = "" if memory is None else f", the largest process took {memory:.0f} MB of memory"
    log.info("%.1f s%s", results["seconds"], taken)
    for path in written:
        log.info("wrote %s", paths.format_path(path))
    if before is not None:
        log.info("the best on these folds is still %s, with %.5f", before[0].name, before[1])
    log.info("next: %s", suggest_next_step(competition.recipe))


def find_better_run(folder: Path, results: dict[str, Any], folds: Sequence[int]) -> tuple[Path, float] | None:
    """The best run ahead of this one on the very same pictures and folds, and its score there; None is this one.

    Args:
        folder: of this run.
        results: its.
        folds: that it was trained on; others are compared on these alone.
    """
    sign = metrics.find_metric(results["metric"]).sign
    split, best = runs.compute_split_digest(folder), None
    for other, told in runs.list_finished_runs(folder.parent.name):
        config = read_json(other / "config.json") or {}
        each = dict(zip(config.get("folds", ()), told["folds"], strict=False))
        if config.get("debug") or told["metric"] != results["metric"] or not set(folds) <= set(each):
            continue
        score = float(np.mean([each[fold] for fold in folds]))
        if sign * score > sign * (best[1] if best else results["score"]) and runs.compute_split_digest(other) == split:
            best = other, score
    return best


def suggest_next_step(recipe: Recipe) -> str:
    """What usually helps next, given what this recipe lacks."""
    if recipe.rung in SCRATCH_STRATEGIES:
        return "--rung features: what a pretrained base knows already"
    if recipe.rung == "frozen":
        return "--rung finetune: the top of the base learns too"
    if recipe.rung == "finetune":
        return "--unfreeze all, or a lower block; another --seed to see what is noise"
    networks = list_networks(recipe)
    moments = any(base.by_moments for base in networks)  # such a base is not trained
    if networks[0].entry.ours and not moments:
        return "--rung finetune: the top of the base learns too"
    if len(recipe.bases) == 1:
        other = next(name for name in ("xception", "inception_v3") if not recipe.bases[0].startswith(name))
        return f"a second base: --base {recipe.bases[0]} --base {other}" + ("" if moments else "; or --rung finetune")
    if "flip" not in recipe.views:
        return 'views=("plain", "flip") in the recipe'
    if recipe.augmented_views == 0:
        return "augmented_views=2 in the recipe: the head trains on augmented views too"
    return "invoke ensemble" if moments else "--rung finetune, and another --seed to see what is noise"


def estimate_position(
    competition: Competition, data: Dataset, trained: CVResult, each: Sequence[float], positive: int | None
) -> LeaderboardPosition | None:
    """Where a run would stand; None for a competition without a leaderboard, or another metric than its own.

    Args:
        competition: of the run.
        data: its pictures.
        trained: its out-of-fold predictions.
        each: the score of each fold that was trained.
        positive: for two classes, the one that is asked for.
    """
    board = find_leaderboard(competition.slug, competition.metric)
    if board is None:
        return None
    fold_of = data.pictures.train["fold"].to_numpy()
    held = np.isin(fold_of, trained.folds)
    sure = estimate_interval(competition, each, (data.labels[held], fold_of[held]), trained.oof[held], positive)
    low, high = sure.low, sure.high
    if sure.known:
        low, high = max(low, 0.0), min(high, 1.0) if board.higher else high
    return compute_position(board, float(np.mean(each)), low, high, len(data.labels))


def estimate_interval(
    competition: Competition,
    each: Sequence[float],
    known: tuple[np.ndarray, np.ndarray],
    held: np.ndarray,
    positive: int | None,
) -> Interval:
    """Where the score may lie: by the folds' spread, or where there is one fold by drawing its pictures again.

    Args:
        competition: its metric and its folds.
        each: the score of each fold that was trained.
        known: classes and folds of the held-out pictures, (n,) int each.
        held: what is predicted for them, (n, classes).
        positive: for two classes, the one that is asked for.
    """
    truth, fold_of = known
    if len(each) > 1:
        resolution = metrics.compute_resolution(competition.metric, truth, fold_of, positive)
        return estimate_over_folds(each, 1 / competition.recipe.folds, resolution)

    def score(classes: np.ndarray, values: np.ndarray) -> float:
        return metrics.score(competition.metric, classes, values, positive)

    return bootstrap_score(score, truth, held, np.random.default_rng(competition.recipe.seed))


HEAD_SCALE_VERSION = 1
"""Version of what the linear heads of several folds come to; raised when they give other numbers, so that old runs are
not taken for new ones."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run that has begun.

    Args:
        competition: its recipe is the run's.
        options: from the command line.
        data: its pictures.
        folder: that it writes into.
        folds: that it trains.
        started: when, as `time.perf_counter` has it.
    """

    competition: Competition
    options: RunOptions
    data: Dataset
    folder: Path
    folds: tuple[int, ...]
    started: float


def compute_metrics(competition: Competition, data: Dataset, trained: CVResult) -> dict[str, Any]:
    """The metric for each fold and view, its mean, its spread (sample deviation over folds) and what chance gives."""
    fold_of = data.pictures.train["fold"].to_numpy()
    positive = find_positive_class(competition, data)

    def by_fold(values: np.ndarray, metric: str) -> list[float]:
        return [metrics.score(metric, data.labels[fold_of == f], values[fold_of == f], positive) for f in trained.folds]

    each = by_fold(trained.oof, competition.metric)
    held = np.isin(fold_of, trained.folds)
    return {
        "metric": competition.metric,
        "score": float(np.mean(each)),
        "spread": float(np.std(each, ddof=1)) if len(each) > 1 else 0.0,
        "folds": each,
        "views": {view: float(np.mean(by_fold(v, competition.metric))) for view, v in trained.oof_views.items()},
        "accuracy": float(np.mean(by_fold(trained.oof, "accuracy"))),
        "chance": metrics.compute_chance_score(
            competition.metric, data.labels[held], len(data.pictures.classes), positive
        ),
        "unreadable": data.unreadable,
    }


def build_run_config(competition: Competition, options: RunOptions, folds: tuple[int, ...]) -> dict[str, Any]:
    """What decides a run's result beside its pictures, its folds and the weights that it starts from."""
    recipe = competition.recipe
    scaled = (
        {"scaled": HEAD_SCALE_VERSION}
        if (recipe.rung, recipe.head) == ("features", "linear") and len(folds) > 1
        else {}
    )
    return {
        "competition": asdict(competition), "folds": folds, "debug": options.debug, "engine": options.engine, **scaled,
    }  # fmt: skip


def open_run_folder(competition: Competition, options: RunOptions, folds: tuple[int, ...]) -> Path:
    """The folder of this run: of the interrupted one, or a new one."""
    config = build_run_config(competition, options, folds)
    suffix = "-debug" if options.debug else ""
    return runs.create_run_folder(competition.name, competition.recipe.rung, config, hash_json(config), suffix=suffix)


def find_finished_run(competition: Competition, options: RunOptions) -> Path | None:
    """The folder of this very run, if it has come to its end before, on the folds and from the weights of today."""
    if options.force or options.resplit:
        return None
    config = build_run_config(competition, options, select_folds(competition.recipe, options))
    found = runs.find_run(competition.name, hash_json(config))
    return found if found and _is_up_to_date(found, competition, options) else None


def _is_up_to_date(folder: Path, competition: Competition, options: RunOptions) -> bool:
    """Whether a run's pictures are still in its folds, and its weights those that are here."""
    known = splits.find_folds(competition.recipe, paths.competition_folder(competition.name))
    if not options.debug and (known is None or known != splits.find_run_folds(folder)):
        return False
    stored = (read_json(folder / "environment.json") or {}).get("weights")
    return bool(stored == compute_weights_digests(competition))


def compute_weights_digests(competition: Competition) -> dict[str, str | None]:
    """The digests of the weights that its networks start from, by base; None where they are not here."""
    networks = list_networks(competition.recipe)
    return {str(base): None if find_missing_weights(base) else compute_weights_digest(base) for base in networks}


def find_positive_class(competition: Competition, data: Dataset) -> int | None:
    """The number of the class whose probability is asked for, or None."""
    return competition.positive_of(data.pictures.classes)


def fill_test_predictions(data: Dataset, predicted: np.ndarray) -> np.ndarray:
    """Probabilities (test pictures, classes) float32 from those of the readable ones; the others get the prior."""
    readable = data.test_readable
    test = np.tile(metrics.compute_class_shares(data.labels, len(data.pictures.classes)), (len(readable), 1)).astype(
        np.float32
    )
    test[readable] = predicted
    return test


def link_fold_model(folder: Path) -> None:
    """Where one fold was trained its model is the run's: model.keras beside models/fold0.keras, the same file."""
    models = sorted((folder / "models").glob("fold*.keras"))
    whole = folder / "model.keras"
    if len(models) == 1 and not whole.exists():
        try:
            os.link(models[0], whole)
        except OSError:
            shutil.copy(models[0], whole)


def write_run_files(
    competition: Competition, data: Dataset, folder: Path, trained: CVResult, test: np.ndarray, *, submit: bool
) -> list[Path]:
    """Writes folds, history, predictions and, if asked to, the submission. Returns the submissions' paths."""
    train, classes = data.pictures.train, data.pictures.classes
    runs.write_table(folder / "folds.csv", train[["id", "label", "fold", "group"]].to_dict("records"))
    runs.write_table(folder / "history.csv", trained.history)
    runs.write_predictions(folder / "oof.npz", list(train["id"]), classes, trained.oof, **trained.oof_views)
    ids = list(data.pictures.test["id"])
    views = {view: fill_test_predictions(data, values) for view, values in trained.test_views.items()}
    runs.write_predictions(folder / "test.npz", ids, classes, test, **views)
    return write_submission(competition, data, folder, test) if submit else []


def write_submission(competition: Competition, data: Dataset, folder: Path, test: np.ndarray) -> list[Path]:
    """Writes the validated submission into the run's folder and beside `latest.csv`. Returns the latter two's paths."""
    ids, classes = list(data.pictures.test["id"]), data.pictures.classes
    if not ids:
        return []
    table = submission.build_submission(competition, data.sample, ids, test, classes)
    submission.check_submission(table, competition, data.sample, classes)
    place = paths.submissions_folder(competition.name)
    written = [folder / "submission.csv", place / f"{folder.name}.csv", place / "latest.csv"]
    submission.write_submission(table, *written)
    return written[1:]


def measure_peak_memory() -> float | None:
    """The largest resident memory of this process and of the largest child, in MB; None where it is not measured."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return round(max(resource.getrusage(who).ru_maxrss for who in kinds) * unit / 1024**2, 1)


def finish_run(run: RunContext, trained: CVResult, results: dict[str, Any], device: str) -> Path:
    """What every rung ends with: files, the submission, metrics last, and a word. Returns the run's folder.

    Args:
        run: that ends.
        trained: its heads' or networks' predictions.
        results: what metrics.json is to say; the seconds, the memory and the standing are added.
        device: what it ran on.
    """
    competition, options, data, folder = run.competition, run.options, run.data, run.folder
    test = fill_test_predictions(data, trained.test)
    results |= {"seconds": round(time.perf_counter() - run.started, 2), "megabytes": measure_peak_memory()}
    environment = runs.describe_environment(competition.recipe.seed, device)
    write_json(folder / "environment.json", {**environment, "weights": compute_weights_digests(competition)})
    written = write_run_files(competition, data, folder, trained, test, submit=not (options.debug or options.practice))
    standing = None
    if not options.debug:
        standing = estimate_position(
            competition, data, trained, results["folds"], find_positive_class(competition, data)
        )
    results["standing"] = asdict(standing) if standing else None
    write_json(folder / "metrics.json", results)
    before = None if options.debug else find_better_run(folder, results, trained.folds)
    log_summary(competition, results, [*written, folder], standing, before)
    return folder
