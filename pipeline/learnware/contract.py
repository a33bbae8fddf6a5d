"""What goes into a learnware's model and what comes out: its preprocessing contract, as contract.json has it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipeline.config import NAME, RUNGS, VIEW
from pipeline.dataset import images
from pipeline.learnware.guarded import refused
from pipeline.models import bases

FORMAT = 1
COLOUR, ANSWER = "RGB, 8 bits, 0 to 255; grey repeated, transparency on white, upright by EXIF", "softmax"
MOST_CLASSES, MOST_VIEWS, MOST_BASES = 10_000, 32, 16
WEIGHTS = re.compile(bases.PUBLISHED + "|own")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A network inside the model.

    Args:
        name: in the table of bases, or `scratch`.
        cut: the layer that it is used up to; None is the whole base.
        pooling: `avg`, `max` or `both`.
        weights: those that it was given: `imagenet`, `none`, `none:SEED`, or `own`: others, which only the model has.
        size: side of the pictures that it takes, in pixels.
    """

    name: str
    cut: str | None
    pooling: str
    weights: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Contract:
    """How pictures are made ready, and what the answers are.

    Args:
        name: of the learnware.
        sizes: of the model's inputs, in their order: sides of square pictures in pixels.
        views: that are predicted and averaged.
        classes: in the order of the outputs.
        rung: how it was trained; `frozen` and `features` leave the bases as they were.
        bases: the networks in it.
        resize: how pictures become square.
        colour: of the pixels; the model itself rescales them.
        answer: what the outputs are.
    """

    name: str
    sizes: tuple[int, ...]
    views: tuple[str, ...]
    classes: tuple[str, ...]
    rung: str
    bases: tuple[Part, ...]
    resize: str = images.RESIZE
    colour: str = COLOUR
    answer: str = ANSWER

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {"format": FORMAT, **asdict(self)}


def read(record: Any, what: str) -> Contract:
    """The contract that `Contract.record` gave.

    Args:
        record: JSON values.
        what: it is called in an error.

    Raises:
        StarshiftError: anything that this version cannot keep.
    """
    names = {"format", *(one.name for one in fields(Contract))}
    _hold(isinstance(record, Mapping) and set(record) == names, what, f"the entries {', '.join(sorted(names))}")
    _hold(record["format"] == FORMAT, what, f"format {FORMAT}")
    _hold(_texts(record["classes"], MOST_CLASSES) and len(record["classes"]) > 1, what, "distinct printable classes")
    _hold(_texts(record["views"], MOST_VIEWS) and all(map(VIEW.fullmatch, record["views"])), what, "known views")
    _hold(isinstance(record["name"], str) and NAME.fullmatch(record["name"]), what, f"a name {NAME.pattern}")
    _hold(isinstance(record["rung"], str) and record["rung"].isidentifier(), what, f"a rung ({', '.join(RUNGS)})")
    sizes, bases = record["sizes"], record["bases"]
    _hold(isinstance(sizes, list) and sizes and all(map(_is_size, sizes)), what, "sizes of 32 to 2048 pixels")
    _hold(isinstance(bases, list) and 0 < len(bases) <= MOST_BASES, what, "one base or more")
    parts = tuple(_part(one, what) for one in bases)
    _hold(sizes == sorted({part.size for part in parts}), what, "an input for every size of its bases")
    for field, own in (("resize", images.RESIZE), ("colour", COLOUR), ("answer", ANSWER)):
        _hold(record[field] == own, what, f"{field}: {own}")
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    del given["format"]
    return Contract(**(given | {"bases": parts}))


def _part(value: Any, what: str) -> Part:
    names = {one.name for one in fields(Part)}
    _hold(isinstance(value, Mapping) and set(value) == names, what, f"of each base {', '.join(sorted(names))}")
    texts = [value["name"], value["pooling"], value["weights"], value["cut"] or "whole"]
    _hold(all(isinstance(one, str) and one.isprintable() and len(one) < 200 for one in texts), what, "names of a base")
    _hold(WEIGHTS.fullmatch(value["weights"]) and value["pooling"] in ("avg", "max", "both"), what, "a known base")
    _hold(_is_size(value["size"]), what, "sizes of 32 to 2048 pixels")
    return Part(**value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 32 <= value <= 2048


def _texts(values: Any, most: int) -> bool:
    """Whether these are distinct texts that may be printed on a terminal."""
    known = isinstance(values, list) and 0 < len(values) <= most and all(isinstance(one, str) for one in values)
    return (
        known and all(one.isprintable() and 0 < len(one) <= 200 for one in values) and len(set(values)) == len(values)
    )


def _hold(condition: object, what: str, expected: str) -> None:
    if not condition:
        raise refused(what, f"its contract does not have {expected}")
