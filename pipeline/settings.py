"""Sets fields of a competition by text, as `--set` does: `folds=3`, `training.learning_rate=3e-5`, `metric=auc`."""

import functools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.config import Competition, Labels, Recipe, Submission, Training
from pipeline.errors import StarshiftError, require, suggest_name
from pipeline.fields import describe_field, list_types

PARTS: dict[str, type[Any]] = {"training": Training, "labels": Labels, "submission": Submission}
"""Classes whose fields are written `part.field`; those of Recipe and Competition are written plainly."""
BOOLEANS = {"true": True, "false": False}


@functools.cache
def list_fields() -> dict[str, tuple[type[Any], str]]:
    """Lists every field that can be set, with its class and its name there."""
    plain = {name: (owner, name) for owner in (Competition, Recipe) for name in list_types(owner)}
    inner = {f"{part}.{name}": (owner, name) for part, owner in PARTS.items() for name in list_types(owner)}
    return {name: place for name, place in plain.items() if name not in (*PARTS, "recipe")} | inner


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parses `field=value` texts to values by field. Parts of tuples are divided by commas.

    Raises:
        StarshiftError: there is no such field, a field is named twice, or the value is not of its type.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        require(separator, "A setting is a field and its value.", expected="--set field=value, such as --set folds=3",
                received=text)  # fmt: skip
        _require_field(name)
        require(name not in values, f"{name} is set twice.", expected="one value", received=list(texts))
        values[name] = _parse_value(name, value)
    return values


def _require_field(name: str) -> None:
    fields = list_fields()
    if name not in fields:
        ends = [field for field in fields if field.endswith(f".{name}")]
        suggestion = f"did you mean {ends[0]}?" if ends else suggest_name(name, fields)
        raise StarshiftError(
            f"There is no field {name!r} to set.",
            expected=" | ".join(fields),
            received=f"--set {name}=...",
            remedy=suggestion or "invoke show --comp NAME prints every field with its value",
        )


def _parse_value(name: str, text: str) -> Any:
    """Parses the value of a field by its type."""
    owner, field = list_fields()[name]
    options = list_types(owner)[field]
    if type(None) in options and text.lower() == "none":
        return None
    (main,) = (option for option in options if option is not type(None))
    try:
        if typing.get_origin(main) is tuple:
            item = typing.get_args(main)[0]
            return tuple(item(part.strip()) for part in text.split(",") if part.strip())
        return BOOLEANS[text.lower()] if main is bool else main(text)
    except (KeyError, ValueError) as error:
        raise StarshiftError(
            f"The value of {name} cannot be read.",
            expected=describe_field(owner, field),
            received=f"--set {name}={text}",
            remedy=suggest_name(text, BOOLEANS) if main is bool else "",
        ) from error


def apply_settings(competition: Competition, values: Mapping[str, Any]) -> Competition:
    """Returns the competition with fields changed.

    Args:
        competition: unchanged.
        values: from `parse_settings`.

    Raises:
        StarshiftError: a class refuses a value.
    """
    changes: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        part, _, field = name.rpartition(".")
        owner = part or ("recipe" if name in Recipe.__dataclass_fields__ else "")
        changes.setdefault(owner, {})[field] = value
    recipe = replace(competition.recipe, **changes.get("recipe", {}))
    recipe = replace(recipe, training=replace(recipe.training, **changes.get("training", {})))
    labels = replace(competition.labels, **changes.get("labels", {}))
    submission = competition.submission
    if "submission" in changes:
        submission = replace(submission or Submission(), **changes["submission"])
    return replace(competition, recipe=recipe, labels=labels, submission=submission, **changes.get("", {}))


def format_setting(name: str, value: Any) -> str:
    """Formats a field and its value as `parse_settings` takes them."""
    if isinstance(value, (list, tuple)):
        return f"{name}={','.join(map(str, value))}"
    return f"{name}={str(value).lower() if value is None or isinstance(value, bool) else value}"
