"""Trains a run's models: the stages features, training and model of each kind of strategy, which run.py puts in order.

`HeadTraining` fits heads on cached features; `NetworkTraining` trains networks, each fold in a process of its own.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import HEADS, Recipe
from pipeline.data import pixel_cache
from pipeline.errors import require
from pipeline.evaluation import metrics
from pipeline.features.extractor import Extractor
from pipeline.models.base import Base, list_networks
from pipeline.models.inference_engines import find_precision
from pipeline.training import cross_validation, export, linear_probe
from pipeline.training.cross_validation import CVJob
from pipeline.training.fold_average import save_fold_average
from pipeline.training.fold_job import FoldJob, MetricSpec
from pipeline.training.linear_probe import CVResult
from pipeline.training.soft_targets import SoftTargets
from pipeline.workflow.context import Dataset, RunContext, log_stage
from pipeline.workflow.finish import compute_metrics, format_score_spread

log = logging.getLogger(__name__)


class HeadTraining:
    """The stages of the strategy `features`: heads on cached features.

    Args:
        run: the run.
        exporter: builds the live model meanwhile, in a process of its own.
        soft_targets: of teachers, for the training pictures.
    """

    def __init__(self, run: RunContext, exporter: export.ModelExporter, soft_targets: SoftTargets | None) -> None:
        self.run, self.exporter, self.soft_targets = run, exporter, soft_targets
        bases = list_networks(run.competition.recipe)
        exporter.begin(bases)
        force = run.options.force or run.options.recompute
        self.extractors = [Extractor(base, run.data.files, wanted=run.options.engine, force=force) for base in bases]

    @property
    def device(self) -> str:
        """The engines that ran the bases."""
        return ", ".join(extractor.choose(()).engine for extractor in self.extractors)

    def fill_caches(self) -> None:
        """Runs the stage features."""
        with log_stage("features") as lines:
            self.train_features, self.test_features = _extract_run_features(self.run, self.extractors, lines)

    def train(self) -> tuple[CVResult, dict[str, Any]]:
        """Runs the stage training: fits a head for each fold. Returns predictions and entries of metrics.json."""
        run, recipe = self.run, self.run.competition.recipe
        with log_stage("training") as lines:
            trained = linear_probe.train_heads(
                recipe,
                train_features=self.train_features,
                test_features=self.test_features,
                labels=run.data.labels,
                fold_of=run.data.fold_of,
                folds=run.folds,
                classes=len(run.data.pictures.classes),
                soft_targets=self.soft_targets,
            )
            results = _score(run, trained, lines)
            if len(run.folds) == 1 and recipe.l2 is None and (tuned := HEADS[recipe.head].tuned):
                lines.append(f"one fold alone chooses its {tuned} on the pictures that score it")
        return trained, results

    def save_model(self, trained: CVResult) -> dict[str, Any]:
        """Runs the stage model: saves the live model and checks its predictions. Returns entries of metrics.json.

        Raises:
            PrecisionError: bfloat16 is too coarse for the heads.
        """
        with log_stage("model") as lines:
            differences = export_model(self.exporter, self.run.folder, self.extractors, self.run.data, trained, lines)
        return {
            **differences,
            "parameters": sum(array.size for layer in trained.heads[0].layers for array in layer),
            "engines": {
                text: asdict(extractor.choose(()))
                for text, extractor in zip(self.run.competition.recipe.bases, self.extractors, strict=True)
            },
        }


class NetworkTraining:
    """The stages of the strategies that train a network.

    Args:
        run: the run.
        soft_targets: of teachers, for the training pictures.
    """

    def __init__(self, run: RunContext, soft_targets: SoftTargets | None = None) -> None:
        self.run = run
        self.cv = build_cv_job(run, soft_targets)
        self.device = ""

    def fill_caches(self) -> None:
        """Runs the stage features: fills the caches that all folds draw from."""
        with log_stage("features") as lines:
            self.cv = cross_validation.fill_caches(self.cv, lines)

    def train(self) -> tuple[CVResult, dict[str, Any]]:
        """Runs the stage training: each fold saves and checks its model. Returns predictions and entries of metrics."""
        with log_stage("training") as lines:
            trained = cross_validation.cross_validate(self.cv)
            results = _score(self.run, trained, lines)
        self.device = trained.facts[0]["device"]
        return trained, results

    def save_model(self, trained: CVResult) -> dict[str, Any]:
        """Runs the stage model: averages the models of the folds. Returns entries of metrics.json."""
        with log_stage("model") as lines:
            save_fold_average(self.run.folder, trained.folds)
            lines.append(f"{len(trained.folds)} networks in one" if len(trained.folds) > 1 else "the fold's network")
        facts, job = trained.facts, self.cv.job
        return {
            "parity_difference": max(fact["parity_difference"] for fact in facts),
            "parameters": facts[0]["parameters"],
            "seconds_per_epoch": float(np.median([s for fact in facts for s in fact["seconds_per_epoch"]] or [0.0])),
            "training": facts,
            "base": str(job.base),
            "cut": job.cut,
            "cached": job.cached,
        }


@contextlib.contextmanager
def open_exporter(recipe: Recipe) -> Iterator[export.ModelExporter | None]:
    """Starts the process that builds the live model of heads; None where folds save their own models."""
    if recipe.strategy != "features":
        yield None
        return
    exporter = export.ModelExporter()
    try:
        yield exporter
    finally:
        exporter.stop()


def select_networks(recipe: Recipe) -> list[Base]:
    """Selects the bases that a recipe uses: all for `features`, the first where one is trained."""
    if recipe.strategy == "features":
        return list_networks(recipe)
    base = select_trained_base(recipe)
    if recipe.used_bases and len(recipe.bases) > 1:
        log.info("strategy  %s trains one base: %s, the recipe's first", recipe.strategy, base)
    return [base]


def select_trained_base(recipe: Recipe) -> Base:
    """Selects the base that a recipe's strategy trains.

    Raises:
        StarshiftError: it is pooled by second moments.
    """
    base = list_networks(recipe)[0]
    require(
        not base.by_moments,
        f"The strategy {recipe.strategy} trains a base whose maps are averaged.",
        expected="pooling avg, max or both",
        received=str(base),
        remedy="--strategy features takes second moments",
    )
    return base


def build_cv_job(run: RunContext, soft_targets: SoftTargets | None = None) -> CVJob:
    """Builds the jobs of a run's folds, which train the first of its bases."""
    competition, data, options, recipe = run.competition, run.data, run.options, run.competition.recipe
    metric = MetricSpec(
        function="pipeline.evaluation.metrics:score",
        name=competition.metric,
        positive=data.positive,
        higher=metrics.find_metric(competition.metric).higher_is_better,
    )
    job = FoldJob(
        folder=run.folder,
        strategy=recipe.strategy,
        fold=run.folds[0],
        seed=recipe.seed,
        base=list_networks(recipe)[0],
        head=recipe.head,
        training=recipe.resolved_training,
        classes=len(data.pictures.classes),
        labels=tuple(data.labels.astype(int).tolist()),
        fold_of=tuple(data.fold_of.astype(int).tolist()),
        train=tuple(data.train_digests),
        test=tuple(data.test_digests),
        views=recipe.views,
        training_views=recipe.training_views,
        metric=metric,
        tensorboard=options.tensorboard,
        soft_targets=soft_targets.write(run.folder) if soft_targets else None,
    )
    force = options.force or options.recompute
    return CVJob(
        job=job,
        folds=run.folds,
        files=data.files,
        engine=options.engine,
        force=force,
        capture_for=options.capture_for,
    )


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

    With `capture_for`, the same pass caches the activations that a later `finetune` needs.
    """
    data, recipe, capture_for = run.data, run.competition.recipe, run.options.capture_for
    if capture_for:
        activations = build_cv_job(run).select_activations(capture_for)
        extractors[0].keeping = cross_validation.build_activation_capture(extractors[0].base, capture_for, activations)
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
    exporter: export.ModelExporter,
    folder: Path,
    extractors: list[Extractor],
    data: Dataset,
    trained: CVResult,
    lines: list[str],
) -> dict[str, float]:
    """Puts the heads on the live bases and saves the model. Returns entries of metrics.json, and logs their meaning."""
    digests = [data.train_digests[place] for place in export.select_positions(len(data.train_digests))]
    cached = extract_features(extractors, digests, ("plain",))["plain"]
    pixels = {e.base.size: pixel_cache.read_pixels(e.store, digests, data.files, few=True) for e in extractors}
    precisions = {find_precision(extractor.choose(digests).engine) for extractor in extractors}
    precision = "bfloat16" if "bfloat16" in precisions else "float32"
    differences = exporter.finish(folder, trained.heads, pixels, cached, precision)
    lines.append(f"live and cached predictions differ by at most {differences['parity_difference']:.1e}")
    if (resized := differences.get("resize_difference")) is not None:
        lines.append(f"{max(pixels)} px for all bases, resized inside, change a probability by at most {resized:.1e}")
    return differences
