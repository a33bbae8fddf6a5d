"""What the command line asks for beside the recipe, and what it means for a run."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import Competition, Recipe
from pipeline.errors import require
from pipeline.regime import Training

DEBUG_FOLDS = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for beside the recipe.

    Args:
        bundle: an archive downloaded by hand.
        debug: a few pictures only.
        folds: train these only; empty trains all.
        force: fetch and compute again.
        resplit: make new folds.
        engine: `auto` or the name of an engine.
        board: write TensorBoard's files.
        practice: leave the submissions' folder alone.
        recompute: compute features again, though they are in the cache.
        keep: of a `finetune` that follows: of pictures that go through the first base, the activations that it will
            want are kept, too.
    """

    bundle: Path | None = None
    debug: bool = False
    folds: tuple[int, ...] = ()
    force: bool = False
    resplit: bool = False
    engine: str = "auto"
    board: bool = False
    practice: bool = False
    recompute: bool = False
    keep: Training | None = None


def as_made(competition: Competition, options: Options) -> Competition:
    """The competition as a run is made of it: with --debug, of few folds."""
    recipe = competition.recipe
    return replace(competition, recipe=replace(recipe, folds=DEBUG_FOLDS)) if options.debug else competition


def folds_asked(recipe: Recipe, options: Options) -> tuple[int, ...]:
    """The folds to train: all of them, where none is named.

    Raises:
        StarshiftError: there is no such fold.
    """
    folds = options.folds or tuple(range(recipe.folds))
    wrong = sorted(set(folds) - set(range(recipe.folds)))
    require(not wrong, "There is no such fold.", expected=f"0 to {recipe.folds - 1}", received=wrong)
    return folds
