"""The stages of the rungs that train a network: caches filled once, then a process a fold. Or only a rate is found."""

import logging
from pathlib import Path

import numpy as np

from pipeline import paths, runs
from pipeline.closing import with_spread
from pipeline.config import Competition, Recipe
from pipeline.errors import StarshiftError, require
from pipeline.models.bases import Base
from pipeline.models.scratch import networks_of
from pipeline.options import Options, as_made, folds_asked
from pipeline.predict import metrics
from pipeline.preparation import Data, prepare, stage
from pipeline.results import UnderWay, close, keep_model, measured, positive_class, run_folder
from pipeline.training import rungs
from pipeline.training.jobs import Metric
from pipeline.training.processes import found_rate

log = logging.getLogger(__name__)


def trained_base(recipe: Recipe) -> Base:
    """The base that a recipe's rung trains.

    Raises:
        StarshiftError: it is pooled by second moments.
    """
    base = networks_of(recipe)[0]
    require(
        not base.by_moments,
        f"The rung {recipe.rung} trains a base whose maps are averaged.",
        expected="pooling avg, max or both",
        received=str(base),
        remedy="--rung features takes second moments",
    )
    return base


def setting_of(
    competition: Competition, options: Options, folds: tuple[int, ...], place: Path | None = None
) -> tuple[Data, rungs.Setting]:
    """The prepared pictures, and the same as the rungs that train a network need them.

    Args:
        competition: its recipe names the rung.
        options: from the command line.
        folds: to train.
        place: the folder to write into; None is a run's.
    """
    recipe = competition.recipe
    base = trained_base(recipe)
    if recipe.used_bases and len(recipe.bases) > 1:
        log.info("rung      %s trains one base: %s, the recipe's first", recipe.rung, base)
    data = prepare(competition, [base], options)
    metric = Metric(
        function="pipeline.predict.metrics:score",
        name=competition.metric,
        positive=positive_class(competition, data),
        higher=metrics.higher_is_better(competition.metric),
    )
    return data, rungs.Setting(
        folder=place or run_folder(competition, options, folds),
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


def find_rate(competition: Competition, options: Options) -> float:
    """Only looks for a learning rate, on the first of the folds; draws it and gives the one to train with."""
    competition = as_made(competition, options)
    recipe = competition.recipe
    if recipe.rung == "features":
        raise StarshiftError("The rung features has no learning rate.", expected="--rung with another rung")
    place = paths.reports_folder(competition.name) / f"rate-{recipe.rung}"
    folds = folds_asked(recipe, options)[:1]
    _, setting = setting_of(competition, options, folds, place)
    with stage("cache") as said:
        job = rungs.prepare(setting, said)
    with stage("rate") as said:
        suggested = float(found_rate(job)["suggested"])
        said.append(f"{suggested:.1e} is suggested; the rung's is {recipe.regime.rate:.1e}")
    log.info("wrote %s", paths.shown(job.stem.with_suffix(".rate.png")))
    log.info("next: training=Training(rate=%.1e) in the recipe", suggested)
    return suggested


def run(competition: Competition, options: Options, folds: tuple[int, ...], started: float) -> Path:
    """The stages of the rungs that train a network."""
    data, setting = setting_of(competition, options, folds)
    with runs.begun(setting.folder) as folder:
        begun = UnderWay(
            competition=competition, options=options, data=data, folder=folder, folds=folds, started=started
        )
        return schooled(begun, setting)


def schooled(run: UnderWay, setting: rungs.Setting) -> Path:
    """A network trained, each fold in a process of its own, and its run closed. Returns its folder."""
    with stage("cache") as said:
        job = rungs.prepare(setting, said)
    with stage("training") as said:
        trained = rungs.train(setting, job)
        results = measured(run.competition, run.data, trained)
        said.append(f"{run.competition.metric} {with_spread(results)} over {len(setting.folds)} folds")
    keep_model(setting.folder)
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
    return close(run, trained, results, facts[0]["device"])
