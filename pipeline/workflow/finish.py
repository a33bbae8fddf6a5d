"""Finishes a run: metrics, submission, leaderboard position, and the files of its folder, metrics.json last."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import (
    SCRATCH_STRATEGIES,
    Competition,
    Recipe,
    RunOptions,
    find_comp_argument,
    select_folds,
)
from pipeline.data import folds as splits
from pipeline.data.corrections import read_corrections
from pipeline.evaluation import metrics, submission
from pipeline.evaluation.intervals import estimate_score
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.files import hash_json, write_json
from pipeline.kaggle.leaderboard import LeaderboardPosition, compute_position, find_leaderboard, format_position
from pipeline.models.backend import find_backend
from pipeline.models.base import (
    compute_weights_digest,
    find_missing_weights,
    list_networks,
    name_networks,
    parse_base,
)
from pipeline.runs import folder as runs
from pipeline.runs.model_card import build_model_card
from pipeline.terminal import paint
from pipeline.training.export import MODEL_FILE
from pipeline.training.linear_probe import CVResult
from pipeline.workflow.context import Dataset, RunContext, list_stages, log_stage, measure_peak_memory
from pipeline.workflow.continuation import describe_continuation

log = logging.getLogger(__name__)


def format_score_spread(results: dict[str, Any]) -> str:
    """Formats the score and, for several folds, its spread."""
    folds = len(results["folds"])
    return f"{results['score']:.5f} ± {results['spread']:.5f}" if folds > 1 else f"{results['score']:.5f} (one fold)"


def log_summary(
    competition: Competition,
    results: dict[str, Any],
    written: list[Path],
    position: LeaderboardPosition | None = None,
    better: tuple[Path, float] | None = None,
) -> None:
    """Logs the score, its leaderboard position, the files, a better run, and what to try next."""
    name = competition.metric
    log.info("")
    log.info("%s %s (chance %.5f)", name, paint(format_score_spread(results), "bold"), results["chance"])
    if results.get("interval"):
        log.info("  95 %% interval over the pictures: %.5f to %.5f", *results["interval"])
    for line in format_position(position) if position else ():
        log.info("  %s", line)
    peak = results["peak_megabytes"]
    memory = "" if peak is None else f", the largest process took {peak:.0f} MB of memory"
    log.info("%.1f s%s", results["seconds"], memory)
    for path in written:
        log.info("wrote %s", paths.format_path(path))
    if better is not None:
        log.info("the best on these folds is still %s, with %.5f", better[0].name, better[1])
    sign = metrics.find_metric(name).sign
    if sign * results["score"] <= sign * results["chance"]:
        comp = find_comp_argument(competition.name)
        log.warning("  warning: no better than chance: are these the right labels? invoke check --comp %s", comp)
        log.info("next: invoke audit --comp %s looks for wrong labels and copies", comp)
        return
    log.info("next: %s", suggest_next_step(competition.recipe))


def find_better_run(folder: Path, results: dict[str, Any], folds: Sequence[int]) -> tuple[Path, float] | None:
    """Finds the best run that scores better on the same pictures and folds, and its score; None is this one.

    Args:
        folder: of this run.
        results: its metrics.
        folds: that it was trained on; others are compared on these alone.
    """
    sign = metrics.find_metric(results["metric"]).sign
    split, best = runs.compute_split_digest(folder), None
    for other, stored in runs.list_finished_runs(folder.parent.name):
        config = runs.read_config(other)
        each = dict(zip(config.get("folds", ()), stored["folds"], strict=False))
        if config.get("debug") or stored["metric"] != results["metric"] or not set(folds) <= set(each):
            continue
        score = float(np.mean([each[fold] for fold in folds]))
        if sign * score > sign * (best[1] if best else results["score"]) and runs.compute_split_digest(other) == split:
            best = other, score
    return best


def suggest_next_step(recipe: Recipe) -> str:
    """Suggests what usually helps next, given what this recipe lacks."""
    if recipe.strategy in SCRATCH_STRATEGIES:
        return "--strategy features: what a pretrained base knows already"
    if recipe.strategy == "frozen":
        return "--strategy finetune: the top of the base learns too"
    if recipe.strategy == "finetune":
        return "--unfreeze all, or a lower block; another --seed to see what is noise"
    networks = list_networks(recipe)
    moments = any(base.by_moments for base in networks)  # such a base is not trained
    if networks[0].entry.ours and not moments:
        return "--strategy finetune: the top of the base learns too"
    # The weights of both come with the requirements, which not every machine has.
    others = [name for name in ("efficientnet_lite2", "efficientnet_lite0") if not recipe.bases[0].startswith(name)]
    here = [name for name in others if find_missing_weights(parse_base(name)) is None]
    if len(recipe.bases) == 1 and here:
        return f"a second base: --base {recipe.bases[0]} --base {here[0]}" + (
            "" if moments else "; or --strategy finetune"
        )
    if "flip" not in recipe.views:
        return "--set views=plain,flip: predictions are averaged over both"
    if recipe.augmented_views == 0:
        return "--set augmented_views=2: the head trains on augmented views too"
    return "invoke ensemble" if moments else "--strategy finetune, and another --seed to see what is noise"


def estimate_position(
    competition: Competition, results: Mapping[str, Any], pictures: int
) -> LeaderboardPosition | None:
    """Estimates the leaderboard position; None without a leaderboard, or for another metric than the leaderboard's.

    Args:
        competition: of the run.
        results: `compute_metrics`.
        pictures: number of labelled pictures.
    """
    board = find_leaderboard(competition.slug, competition.metric)
    if board is None:
        return None
    low, high = results["interval"] or (-np.inf, np.inf)
    if results["interval"]:
        low, high = max(low, 0.0), min(high, 1.0) if board.higher else high
    return compute_position(board, results["score"], low, high, pictures)


HEAD_SCALE_VERSION = 1
"""Version of the linear heads of several folds, raised when they give other numbers, so that runs never mix."""


def compute_metrics(competition: Competition, data: Dataset, trained: CVResult) -> dict[str, Any]:
    """Computes the metric for each fold and view, its mean, spread (sample deviation over folds), interval, chance."""
    fold_of, positive = data.fold_of, data.positive

    def by_fold(values: np.ndarray, metric: str) -> list[float]:
        return [metrics.score(metric, data.labels[fold_of == f], values[fold_of == f], positive) for f in trained.folds]

    each = by_fold(trained.oof, competition.metric)
    validation = np.isin(fold_of, trained.folds)
    oof = OOFPredictions.build([trained.oof[validation]], data.labels[validation], fold_of[validation],
                               competition.metric, positive, data.group_of[validation])  # fmt: skip
    interval = estimate_score(oof, oof.part.predictions[0])
    return {
        "metric": competition.metric,
        "score": float(np.mean(each)),
        "spread": float(np.std(each, ddof=1)) if len(each) > 1 else 0.0,
        "folds": each,
        "interval": [interval.low, interval.high] if interval.is_bounded else None,
        "views": {view: float(np.mean(by_fold(v, competition.metric))) for view, v in trained.oof_views.items()},
        "accuracy": float(np.mean(by_fold(trained.oof, "accuracy"))),
        "chance": metrics.compute_chance_score(
            competition.metric, data.labels[validation], len(data.pictures.classes), positive
        ),
        "unreadable": data.unreadable,
    }


def build_run_config(competition: Competition, options: RunOptions, folds: tuple[int, ...]) -> dict[str, Any]:
    """Builds config.json: what decides a run's result beside its pictures, folds and weights."""
    recipe = competition.recipe
    is_scaled = (recipe.strategy, recipe.head) == ("features", "linear") and len(folds) > 1
    scaled = {"scaled": HEAD_SCALE_VERSION} if is_scaled else {}
    corrections = read_corrections(competition.name)
    labels = {"labels": corrections.record} if corrections else {}  # so runs on the original ones keep their names
    continued = {"continued": describe_continuation(options.continued)} if options.continued else {}
    return {
        "competition": asdict(competition), "folds": folds, "debug": options.debug, "engine": options.engine, **scaled,
        **labels, **continued,
    }  # fmt: skip


