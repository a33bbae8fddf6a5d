"""Trains the final model of a run whose folds have networks: one network on all training pictures."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from pipeline import paths
from pipeline.config import STRATEGIES, Recipe
from pipeline.errors import require
from pipeline.files import write_json
from pipeline.runs import folder as runs
from pipeline.runs.model_card import build_model_card
from pipeline.training import cross_validation, fold_job
from pipeline.workflow.context import RunContext, log_stage
from pipeline.workflow.train import build_cv_job

log = logging.getLogger(__name__)


def require_network(recipe: Recipe) -> None:
    """Raises a StarshiftError where the strategy trains no network."""
    require(
        recipe.strategy != "features",
        "A final model is of a strategy that trains a network.",
        expected="--strategy " + " | ".join(name for name in STRATEGIES if name != "features"),
        received="features",
        remedy="leave --final out: the model.keras of this run has one network and small heads already",
    )


def train_final_model(run: RunContext) -> Path:
    """Trains the final model of a finished run and describes it; goes on where a killed one stopped.

    Returns:
        The path of final.keras.
    """
    epochs, cv = select_epochs(runs.read_history(run.folder)), build_cv_job(run)
    job = replace(cv.job, test=(), views=cv.job.views[:1], final_epochs=tuple(epochs.items()))
    with log_stage("final") as lines:
        # All folds: the caches must have every training picture.
        folds = range(run.competition.recipe.folds)
        filled = cross_validation.fill_caches(replace(cv, job=job, folds=folds), lines)
        fold_job.train_fold(filled.job)
        lines.append(", ".join(f"{count} epochs of {stage}" for stage, count in epochs.items()))
    results, environment, model = runs.read_metrics(run.folder), runs.read_environment(run.folder), filled.job.model
    trained_on = (
        "all training pictures, as many epochs as were best on the folds; not measured itself: the scores are those of "
        "the folds' models in the same view, each trained on fewer pictures"
    )
    card = build_model_card(run.competition, run.data.pictures.classes, results, environment, model, trained_on)
    write_json(model.with_suffix(".json"), card)
    runs.write_digests(run.folder)
    log.info("wrote %s, and how to use it beside it", paths.format_path(model))
    return model


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
