"""Checks the fields of a dataclass against their types, and describes them in words. Standard library only."""

import math
import numbers
import types
import typing
from pathlib import PurePath
from typing import Any

from pipeline.errors import StarshiftError

WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", type(None): "none"}


def list_types(owner: Any) -> dict[str, tuple[Any, ...]]:
    """Lists the types that each field of a dataclass allows: of `int | None` both."""
    hints = typing.get_type_hints(owner).items()
    return {name: typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,) for name, kind in hints}


def describe_field(owner: Any, name: str) -> str:
    """Describes what a field allows: its types and its bounds."""
    low, high = owner.__dataclass_fields__[name].metadata.get("bounds", (None, None))
    first, *others = map(_describe_type, list_types(owner)[name])
    return " or ".join([first if low is None else f"{first} from {low} to {high}", *others])


def _describe_type(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"{WORDS[typing.get_args(kind)[0]].removeprefix('a ')}s with commas between them"
    return WORDS.get(kind) or f"{kind.__name__}(...)"


def check_fields(owner: Any) -> None:
    """Checks every field of a frozen dataclass; takes a number or path for a text as text, and a list as a tuple.

    Raises:
        StarshiftError: a value is not of its field's type, or a number is not finite.
    """
    for name, kinds in list_types(type(owner)).items():
        value = getattr(owner, name)
        if value is None and type(None) in kinds:
            continue
        fitting = next((one for kind in kinds if (one := _fit(value, kind)) is not None), None)
        if fitting is None:
            forgotten = isinstance(value, str) and any(typing.get_origin(kind) is tuple for kind in kinds)
            raise StarshiftError(
                f"Unusable {type(owner).__name__}({name}=...).",
                expected=f'{name}=("{value}",), with the comma' if forgotten else describe_field(type(owner), name),
                received=f"{value!r:.100}",
            )
        object.__setattr__(owner, name, fitting)


def _fit(value: Any, kind: Any) -> Any:
    """Returns a value as a type takes it; None where it does not."""
    if typing.get_origin(kind) is tuple:
        items = [_fit(item, typing.get_args(kind)[0]) for item in value] if isinstance(value, list | tuple) else [None]
        return None if None in items else tuple(items)
    if kind is str and isinstance(value, numbers.Real | PurePath):
        return str(value)
    if kind not in (int, float):
        return value if isinstance(value, kind) else None
    if isinstance(value, numbers.Real) and hasattr(value, "item"):  # NumPy's, which JSON does not know
        value = value.item()
    usable = isinstance(value, int if kind is int else numbers.Real) and not isinstance(value, bool)
    return value if usable and math.isfinite(value) else None