def open_run_folder(competition: Competition, options: RunOptions, folds: tuple[int, ...]) -> Path:
    """Opens the folder of this run: of the interrupted one, or a new one."""
    config = build_run_config(competition, options, folds)
    suffix = "-debug" if options.debug else ""
    return runs.create_run_folder(
        competition.name, competition.recipe.strategy, config, hash_json(config), suffix=suffix
    )


def find_finished_run(competition: Competition, options: RunOptions) -> Path | None:
    """Finds the folder of this very run, if it is finished, on today's folds and from today's weights."""
    if options.force or options.resplit:
        return None
    config = build_run_config(competition, options, select_folds(competition.recipe, options))
    folder = runs.find_run(competition.name, hash_json(config))
    return folder if folder and _is_up_to_date(folder, competition, options) else None


def _is_up_to_date(folder: Path, competition: Competition, options: RunOptions) -> bool:
    """Whether a run's pictures are still in its folds, and its weights and its backend those that are here."""
    folds_file = splits.build_folds_name(competition.recipe)
    fold_of = splits.read_folds(paths.competition_folder(competition.name) / folds_file)
    if not options.debug and (fold_of is None or fold_of != splits.read_folds(folder / "folds.csv")):
        return False
    environment = runs.read_environment(folder)
    same_backend = environment.get("backend", "tensorflow") == find_backend()  # runs of before 2026-12 do not name it
    return same_backend and bool(environment.get("weights") == compute_weights_digests(competition))


def compute_weights_digests(competition: Competition) -> dict[str, str | None]:
    """Computes the digests of the weights that its networks start from, by base; None where they are missing."""
    named = name_networks(competition.recipe).items()
    return {text: None if find_missing_weights(base) else compute_weights_digest(base) for text, base in named}


