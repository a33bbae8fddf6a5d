"""Runs a competition, stage by stage, from its archive to its submission. No other module knows the order.

The stages: data, table, pixels, folds (prepare.py); features, heads and model, or cache and training (here); finish
(finish.py). Each logs one line: what was done, and how long it took.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import Competition, Recipe
from pipeline.data import pixel_cache
from pipeline.errors import StarshiftError, require
from pipeline.evaluation import metrics
from pipeline.features.extractor import Extractor
from pipeline.models import inference_engines
from pipeline.models.base import Base
from pipeline.models.inference_engines import find_precision
from pipeline.models.small_cnn import list_networks
from pipeline.run_options import RunOptions, apply_options, select_folds
from pipeline.runs import folder as runs
from pipeline.training import cross_validation, export, linear_probe
from pipeline.training.cross_validation import CVJob
from pipeline.training.fold_job import FoldJob, MetricSpec, run_lr_job
from pipeline.training.linear_probe import CVResult
from pipeline.training.soft_targets import SoftTargets
from pipeline.workflow.finish import (
    RunContext,
    compute_metrics,
    find_finished_run,
    find_positive_class,
    finish_run,
    format_score_spread,
    link_fold_model,
    open_run_folder,
)
from pipeline.workflow.prepare import Dataset, log_stage, prepare_dataset

__all__ = ["RunOptions", "compute_metrics", "find_finished_run", "log_stage", "prepare_dataset", "run"]
log = logging.getLogger(__name__)
TUNED_PARAMETERS = {"linear": "strength", "gaussian": "shrinkage and scale"}
"""What each fold of a head chooses on the other folds, where there are any."""
Trained = tuple[CVResult, dict[str, Any], str]
"""What a strategy gives: predictions, entries of metrics.json, the device."""


def run(competition: Competition, options: RunOptions) -> Path:
    """Runs a competition from its archive to its submission. Returns the run's folder."""
    started = time.perf_counter()
    competition = apply_options(competition, options)
    folds = select_folds(competition.recipe, options)
    inference_engines.check_engine(options.engine)
    with open_exporter(competition.recipe) as exporter:
        data = prepare_dataset(competition, select_networks(competition.recipe), options)
        with runs.lock_run(open_run_folder(data.competition, options, folds)) as folder:
            context = RunContext(
                competition=data.competition, options=options, data=data, folder=folder, folds=folds, started=started
            )
            return train_and_finish(context, exporter)


def train_and_finish(
    run: RunContext, exporter: export.ModelExporter | None, soft_targets: SoftTargets | None = None
) -> Path:
    """Runs the stages that follow the folds: trains by the recipe's strategy, and writes the run's folder.

    Args:
        run: the run; its pictures are prepared.
        exporter: from `open_exporter`.
        soft_targets: of teachers, for the training pictures.
    """
    if exporter:
        trained, results, device = train_heads(run, exporter, soft_targets)
    else:
        trained, results, device = train_networks(run, soft_targets)
    return finish_run(run, trained, results, device)


def train_heads(run: RunContext, exporter: export.ModelExporter, soft_targets: SoftTargets | None) -> Trained:
    """Runs the stages of the strategy `features`; in float32 again where bfloat16 is too coarse for the heads."""
    try:
        return _train_heads(run, exporter, soft_targets)
    except export.PrecisionError as error:
        if run.options.engine != "auto":
            raise
        log.warning("  warning: bfloat16 is too coarse for these heads (%s): once more in float32", error.received)
    with open_exporter(run.competition.recipe) as second:
        assert second is not None
        return _train_heads(replace(run, options=replace(run.options, engine="openvino")), second, soft_targets)


