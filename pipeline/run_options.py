"""How a competition is called on this command line: by its name, or by the file that it was given as.

What a message tells to type next has to work as it stands.

What the command line asks for beside the recipe, and what it means for a run.
"""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import Competition, Recipe, Training
from pipeline.errors import require

_COMPETITION_FILES: dict[str, str] = {}


def register_competition_file(name: str, file: str) -> None:
    """Remembers that the competition of this name lies in a file outside the repository."""
    _COMPETITION_FILES[name] = shlex.quote(file)


def find_comp_argument(name: str) -> str:
    """What --comp takes for the competition of this name."""
    return _COMPETITION_FILES.get(name, name)


DEBUG_FOLDS = 2


@dataclass(frozen=True, kw_only=True)
class RunOptions:
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


def apply_options(competition: Competition, options: RunOptions) -> Competition:
    """The competition as a run is made of it: with --debug, of few folds."""
    recipe = competition.recipe
    return replace(competition, recipe=replace(recipe, folds=DEBUG_FOLDS)) if options.debug else competition


def select_folds(recipe: Recipe, options: RunOptions) -> tuple[int, ...]:
    """The folds to train: all of them, where none is named.

    Raises:
        StarshiftError: there is no such fold.
    """
    folds = options.folds or tuple(range(recipe.folds))
    wrong = sorted(set(folds) - set(range(recipe.folds)))
    require(not wrong, "There is no such fold.", expected=f"0 to {recipe.folds - 1}", received=wrong)
    return folds
