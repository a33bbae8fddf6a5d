"""Builds the job that a kernel runs (kernels/session_run.py) from what a run here would be made of."""

import json

from pipeline import paths
from pipeline.config import Competition
from pipeline.data import folds as splits
from pipeline.errors import require
from pipeline.files import hash_json
from pipeline.kernels import weights
from pipeline.kernels.job import JobSpec, WeightsSpec
from pipeline.run_options import RunOptions, apply_options, select_folds
from pipeline.runs import folder
from pipeline.workflow import finish


def build_job(competition: Competition, options: RunOptions) -> JobSpec:
    """What is to be done there, from what would be done here.

    Raises:
        StarshiftError: an option that has no meaning there.
    """
    meaningless = [name for name in ("bundle", "force", "resplit", "recompute") if getattr(options, name)]
    require(
        not meaningless,
        "That has no meaning on Kaggle.",
        expected="no --bundle, --force, --resplit",
        received=meaningless,
    )
    made = apply_options(competition, options)
    folds = select_folds(made.recipe, options)
    config = json.loads(json.dumps(finish.build_run_config(made, options, folds)))
    split = paths.competition_folder(competition.name) / splits.build_folds_name(competition.recipe)
    return JobSpec(
        competition=competition,
        folds=options.folds,
        debug=options.debug,
        engine=options.engine,
        board=options.board,
        fingerprint=hash_json(config),
        config=config,
        split=(split.name, split.read_bytes().decode("utf-8")) if split.exists() else None,
        weights=list_weights(competition),
        commit=folder.find_commit(),
    )


def list_weights(competition: Competition) -> tuple[WeightsSpec, ...]:
    """The weights files that a recipe needs, with the digests of those that are here."""
    chosen = weights.list_bases(competition)
    weights.list_weights(chosen)
    named = zip(competition.recipe.bases, chosen, strict=False)
    found = [(text, one) for text, base in named for one in weights.list_weights([base])]
    return tuple(WeightsSpec(base=text, name=one.name, sha256=one.sha256) for text, one in found)
