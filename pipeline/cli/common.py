"""What the tasks share: their decorator, each flag's help, flags into values, and errors without a traceback."""

import contextlib
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from invoke import Context, task

from pipeline import logs
from pipeline.config import HEADS, STRATEGIES
from pipeline.terminal import name_program

OWN_SIZE = -1
"""Stands for `--size own`: each base's own size."""
FLAG_HELP = {
    "comp": "name of a competition, a folder of class folders, or the path of a competition file",
    "base": "a base, name[:size][@cut][+max|both|second][=weights], hub:PRESET[:size][@cut][+cls|cls+avg] (or "
    "hub:FOLDER...), or store:[FOLDER/]LEARNWARE[@cut]; may be repeated",
    "fold": "this fold only; may be repeated",
    "unfreeze": "finetune from this block or layer, this share of layers such as 0.3, or all",
    "set_": "any field, such as folds=3 or training.learning_rate=3e-5 (invoke show lists them); may be repeated",
    "epochs": "at most so many",
    "size": "side of the pictures in pixels, or own: each base's own; a base named as NAME:SIZE keeps that",
    "recipe": "another recipe of the competition's file, such as gpu",
    "strategy": " | ".join(STRATEGIES),
    "head": " | ".join(HEADS),
    "seed": "of training and augmentation",
    "engine": "auto, keras, openvino or openvino-bf16",
    "name": "a name for the run, by which --run finds it: letters, digits, - and _",
    "note": "a remark on the run, which invoke runs and its report show",
    "bundle": "an archive that was downloaded by hand, or the folder that it was unpacked to",
    "scenes": "let pictures of one scene (invoke audit finds them) agree on a class; takes some minutes",
    "store": "the store's folder; data/store where not given",
    "json": "print one JSON document in place of the table (docs/json.md); logs go to standard error",
}
"""Each shared flag's help; a task passes its own text where a flag means something else there."""


def command(
    *, task_name: str | None = None, positional: Sequence[str] = (), json: bool = False, **own_help: str
) -> Callable[..., Any]:
    """Makes a task of a function.

    Flags annotated `tuple[str, ...]` may be repeated. Errors are printed without a traceback.

    Args:
        task_name: the function's where it is None.
        positional: arguments without a flag.
        json: add the flag --json; the function prints by `print_results`.
        own_help: help of flags that FLAG_HELP does not have, or in place of its text.
    """

    def decorate(body: Callable[..., None]) -> Any:
        signature = inspect.signature(body)
        flags = [*signature.parameters.values()]
        if json:
            flags.append(inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False))
        repeated = {flag.name for flag in flags if flag.annotation == tuple[str, ...]}

        @functools.wraps(body)
        def run(context: Context, **values: Any) -> None:
            as_json = json and values.pop("json", False)
            with handle_errors(), _collect_json() if as_json else contextlib.nullcontext():
                body(
                    context, **{key: tuple(value or ()) if key in repeated else value for key, value in values.items()}
                )

        # invoke takes a default that is no list for one value, and a flag without a default for a positional one
        defaults = [flag.replace(default=None) if flag.name in repeated else flag for flag in flags]
        run.__signature__ = signature.replace(parameters=defaults)  # type: ignore[attr-defined]
        texts = FLAG_HELP | own_help
        return task(
            name=task_name,
            positional=list(positional),
            auto_shortflags=False,
            iterable=sorted(repeated),
            help={flag.name: name_program(texts[flag.name]) for flag in flags if flag.name in texts},
        )(run)

    return decorate


def _collect_json() -> contextlib.AbstractContextManager[None]:
    """Imports NumPy, which is too heavy for `invoke --list`."""
    from pipeline.output import collect_json

    return collect_json()


@contextlib.contextmanager
def handle_errors() -> Iterator[None]:
    """Sets up logging; prints a user's error without a traceback and exits with 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    logs.import_quietly("tensorflow")
    logs.set_up()
    from pipeline.errors import StarshiftError
    from pipeline.terminal import paint

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tasks.py has put another one in its place
        yield
    except StarshiftError as error:
        print(f"{paint('error:', 'red', sys.stderr)} {name_program(str(error))}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `invoke comps | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        if not _was_interrupted(error):
            raise
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # a second Ctrl-C does not wait for threads to end
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _was_interrupted(error: BaseException | None) -> bool:
    """Returns whether the error is Ctrl-C, or a library raised it while it cleaned up after Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def load_competition(
    comp: str | None, other_recipe: str | None = None, settings: tuple[str, ...] = (), **flags: Any
) -> Any:
    """Returns the competition, its recipe changed by --set and by those flags that have a value.

    Args:
        comp: see competitions.find.
        other_recipe: another one of its file.
        settings: of --set.
        flags: values of fields of Recipe and Training, by name.
    """
    from dataclasses import fields, replace

    import competitions
    from pipeline.errors import require
    from pipeline.settings import apply_settings, parse_settings

    competition = competitions.find(comp, other_recipe)
    changes = {name: value for name, value in flags.items() if value not in (None, (), [])}
    values = parse_settings(settings)
    twice = [name for name in values if name.rpartition(".")[2] in changes]
    require(not twice, "A field is set twice.", expected="a flag, or --set", received=f"both for {', '.join(twice)}")
    # Other bases take their own size, however they are named.
    changes |= {name: values.pop(name) for name in ("bases", "size") if name in values}
    if "size" in changes and changes["size"] is None:
        changes["size"] = OWN_SIZE
    competition = apply_settings(competition, values)
    other_bases = "size" not in changes and _has_other_bases(competition.recipe, changes.get("bases", ()))
    if changes.get("size") == OWN_SIZE or other_bases:
        changes["size"] = None
    elif "size" in changes and "bases" not in changes:
        from pipeline.models.base import drop_size

        changes["bases"] = tuple(dict.fromkeys(map(drop_size, competition.recipe.bases)))
    training = competition.recipe.training
    training_changes = {field.name: changes.pop(field.name) for field in fields(training) if field.name in changes}
    recipe = replace(competition.recipe, training=replace(training, **training_changes), **changes)
    if any(base.startswith("store:") for base in recipe.bases):
        from pipeline.learnware import as_base

        recipe = replace(recipe, bases=as_base.resolve_bases(recipe.bases))
    return replace(competition, recipe=recipe)


