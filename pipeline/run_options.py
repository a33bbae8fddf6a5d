"""Options of a run that are not in the recipe, from the command line, and how messages name a competition there."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import Competition, Recipe, Training
from pipeline.errors import require

_COMPETITION_FILES: dict[str, str] = {}


def register_competition_file(name: str, file: str) -> None:
    """Registers the file of a competition outside the repository."""
    _COMPETITION_FILES[name] = shlex.quote(file)


def find_comp_argument(name: str) -> str:
    """Returns what --comp takes for a competition, so that a command in a message works as it stands."""
    return _COMPETITION_FILES.get(name, name)


DEBUG_FOLDS = 2


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run beside the recipe.

    Args:
        bundle: an archive downloaded by hand.
        debug: use a few pictures only.
        folds: train these only; empty trains all.
        force: fetch and compute again.
        resplit: make new folds.
        engine: `auto` or the name of an engine.
        tensorboard: write TensorBoard's files.
        skip_submission: write no submission.
        recompute: compute cached features again.
        capture_for: of a `finetune` that follows; the activations that it needs are cached in the same pass.
    """

    bundle: Path | None = None
    debug: bool = False
    folds: tuple[int, ...] = ()
    force: bool = False
    resplit: bool = False
    engine: str = "auto"
    tensorboard: bool = False
    skip_submission: bool = False
    recompute: bool = False
    capture_for: Training | None = None


def apply_options(competition: Competition, options: RunOptions) -> Competition:
    """Applies the options that change the recipe: --debug uses few folds."""
    recipe = competition.recipe
    return replace(competition, recipe=replace(recipe, folds=DEBUG_FOLDS)) if options.debug else competition


def select_folds(recipe: Recipe, options: RunOptions) -> tuple[int, ...]:
    """Selects the folds to train: all, unless some are named.

    Raises:
        StarshiftError: there is no such fold.
    """
    folds = options.folds or tuple(range(recipe.folds))
    unknown = sorted(set(folds) - set(range(recipe.folds)))
    require(not unknown, "There is no such fold.", expected=f"0 to {recipe.folds - 1}", received=unknown)
    return folds
