"""What the tasks share: words for their flags, flags into values, and errors that are shown without a traceback."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.logs import import_quietly

COMP_HELP = "name of a competition, or the path of a competition file"
BASE_HELP = "a base, name[@cut][+max|both|second][=weights], or store:[FOLDER/]LEARNWARE[@cut]; may be repeated"
OWN_SIZE = -1
SIZE_HELP = "side of the pictures in pixels, or own: each base's own"
FLAG_HELP = {
    "comp": COMP_HELP,
    "base": BASE_HELP,
    "fold": "this fold only; may be repeated",
    "unfreeze": "finetune from this block or layer, this share of layers such as 0.3, or all",
    "epochs": "at most so many",
    "patience": "epochs without a better score before training stops",
    "rate": "the highest learning rate",
    "cached-views": "cached augmented views that frozen and finetune draw from",
    "size": "side of the pictures in pixels",
    "rung": "scratch, augmented, features, frozen or finetune",
    "head": "linear, gaussian or dense",
    "seed": "of training and augmentation",
    "engine": "auto, keras, openvino or openvino-bf16",
    "bundle": "an archive that was downloaded by hand",
}


def build_help(*flags: str, **own: str) -> dict[str, str]:
    """A task's help: those flags in the shared words, and `own` ones in the task's (`find_lr` is --find-lr)."""
    return {flag: FLAG_HELP[flag] for flag in flags} | {name.replace("_", "-"): text for name, text in own.items()}


@contextlib.contextmanager
def handle_errors() -> Iterator[None]:
    """Sets up the words on the terminal; a user's error is printed without a traceback and exits with 1."""
    import logging
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import_quietly("tensorflow")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for loud in ("openvino", "tensorflow", "absl", "h5py"):
        logging.getLogger(loud).setLevel(logging.ERROR)
    from pipeline.errors import StarshiftError

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tasks.py has put another one in its place
        yield
    except StarshiftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `invoke comps | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # whoever presses twice does not wait for threads to end
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def load_competition(comp: str | None, **changes: Any) -> Any:
    """The competition, its recipe changed by those flags that were given."""
    from dataclasses import fields, replace

    import competitions

    found = competitions.find(comp)
    given = {name: value for name, value in changes.items() if value not in (None, (), [])}
    if given.get("size") == OWN_SIZE or (
        "size" not in given and _has_other_bases(found.recipe, given.get("bases", ()))
    ):
        given["size"] = None
    taught = {one.name: given.pop(one.name) for one in fields(found.recipe.training) if one.name in given}
    recipe = replace(found.recipe, training=replace(found.recipe.training, **taught), **given)
    if any(base.startswith("store:") for base in recipe.bases):
        from pipeline.learnware import as_base

        recipe = replace(recipe, bases=as_base.resolve_bases(recipe.bases))
    return replace(found, recipe=recipe)


def _has_other_bases(recipe: Any, bases: tuple[str, ...]) -> bool:
    """Whether some of these bases are not the recipe's, so that its size is not theirs; says what they take instead."""
    import logging
    import re

    names = {re.split("[@+=]", text)[0] for text in recipe.bases}
    others = [text for text in bases if re.split("[@+=]", text)[0] not in names]
    if others and recipe.size is not None:
        logging.getLogger(__name__).info(
            "size      each base takes its own: the recipe's %d px are for %s; --size %d takes them all the same",
            *(recipe.size, ", ".join(recipe.bases), recipe.size),
        )
    return bool(others)


def check_flags(recipe: Any, **flags: Any) -> None:
    """Holds flags that were given against what the rung and the head use.

    Raises:
        StarshiftError: one of them would do nothing.
    """
    from pipeline.errors import StarshiftError

    trained = (recipe.rung != "features", "--rung with one that trains a network")
    uses = {
        "strength": (recipe.rung == "features" and recipe.head == "linear", "--rung features --head linear"),
        "unfreeze": (recipe.rung == "finetune", "--rung finetune"),
        "sizes": (recipe.rung == "finetune", "--rung finetune"),
        "head": (recipe.rung in ("features", "finetune"), "--rung features or finetune"),
        "train_view": (recipe.rung in ("features", "finetune"), "--rung features or finetune"),
    }
    for name, value in flags.items():
        used, wanted = uses.get(name, trained)
        if value and not used:
            raise StarshiftError(
                f"--{name.replace('_', '-')} would do nothing here.",
                expected=wanted,
                received=f"--rung {recipe.rung} --head {recipe.head}",
            )


def parse_training_flags(
    *, epochs: str | None, patience: str | None, rate: str | None, cached_views: str | None, unfreeze: str | None
) -> dict[str, Any]:
    """The flags of training as `load_competition` takes them."""
    return {
        "epochs": parse_int(epochs, "--epochs"),
        "patience": parse_int(patience, "--patience"),
        "rate": parse_float(rate, "--rate"),
        "cached_views": parse_int(cached_views, "--cached-views"),
        "unfreeze": unfreeze,
    }


def parse_int(text: Any, flag: str, example: str = "0") -> int | None:
    """The whole number that a flag was given, such as the example, or None."""
    from pipeline.errors import StarshiftError

    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise StarshiftError(f"{flag} is a whole number.", expected=f"e.g. {example}", received=repr(text)) from error


def parse_sizes(text: str | None, flag: str) -> tuple[int, ...]:
    """The sizes in pixels that a flag was given, such as `128,160`; empty where it was not."""
    return tuple(value for part in text.split(",") if (value := parse_int(part, flag)) is not None) if text else ()


def parse_float(text: str | None, flag: str) -> float | None:
    """The number that a flag was given, or None."""
    from pipeline.errors import StarshiftError

    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise StarshiftError(f"{flag} is a number.", expected="e.g. 0.5", received=repr(text)) from error


def parse_size(text: str | None) -> int | None:
    """The size in pixels that --size was given, OWN for `own` (each base's own), or None."""
    return OWN_SIZE if text == "own" else parse_int(text, "--size", "160, or own: each base's")


def parse_folds(fold: Any) -> tuple[int, ...]:
    """The folds that --fold named, each once; empty means every fold."""
    return tuple(sorted({value for text in fold or () if (value := parse_int(text, "--fold")) is not None}))


def parse_path(text: str | None) -> Path | None:
    """The path that a flag was given (`~` is the home folder), or None."""
    return Path(text).expanduser() if text else None
