"""The stages of a run in their order; nothing else knows it. One line a stage: what was done, and how long it took.

The stages of the rungs that train a network: caches filled once, then a process a fold. Or only a rate is found.
"""

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path

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
from pipeline.training.fold_job import MetricSpec, run_lr_job
from pipeline.training.inference import PrecisionError, select_positions
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

log = logging.getLogger(__name__)


def select_trained_base(recipe: Recipe) -> Base:
    """The base that a recipe's rung trains.

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


def build_training_context(
    competition: Competition, options: RunOptions, folds: tuple[int, ...], place: Path | None = None
) -> tuple[Dataset, cross_validation.TrainingContext]:
    """The prepared pictures, and the same as the rungs that train a network need them.

    Args:
        competition: its recipe names the rung.
        options: from the command line.
        folds: to train.
        place: the folder to write into; None is a run's.
    """
    recipe = competition.recipe
    base = select_trained_base(recipe)
    if recipe.used_bases and len(recipe.bases) > 1:
        log.info("rung      %s trains one base: %s, the recipe's first", recipe.rung, base)
    data = prepare_dataset(competition, [base], options)
    metric = MetricSpec(
        function="pipeline.evaluation.metrics:score",
        name=competition.metric,
        positive=find_positive_class(competition, data),
        higher=metrics.find_metric(competition.metric).higher_is_better,
    )
    return data, cross_validation.TrainingContext(
        folder=place or open_run_folder(competition, options, folds),
        recipe=recipe,
        base=base,
        files=data.files,
        train=list(data.pictures.train["sha256"]),
        test=list(data.pictures.test["sha256"][data.test_readable]),
        labels=data.labels,
        fold_of=data.pictures.train["fold"].to_numpy(),
        folds=folds,
        classes=len(data.pictures.classes),
        metric=metric,
        engine=options.engine,
        force=options.force or options.recompute,
        board=options.board,
        keep=options.keep,
    )


def find_learning_rate(competition: Competition, options: RunOptions) -> float:
    """Only looks for a learning rate, on the first of the folds; draws it and gives the one to train with."""
    competition = apply_options(competition, options)
    recipe = competition.recipe
    if recipe.rung == "features":
        raise StarshiftError("The rung features has no learning rate.", expected="--rung with another rung")
    place = paths.reports_folder(competition.name) / f"rate-{recipe.rung}"
    folds = select_folds(recipe, options)[:1]
    _, setting = build_training_context(competition, options, folds, place)
    with log_stage("cache") as said:
        job = cross_validation.prepare_fold_job(setting, said)
    with log_stage("rate") as said:
        suggested = float(run_lr_job(job)["suggested"])
        said.append(f"{suggested:.1e} is suggested; the rung's is {recipe.regime.rate:.1e}")
    log.info("wrote %s", paths.format_path(job.stem.with_suffix(".rate.png")))
    log.info("next: training=Training(rate=%.1e) in the recipe", suggested)
    return suggested


def run_network(competition: Competition, options: RunOptions, folds: tuple[int, ...], started: float) -> Path:
    """The stages of the rungs that train a network."""
    data, setting = build_training_context(competition, options, folds)
    with runs.lock_run(setting.folder) as folder:
        begun = RunContext(
            competition=competition, options=options, data=data, folder=folder, folds=folds, started=started
        )
        return run_folds(begun, setting)


def run_folds(run: RunContext, setting: cross_validation.TrainingContext) -> Path:
    """A network trained, each fold in a process of its own, and its run closed. Returns its folder."""
    with log_stage("cache") as said:
        job = cross_validation.prepare_fold_job(setting, said)
    with log_stage("training") as said:
        trained = cross_validation.cross_validate(setting, job)
        results = compute_metrics(run.competition, run.data, trained)
        said.append(f"{run.competition.metric} {format_score_spread(results)} over {len(setting.folds)} folds")
    link_fold_model(setting.folder)
    facts = trained.facts
    results |= {
        "hand_over": max(fact["hand_over"] for fact in facts),
        "parameters": facts[0]["parameters"],
        "seconds_an_epoch": float(np.median([s for fact in facts for s in fact["seconds_an_epoch"]] or [0.0])),
        "training": facts,
        "base": str(setting.base),
        "cut": job.cut,
        "cached": job.cached,
    }
    return finish_run(run, trained, results, facts[0]["device"])


__all__ = [
    "Dataset",
    "RunOptions",
    "compute_metrics",
    "extract_features",
    "find_finished_run",
    "find_learning_rate",
    "log_stage",
    "prepare_dataset",
    "run",
]
TUNED_PARAMETERS = {"linear": "strength", "gaussian": "shrinkage and scale"}
"""What a head asks of the other folds, where there are any."""


def extract_features(
    extractors: list[Extractor], digests: list[str], views: tuple[str, ...], said: list[str] | None = None
) -> dict[str, np.ndarray]:
    """Features (pictures, width) float32 of all bases, concatenated, for each view."""
    found = {}
    for view in views:
        parts = [extractor.features(digests, view) for extractor in extractors]
        found[view] = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    if said is not None:
        said.append(f"{len(digests):,} x {next(iter(found.values())).shape[1]} in {len(views)} views")
    return found


def extract_validation_features(
    extractors: list[Extractor], data: Dataset, views: tuple[str, ...], held: np.ndarray
) -> dict[str, np.ndarray]:
    """Features (training pictures, width) float32 for each view of the pictures that are `held` (bool), else NaN."""
    rows = extract_features(extractors, list(data.pictures.train["sha256"][held]), views)
    found = {view: np.full((len(held), values.shape[1]), np.nan, np.float32) for view, values in rows.items()}
    for view, values in rows.items():
        found[view][held] = values
    return found


def run(competition: Competition, options: RunOptions) -> Path:
    """The whole way: from the archive to the submission. Returns the run's folder."""
    started = time.perf_counter()
    competition = apply_options(competition, options)
    recipe, folds = competition.recipe, select_folds(competition.recipe, options)
    inference_engines.check_engine(options.engine)
    if recipe.rung != "features":
        return run_network(competition, options, folds, started)
    assembly = export.ModelExporter()
    try:
        data = prepare_dataset(competition, list_networks(recipe), options)
        competition = data.competition
        with runs.lock_run(open_run_folder(competition, options, folds)) as folder:
            run = RunContext(
                competition=competition, options=options, data=data, folder=folder, folds=folds, started=started
            )
            return run_heads(run, assembly)
    finally:
        assembly.stop()


