"""What Kaggle is to do, from what would be done here: the order that pipeline/away/aboard.py carries out there."""

import json

from pipeline import paths, results, runs
from pipeline.away import weighing
from pipeline.config import Competition
from pipeline.dataset import splits
from pipeline.errors import require
from pipeline.files import sha256_of_json
from pipeline.options import Options, as_made, folds_asked
from pipeline.remote.order import Order, Weights


def ordered(competition: Competition, options: Options) -> Order:
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
    made = as_made(competition, options)
    folds = folds_asked(made.recipe, options)
    config = json.loads(json.dumps(results.decides(made, options, folds)))
    split = paths.competition_folder(competition.name) / splits.file_name(competition.recipe)
    return Order(
        competition=competition,
        folds=options.folds,
        debug=options.debug,
        engine=options.engine,
        board=options.board,
        fingerprint=sha256_of_json(config),
        config=config,
        split=(split.name, split.read_bytes().decode("utf-8")) if split.exists() else None,
        weights=needed(competition),
        commit=runs.commit(),
    )


def needed(competition: Competition) -> tuple[Weights, ...]:
    """The weights files that a recipe needs, with the digests of those that are here."""
    chosen = weighing.bases_of(competition)
    weighing.needed(chosen)
    named = zip(competition.recipe.bases, chosen, strict=False)
    found = [(text, one) for text, base in named for one in weighing.needed([base])]
    return tuple(Weights(base=text, name=one.name, sha256=one.sha256) for text, one in found)
