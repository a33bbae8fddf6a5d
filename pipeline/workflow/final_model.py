"""Trains the final model of a run whose folds have networks: one network on all training pictures."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from pipeline import paths
from pipeline.config import Competition, RunOptions, apply_options, select_folds
from pipeline.errors import require
from pipeline.files import write_json
from pipeline.runs import folder as runs
from pipeline.runs.model_card import build_model_card
from pipeline.training import cross_validation, fold_job
from pipeline.workflow.context import RunContext, log_stage
from pipeline.workflow.finish import find_finished_run
from pipeline.workflow.run import prepare_dataset, run
from pipeline.workflow.train import build_cv_job, select_networks

log = logging.getLogger(__name__)


def run_with_final_model(competition: Competition, options: RunOptions) -> Path:
    """Runs a competition, or takes its finished run, and trains the final model. Returns the run's folder.

    Raises:
        StarshiftError: the strategy trains no network.
    """
    asked = apply_options(competition, options)
    require(
        asked.recipe.strategy != "features",
        "A final model is of a strategy that trains a network.",
        expected="--strategy scratch, augmented, frozen or finetune",
        received="features",
        remedy="leave --final out: the model.keras of this run has one network and small heads already",
    )
    folder = find_finished_run(asked, options)
    if folder is not None:
        log.info("this run is finished: %s", paths.format_path(folder))
    folder = folder or run(competition, options)
    train_final_model(asked, options, folder)
    return folder


def train_final_model(competition: Competition, options: RunOptions, folder: Path) -> Path:
    """Trains the final model of a finished run and describes it; goes on where a killed one stopped.

    Args:
        competition: as it was run.
        options: as it was run with.
        folder: of the run.

    Returns:
        The path of final.keras.
    """
    started, recipe = time.perf_counter(), competition.recipe
    data = prepare_dataset(competition, select_networks(recipe), options)
    context = RunContext(
        competition=data.competition, options=options, data=data, folder=folder,
        folds=select_folds(recipe, options), started=started,
    )  # fmt: skip
    epochs = select_epochs(runs.read_history(folder))
    cv = build_cv_job(context)
    job = replace(cv.job, test=(), views=cv.job.views[:1], final_epochs=tuple(epochs.items()))
    with runs.lock_run(folder), log_stage("final") as lines:
        # All folds: the caches must have every training picture.
        filled = cross_validation.fill_caches(replace(cv, job=job, folds=range(recipe.folds)), lines)
        fold_job.train_fold(filled.job)
        lines.append(", ".join(f"{count} epochs of {stage}" for stage, count in epochs.items()))
    results, environment = runs.read_metrics(folder), runs.read_environment(folder)
    trained_on = (
        "all training pictures, as many epochs as were best on the folds; not measured itself: the scores are those of "
        "the folds' models in the same view, each trained on fewer pictures"
    )
    card = build_model_card(data.competition, data.pictures.classes, results, environment, filled.job.model, trained_on)
    write_json(filled.job.model.with_suffix(".json"), card)
    log.info("wrote %s, and how to use it beside it", paths.format_path(filled.job.model))
    return filled.job.model


def select_epochs(history: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Selects the epochs of each stage: the median over folds of the best number, 0 where its start was best.

    Args:
        history: records of a run, as `runs.folder.read_history` reads them.
    """
    best: dict[str, dict[str, int]] = {}
    for record in history:
        if record["stage"] != "head":
            folds = best.setdefault(record["stage"], {})
            folds.setdefault(record["fold"], 0)
            if str(record["chosen"]) == "True":
                folds[record["fold"]] = int(record["epoch"]) + 1
    return {stage: round(median(folds.values()) + 1e-9) for stage, folds in best.items()}