def _train_heads(run: RunContext, exporter: export.ModelExporter, soft_targets: SoftTargets | None) -> Trained:
    data, recipe = run.data, run.competition.recipe
    bases = list_networks(recipe)
    exporter.begin(bases)
    force = run.options.force or run.options.recompute
    extractors = [Extractor(base, data.files, wanted=run.options.engine, force=force) for base in bases]
    with log_stage("features") as lines:
        train_features, test_features = _extract_run_features(run, extractors, lines)
    with log_stage("heads") as lines:
        trained = linear_probe.train_heads(
            recipe,
            train_features=train_features,
            test_features=test_features,
            labels=data.labels,
            fold_of=data.fold_of,
            folds=run.folds,
            classes=len(data.pictures.classes),
            soft_targets=soft_targets,
        )
        results = _score(run, trained, lines)
        if len(run.folds) == 1 and recipe.strength is None and (tuned := TUNED_PARAMETERS.get(recipe.head)):
            lines.append(f"one fold alone chooses its {tuned} on the pictures that score it")
    with log_stage("model") as lines:
        results["hand_over"] = export_model(exporter, run.folder, extractors, data, trained)
        lines.append(f"live and cached predictions differ by at most {results['hand_over']:.1e}")
    results["parameters"] = sum(array.size for layer in trained.heads[0].layers for array in layer)
    choices = {str(extractor.base): extractor.choose(()) for extractor in extractors}
    results["engines"] = {name: asdict(choice) for name, choice in choices.items()}
    return trained, results, ", ".join(choice.engine for choice in choices.values())


def train_networks(run: RunContext, soft_targets: SoftTargets | None = None) -> Trained:
    """Runs the stages of the strategies that train a network, each fold in a process of its own."""
    with log_stage("cache") as lines:
        cv = cross_validation.fill_caches(build_cv_job(run, soft_targets), lines)
    with log_stage("training") as lines:
        trained = cross_validation.cross_validate(cv)
        results = _score(run, trained, lines)
    link_fold_model(run.folder)
    facts = trained.facts
    results |= {
        "hand_over": max(fact["hand_over"] for fact in facts),
        "parameters": facts[0]["parameters"],
        "seconds_an_epoch": float(np.median([s for fact in facts for s in fact["seconds_an_epoch"]] or [0.0])),
        "training": facts,
        "base": str(cv.job.base),
        "cut": cv.job.cut,
        "cached": cv.job.cached,
    }
    return trained, results, facts[0]["device"]


def find_learning_rate(competition: Competition, options: RunOptions) -> float:
    """Runs a range test on the first of the folds, plots it, and returns the learning rate to train with."""
    competition, started = apply_options(competition, options), time.perf_counter()
    recipe = competition.recipe
    if recipe.rung == "features":
        raise StarshiftError("The rung features has no learning rate.", expected="--rung with another rung")
    folds = select_folds(recipe, options)[:1]
    data = prepare_dataset(competition, select_networks(recipe), options)
    folder = paths.reports_folder(competition.name) / f"rate-{recipe.rung}"
    run = RunContext(competition=competition, options=options, data=data, folder=folder, folds=folds, started=started)
    with log_stage("cache") as lines:
        job = cross_validation.fill_caches(build_cv_job(run), lines).job
    with log_stage("rate") as lines:
        suggested = float(run_lr_job(job)["suggested"])
        lines.append(f"{suggested:.1e} is suggested; the rung's is {recipe.regime.rate:.1e}")
    log.info("wrote %s", paths.format_path(job.stem.with_suffix(".rate.png")))
    log.info("next: training=Training(rate=%.1e) in the recipe", suggested)
    return suggested


@contextlib.contextmanager
def open_exporter(recipe: Recipe) -> Iterator[export.ModelExporter | None]:
    """Starts the process that builds the live model of heads; None where folds save their own models."""
    if recipe.rung != "features":
        yield None
        return
    exporter = export.ModelExporter()
    try:
        yield exporter
    finally:
        exporter.stop()


def select_networks(recipe: Recipe) -> list[Base]:
    """Selects the bases that a recipe uses: all for `features`, the first where one is trained."""
    if recipe.rung == "features":
        return list_networks(recipe)
    base = select_trained_base(recipe)
    if recipe.used_bases and len(recipe.bases) > 1:
        log.info("rung      %s trains one base: %s, the recipe's first", recipe.rung, base)
    return [base]


def select_trained_base(recipe: Recipe) -> Base:
    """Selects the base that a recipe's strategy trains.

    Raises:
        StarshiftError: it is pooled by second moments.
    """
    base = list_networks(recipe)[0]
    require(
        not base.by_moments,
        f"The rung {recipe.rung} trains a base whose maps are averaged.",
        expected="pooling avg, max or both",
        received=str(base),
        remedy="--rung features takes second moments",
    )
    return base