def fill_test_predictions(data: Dataset, predicted: np.ndarray) -> np.ndarray:
    """Fills probabilities (test pictures, classes) float32: unreadable pictures get the prior."""
    readable = data.test_readable
    prior = metrics.compute_class_shares(data.labels, len(data.pictures.classes))
    test = np.tile(prior, (len(readable), 1)).astype(np.float32)
    test[readable] = predicted
    return test


def write_run_files(
    competition: Competition, data: Dataset, folder: Path, trained: CVResult, test: np.ndarray, *, submit: bool
) -> list[Path]:
    """Writes folds, history, predictions and, with `submit`, the submission. Returns the submissions' paths."""
    train, classes = data.pictures.train, data.pictures.classes
    runs.write_table(folder / "folds.csv", train[["id", "label", "fold", "group"]].to_dict("records"))
    runs.write_table(folder / "history.csv", trained.history)
    runs.write_predictions(folder / "oof.npz", list(train["id"]), classes, trained.oof, **trained.oof_views)
    ids = list(data.pictures.test["id"])
    views = {view: fill_test_predictions(data, values) for view, values in trained.test_views.items()}
    runs.write_predictions(folder / "test.npz", ids, classes, test, **views)
    return write_submission(competition, data, folder, test) if submit else []


def write_submission(competition: Competition, data: Dataset, folder: Path, test: np.ndarray) -> list[Path]:
    """Writes the checked submission into the run's folder and submissions/; returns the paths of the latter two."""
    ids, classes = list(data.pictures.test["id"]), data.pictures.classes
    if not ids:
        return []
    table = submission.build_submission(competition, data.sample, ids, test, classes)
    submission.check_submission(table, competition, data.sample, classes)
    place = paths.submissions_folder(competition.name)
    written = [folder / "submission.csv", place / f"{folder.name}.csv", place / "latest.csv"]
    submission.write_submission(table, *written)
    return written[1:]


def write_metrics(run: RunContext, trained: CVResult, results: dict[str, Any]) -> LeaderboardPosition | None:
    """Adds time, memory and leaderboard position to a run's results, and writes metrics.json.

    It is the last of the files that make the run whole, and digests.json follows it; report.html shows what they hold.

    Returns:
        The position; None for a debug run, too.
    """
    seconds = time.perf_counter() - run.started + trained.earlier_seconds
    results |= {"seconds": round(seconds, 2), "peak_megabytes": measure_peak_memory()}
    results["stages"] = list_stages(run.started)
    position = None
    if not run.options.debug:
        position = estimate_position(run.competition, results, len(run.data.labels))
    results["leaderboard_position"] = asdict(position) if position else None
    write_json(run.folder / "metrics.json", results)
    runs.write_digests(run.folder)
    return position


def write_report(folder: Path, competition: str, digests: Mapping[str, str] | None = None) -> None:
    """Writes report.html of a finished run; any error is a warning, since the run itself is whole.

    Args:
        folder: of the run.
        competition: its name.
        digests: SHA-256 of each training picture, by id; None looks them up in the competition's data.
    """
    try:
        from pipeline.run_report.write import write_report as write

        with log_stage("report") as lines:
            lines.append(paths.format_path(write(folder, digests)))
    except Exception as error:
        log.warning(
            "  warning: the run is finished, but not its report: %s: %s\n    remedy: invoke report --comp %s --run %s",
            *(type(error).__name__, error, find_comp_argument(competition), folder.name),
        )


def finish_run(run: RunContext, trained: CVResult, results: dict[str, Any], device: str) -> Path:
    """Ends a run of any strategy: files, submission, metrics.json last, report, summary. Returns the run's folder.

    Args:
        run: the run.
        trained: its predictions.
        results: entries of metrics.json; seconds, memory and position are added.
        device: that it ran on.
    """
    competition, options, data, folder = run.competition, run.options, run.data, run.folder
    test = fill_test_predictions(data, trained.test)
    environment = runs.describe_environment(competition.recipe.seed, device)
    write_json(folder / "environment.json", {**environment, "weights": compute_weights_digests(competition)})
    if (model := folder / MODEL_FILE).is_file():
        folds = trained.folds
        trained_on = (
            f"{len(folds)} models in one, averaged; each was trained without one fold"
            if len(folds) > 1
            else f"all training pictures but fold {folds[0]}"
        )
        card = build_model_card(competition, data.pictures.classes, results, environment, model, trained_on)
        write_json(model.with_suffix(".json"), card)
    written = write_run_files(
        competition, data, folder, trained, test, submit=not (options.debug or options.skip_submission)
    )
    position = write_metrics(run, trained, results)
    write_report(folder, competition.name, data.digest_of)
    better = None if options.debug else find_better_run(folder, results, trained.folds)
    log_summary(competition, results, [*written, folder], position, better)
    return folder