def run_heads(run: RunContext, assembly: export.ModelExporter, lesson: SoftTargets | None = None) -> Path:
    """Heads on cached features, and their run closed. Returns its folder.

    Where bfloat16 was chosen for its speed and turns out too coarse for the heads, all of it is done in float32.

    Args:
        run: that has begun.
        assembly: builds the live model meanwhile.
        lesson: what teachers say of the training pictures.
    """
    try:
        return _run_heads(run, assembly, lesson)
    except PrecisionError as error:
        if run.options.engine != "auto":
            raise
        log.warning("  warning: bfloat16 is too coarse for these heads (%s): once more in float32", error.received)
    again = export.ModelExporter()
    try:
        return _run_heads(replace(run, options=replace(run.options, engine="openvino")), again, lesson)
    finally:
        again.stop()


def _run_heads(run: RunContext, assembly: export.ModelExporter, lesson: SoftTargets | None) -> Path:
    """The same with the engine that is asked for or chosen."""
    competition, data, recipe = run.competition, run.data, run.competition.recipe
    bases = list_networks(recipe)
    assembly.begin(bases)
    force = run.options.force or run.options.recompute
    extractors = [Extractor(base, data.files, wanted=run.options.engine, force=force) for base in bases]
    train_features, test_features = _extract_all_features(run, extractors)
    with log_stage("heads") as said:
        trained = linear_probe.train_heads(
            recipe,
            train_features=train_features,
            test_features=test_features,
            labels=data.labels,
            fold_of=data.pictures.train["fold"].to_numpy(),
            folds=run.folds,
            classes=len(data.pictures.classes),
            lesson=lesson,
        )
        results = compute_metrics(competition, data, trained)
        said.append(f"{competition.metric} {format_score_spread(results)} over {len(run.folds)} folds")
        if len(run.folds) == 1 and recipe.strength is None and (what := TUNED_PARAMETERS.get(recipe.head)):
            said.append(f"one fold alone chooses its {what} on the pictures that score it")
    with log_stage("model") as said:
        difference = export_model(assembly, run.folder, extractors, data, trained)
        said.append(f"live and cached predictions differ by at most {difference:.1e}")
    results["hand_over"] = difference
    results["parameters"] = sum(array.size for layer in trained.heads[0].layers for array in layer)
    chosen = {str(one.base): one.choose(()) for one in extractors}
    results["engines"] = {name: asdict(choice) for name, choice in chosen.items()}
    return finish_run(run, trained, results, device=", ".join(choice.engine for choice in chosen.values()))


def _extract_all_features(
    run: RunContext, extractors: list[Extractor]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the bases see of training and of test pictures, each as `extract_features` gives it, in the views that are
    asked for.

    With `keep`, what a later rung will want is kept from the same pass.
    """
    data, recipe, keep = run.data, run.competition.recipe, run.options.keep
    fold_of = data.pictures.train["fold"].to_numpy()
    train, test = list(data.pictures.train["sha256"]), list(data.pictures.test["sha256"][data.test_readable])
    if keep:
        to_train = cross_validation.list_training_digests(train, fold_of, run.folds)
        to_predict = cross_validation.list_predicted_digests(train, test, fold_of, run.folds)
        asked = cross_validation.select_activations(keep, recipe.views, to_train, to_predict)
        extractors[0].keeping = cross_validation.build_activation_capture(extractors[0].base, keep, asked)
    with log_stage("features") as said:
        of_train = extract_features(extractors, train, recipe.training_views, said)
        only_predicted = tuple(view for view in recipe.views if view not in recipe.training_views)
        of_train |= extract_validation_features(extractors, data, only_predicted, np.isin(fold_of, run.folds))
        of_test = (
            extract_features(extractors, test, recipe.views, said)
            if test
            else {v: of_train[v][:0] for v in recipe.views}
        )
        if only_predicted:
            said.append(f"the training ones in {len(only_predicted)} more, to predict them")
        engines = dict.fromkeys(extractor.choose(train).engine for extractor in extractors)
        computed = sum(extractor.computed for extractor in extractors)
        said.append(f"{computed:,} computed by {', '.join(engines)}, the rest cached")
    return of_train, of_test


def export_model(
    assembly: export.ModelExporter,
    folder: Path,
    extractors: list[Extractor],
    data: Dataset,
    trained: linear_probe.CVResult,
) -> float:
    """Puts the heads on the live bases, and holds that model against the cached features on a few pictures."""
    digests = list(data.pictures.train["sha256"].iloc[select_positions(len(data.pictures.train))])
    cached = extract_features(extractors, digests, ("plain",))["plain"]
    shown = {e.base.size: pixel_cache.read_pixels(e.store, digests, data.files) for e in extractors}
    used = {find_precision(extractor.choose(digests).engine) for extractor in extractors}
    return assembly.finish(folder, trained.heads, shown, cached, "bfloat16" if "bfloat16" in used else "float32")