def build_cv_job(run: RunContext, soft_targets: SoftTargets | None = None) -> CVJob:
    """Builds the jobs of a run's folds, which train the first of its bases."""
    competition, data, options, recipe = run.competition, run.data, run.options, run.competition.recipe
    metric = MetricSpec(
        function="pipeline.evaluation.metrics:score",
        name=competition.metric,
        positive=find_positive_class(competition, data),
        higher=metrics.find_metric(competition.metric).higher_is_better,
    )
    job = FoldJob(
        folder=run.folder,
        rung=recipe.rung,
        fold=run.folds[0],
        seed=recipe.seed,
        base=list_networks(recipe)[0],
        head=recipe.head,
        regime=recipe.regime,
        classes=len(data.pictures.classes),
        labels=tuple(data.labels.astype(int).tolist()),
        fold_of=tuple(data.fold_of.astype(int).tolist()),
        train=tuple(data.train_digests),
        test=tuple(data.test_digests),
        views=recipe.views,
        training_views=recipe.training_views,
        metric=metric,
        board=options.board,
        taught=soft_targets.write(run.folder) if soft_targets else None,
    )
    force = options.force or options.recompute
    return CVJob(job=job, folds=run.folds, files=data.files, engine=options.engine, force=force, keep=options.keep)


def _score(run: RunContext, trained: CVResult, lines: list[str]) -> dict[str, Any]:
    """Computes the metrics of a run, and appends the score to the stage's lines."""
    results = compute_metrics(run.competition, run.data, trained)
    lines.append(f"{run.competition.metric} {format_score_spread(results)} over {len(run.folds)} folds")
    return results


def extract_features(
    extractors: list[Extractor], digests: list[str], views: tuple[str, ...], lines: list[str] | None = None
) -> dict[str, np.ndarray]:
    """Extracts features (pictures, width) float32 of all bases, concatenated, for each view."""
    features = {}
    for view in views:
        parts = [extractor.features(digests, view) for extractor in extractors]
        features[view] = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    if lines is not None:
        lines.append(f"{len(digests):,} x {next(iter(features.values())).shape[1]} in {len(views)} views")
    return features


def extract_validation_features(
    extractors: list[Extractor], data: Dataset, views: tuple[str, ...], mask: np.ndarray
) -> dict[str, np.ndarray]:
    """Extracts features (training pictures, width) float32 for each view of the pictures of a mask; others get NaN."""
    rows = extract_features(extractors, list(data.pictures.train["sha256"][mask]), views)
    features = {view: np.full((len(mask), values.shape[1]), np.nan, np.float32) for view, values in rows.items()}
    for view, values in rows.items():
        features[view][mask] = values
    return features


def _extract_run_features(
    run: RunContext, extractors: list[Extractor], lines: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Extracts features of training and of test pictures by view, in the views that are trained on or predicted.

    With `keep`, the same pass caches the activations that a later `finetune` needs.
    """
    data, recipe, keep = run.data, run.competition.recipe, run.options.keep
    if keep:
        activations = build_cv_job(run).select_activations(keep)
        extractors[0].keeping = cross_validation.build_activation_capture(extractors[0].base, keep, activations)
    train = extract_features(extractors, data.train_digests, recipe.training_views, lines)
    only_predicted = tuple(view for view in recipe.views if view not in recipe.training_views)
    train |= extract_validation_features(extractors, data, only_predicted, np.isin(data.fold_of, run.folds))
    test = {view: train[view][:0] for view in recipe.views}
    if data.test_digests:
        test = extract_features(extractors, data.test_digests, recipe.views, lines)
    if only_predicted:
        lines.append(f"the training ones in {len(only_predicted)} more, to predict them")
    engines = dict.fromkeys(extractor.choose(data.train_digests).engine for extractor in extractors)
    computed = sum(extractor.computed for extractor in extractors)
    lines.append(f"{computed:,} computed by {', '.join(engines)}, the rest cached")
    return train, test


def export_model(
    exporter: export.ModelExporter, folder: Path, extractors: list[Extractor], data: Dataset, trained: CVResult
) -> float:
    """Puts the heads on the live bases, saves the model, and returns the difference of the parity check."""
    digests = [data.train_digests[place] for place in export.select_positions(len(data.train_digests))]
    cached = extract_features(extractors, digests, ("plain",))["plain"]
    pixels = {e.base.size: pixel_cache.read_pixels(e.store, digests, data.files, few=True) for e in extractors}
    precisions = {find_precision(extractor.choose(digests).engine) for extractor in extractors}
    return exporter.finish(folder, trained.heads, pixels, cached, "bfloat16" if "bfloat16" in precisions else "float32")