def _has_other_bases(recipe: Any, bases: tuple[str, ...]) -> bool:
    """Returns whether some bases are not the recipe's, so that its size is not theirs; logs what they take instead."""
    import logging

    from pipeline.models.base import split_base

    names = {split_base(text).name for text in recipe.bases}
    others = [text for text in bases if split_base(text).name not in names]
    if others and recipe.size is not None:
        logging.getLogger(__name__).info(
            "size      each base takes its own: the recipe's %d px are for %s; --size %d takes them all the same",
            *(recipe.size, ", ".join(recipe.bases), recipe.size),
        )
    return bool(others)


def check_flags(recipe: Any, settings: tuple[str, ...], **flags: Any) -> None:
    """Checks that the strategy and the head use what is set.

    Args:
        recipe: the resolved one.
        settings: of --set.
        flags: by name; those without a value are not looked at.

    Raises:
        StarshiftError: one of them would do nothing.
    """
    from pipeline.errors import require
    from pipeline.settings import parse_settings

    trained = (recipe.strategy != "features", "--strategy with one that trains a network")
    finetuned = (recipe.strategy == "finetune", "--strategy finetune")
    headed = (recipe.strategy in ("features", "finetune"), "--strategy features or finetune")
    linear = (recipe.strategy == "features" and recipe.head == "linear", "--strategy features --head linear")
    used = (True, "")
    uses = {"l2": linear, "head": headed, "train_views": headed, "augmented_views": headed, "epochs": trained,
            "training.unfreeze": finetuned, "training.sizes": finetuned, "unfreeze": finetuned}  # fmt: skip
    names = {name: f"--{name.replace('_', '-')}" for name, value in flags.items() if value}
    names |= {name: f"--set {name}" for name in parse_settings(settings)}
    for name, shown in names.items():
        is_used, expected = uses.get(name, trained if name.startswith("training.") else used)
        require(
            is_used,
            f"{shown} would do nothing here.",
            expected=expected,
            received=f"--strategy {recipe.strategy} --head {recipe.head}",
        )


def parse_number(text: Any, flag: str, kind: type[Any] = int, expected: str = "", *, least: float | None = None) -> Any:
    """Returns a flag's value as a number, None where it has none.

    Args:
        text: its value on the command line.
        flag: its name, for the error.
        kind: int or float.
        expected: shown in the error.
        least: the smallest one.

    Raises:
        StarshiftError: it is no number, or less.
    """
    from pipeline.errors import StarshiftError

    name, usual = ("a whole number", "e.g. 1") if kind is int else ("a number", "e.g. 0.5")
    try:
        number = None if text is None else kind(text)
        if number is None or least is None or number >= least:
            return number
    except ValueError:
        pass
    usual = usual if least is None else f"{least} or more"
    raise StarshiftError(f"{flag} is {name}.", expected=expected or usual, received=repr(text))


def parse_numbers(kind: type[Any], **texts: str | None) -> dict[str, Any]:
    """Returns the numbers of those flags that have a value, by the flag's name."""
    from pipeline.config import Training
    from pipeline.fields import describe_field

    ranges = {name: describe_field(Training, name) for name in texts if name in Training.__dataclass_fields__}
    flags = {
        name: parse_number(text, f"--{name.replace('_', '-')}", kind, ranges.get(name, ""))
        for name, text in texts.items()
    }
    return {name: value for name, value in flags.items() if value is not None}


def parse_sizes(text: str | None, flag: str) -> tuple[int, ...]:
    """Returns whole numbers such as `128,160`; none where the flag has no value."""
    return tuple(parse_number(part, flag) for part in text.split(",")) if text else ()


def parse_size(text: str | None) -> int | None:
    """Returns the size in pixels of --size, OWN_SIZE for `own`, None where it has no value."""
    return OWN_SIZE if text == "own" else parse_number(text, "--size", expected="e.g. 160, or own: each base's")


def parse_folds(fold: Any) -> tuple[int, ...]:
    """Returns the folds of --fold, each once; none mean all."""
    return tuple(sorted({parse_number(text, "--fold") for text in fold or ()}))


def parse_path(text: str | None) -> Path | None:
    """Returns a flag's value as a path (`~` is the home folder), None where it has none."""
    return Path(text).expanduser() if text else None


def parse_page(text: str | None) -> Path | None:
    """Returns the path of --page, which may be there already, None where it has no value.

    Raises:
        StarshiftError: nothing can be written there.
    """
    from pipeline.runs.predictor import check_output

    if path := parse_path(text):
        check_output(path, force=True)
    return path


def log_written(path: Path) -> None:
    """Logs that a file was written."""
    import logging

    from pipeline.paths import format_path

    logging.getLogger(__name__).info("wrote %s", format_path(path))
