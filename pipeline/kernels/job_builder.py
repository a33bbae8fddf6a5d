"""Builds the job that a kernel runs (session_run.py) from a competition and run options."""

import json

from pipeline import paths
from pipeline.config import Competition, RunOptions, apply_options, select_folds
from pipeline.data import folds as splits
from pipeline.errors import require
from pipeline.files import hash_json
from pipeline.kernels import weights
from pipeline.kernels.job import JobSpec
from pipeline.runs import folder
from pipeline.workflow import finish


def build_job(competition: Competition, options: RunOptions) -> JobSpec:
    """Builds the job from a competition and the options of `invoke run`.

    Raises:
        StarshiftError: an option that has no meaning on Kaggle.
    """
    unusable = [name for name in ("bundle", "force", "resplit", "recompute") if getattr(options, name)]
    expected = "no --bundle, --force, --resplit"
    require(not unusable, "That has no meaning on Kaggle.", expected=expected, received=unusable)
    resolved = apply_options(competition, options)
    folds = select_folds(resolved.recipe, options)
    config = json.loads(json.dumps(finish.build_run_config(resolved, options, folds)))
    split = paths.competition_folder(competition.name) / splits.build_folds_name(competition.recipe)
    return JobSpec(
        competition=competition,
        folds=options.folds,
        debug=options.debug,
        engine=options.engine,
        tensorboard=options.tensorboard,
        fingerprint=hash_json(config),
        config=config,
        split=(split.name, split.read_bytes().decode("utf-8")) if split.exists() else None,
        weights=tuple(weights.list_weights(competition)),
        commit=folder.find_commit(),
    )
