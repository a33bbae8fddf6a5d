"""A specification as JSON values and plain arrays, and back. What comes back is checked to the last number.

A store's archives may come from anywhere, so nothing in them is believed: types, lengths, shapes, finiteness, simplex.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from pipeline.config import NAME
from pipeline.errors import StarshiftError
from pipeline.learnware.terms import Embedding, Probe, Semantic, Specification, Typical

FORMAT = 1
MOST_TEXT, MOST_CLASSES, MOST_POINTS, MOST_WIDTH, MOST_DRAWS = 2000, 10_000, 100_000, 100_000, 10_000
SUM_TOLERANCE = 1e-3
DIGEST = re.compile(r"[0-9a-f]{64}|random:\d{1,10}")
Record = TypeVar("Record", Semantic, Probe)
ARRAYS = ("whole_points", "whole_weights", "class_points", "class_weights", "typical_distances", "typical_single")


def packed(specification: Specification) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The specification as (JSON values, arrays by name); `unpacked` reads both."""
    classes = specification.by_class.values()
    record = {
        "format": FORMAT,
        "semantic": {**asdict(specification.semantic), "classes": list(specification.semantic.classes)},
        "probe": asdict(specification.probe),
        "gamma": specification.gamma,
        "pictures": specification.whole.pictures,
        "by_class": [
            {"class": name, "points": len(one.points), "pictures": one.pictures}
            for name, one in specification.by_class.items()
        ],
        "sizes": list(specification.typical.sizes),
    }
    width = specification.whole.points.shape[1]
    arrays = {
        "whole_points": specification.whole.points,
        "whole_weights": specification.whole.weights,
        "class_points": np.concatenate([np.empty((0, width), np.float32), *(one.points for one in classes)]),
        "class_weights": np.concatenate([np.empty(0, np.float32), *(one.weights for one in classes)]),
        "typical_distances": specification.typical.distances,
        "typical_single": specification.typical.single,
    }
    return record, arrays


def unpacked(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Specification:
    """The specification that `packed` gave.

    Raises:
        StarshiftError: anything is missing, of another type or shape, out of bounds, not finite, or off the simplex.
    """
    keys = {"format", "semantic", "probe", "gamma", "pictures", "by_class", "sizes"}
    _hold(isinstance(record, Mapping) and set(record) == keys, f"the entries {', '.join(sorted(keys))}", record)
    _hold(record["format"] == FORMAT, f"format {FORMAT}", record["format"])
    _hold(isinstance(arrays, Mapping) and set(arrays) == set(ARRAYS), f"the arrays {', '.join(ARRAYS)}", type(arrays))
    semantic = _record_of(Semantic, record["semantic"])
    _hold(NAME.fullmatch(semantic.name), f"a name {NAME.pattern}", semantic.name)
    _hold(0 < len(semantic.classes) <= MOST_CLASSES, f"1 to {MOST_CLASSES} classes", len(semantic.classes))
    _hold(len(set(semantic.classes)) == len(semantic.classes), "distinct classes", semantic.classes)
    probe = _record_of(Probe, record["probe"])
    _hold(DIGEST.fullmatch(probe.digest), "a probe's digest", probe.digest)
    gamma = record["gamma"]
    _hold(_is(float, gamma) and 0 < gamma < 1e9, "gamma above 0", gamma)
    points = _array(arrays, "whole_points", (None, None), MOST_POINTS)
    width = points.shape[1]
    _hold(1 <= width <= MOST_WIDTH, f"points of width 1 to {MOST_WIDTH}", width)
    whole = _embedding(points, _array(arrays, "whole_weights", (len(points),), MOST_POINTS), record["pictures"])
    return Specification(
        semantic=semantic,
        probe=probe,
        gamma=float(gamma),
        whole=whole,
        by_class=_classes(record["by_class"], arrays, semantic.classes, width),
        typical=_typical(record["sizes"], arrays),
    )


def _classes(
    listed: Any, arrays: Mapping[str, np.ndarray], classes: tuple[str, ...], width: int
) -> dict[str, Embedding]:
    """The embeddings of the classes, cut out of the two arrays that hold all of them."""
    _hold(isinstance(listed, list) and 0 < len(listed) <= len(classes), "a list of classes", listed)
    for one in listed:
        _hold(isinstance(one, Mapping) and set(one) == {"class", "points", "pictures"}, "class, points, pictures", one)
        _hold(isinstance(one["class"], str) and one["class"] in classes, "a class of this learnware", one["class"])
        _hold(_is(int, one["points"]) and 1 <= one["points"] <= MOST_POINTS, "a number of points", one["points"])
    _hold(len({one["class"] for one in listed}) == len(listed), "each class once", [one["class"] for one in listed])
    edges = np.cumsum([0, *(one["points"] for one in listed)])
    points = _array(arrays, "class_points", (int(edges[-1]), width), MOST_POINTS)
    weights = _array(arrays, "class_weights", (int(edges[-1]),), MOST_POINTS)
    return {
        one["class"]: _embedding(points[start:end], weights[start:end], one["pictures"])
        for one, start, end in zip(listed, edges, edges[1:], strict=False)
    }


def _embedding(points: np.ndarray, weights: np.ndarray, pictures: Any) -> Embedding:
    _hold(len(points) > 0, "at least one point", len(points))
    _hold(_is(int, pictures) and 0 < pictures < 10**9, "a number of pictures", pictures)
    on_simplex = (weights >= 0).all() and abs(float(weights.sum(dtype=np.float64)) - 1) <= SUM_TOLERANCE
    _hold(on_simplex, "weights that are not negative and whose sum is 1", weights[:5])
    return Embedding(points=points, weights=weights, pictures=pictures)


def _typical(sizes: Any, arrays: Mapping[str, np.ndarray]) -> Typical:
    known = isinstance(sizes, list) and 0 < len(sizes) <= 100 and all(_is(int, one) and one > 1 for one in sizes)
    _hold(known and sizes == sorted(set(sizes)), "sizes of sets, ascending", sizes)
    distances = _array(arrays, "typical_distances", (len(sizes), None), MOST_DRAWS)
    single = _array(arrays, "typical_single", (None,), MOST_DRAWS)
    _hold(distances.shape[1] > 0 and len(single) > 0, "distances", (distances.shape, single.shape))
    ascending = (np.diff(distances, axis=1) >= 0).all() and (np.diff(single) >= 0).all()
    _hold(ascending, "distances in ascending order", "others")
    return Typical(sizes=tuple(sizes), distances=distances, single=single)


def _array(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...], most: int) -> np.ndarray:
    """A float32 array of this shape (None: any length up to `most`), every value finite."""
    value = arrays[name]
    _hold(isinstance(value, np.ndarray) and value.dtype == np.float32, f"{name} in float32", type(value))
    fits = value.ndim == len(shape) and all(
        have <= most if want is None else have == want for have, want in zip(value.shape, shape, strict=True)
    )
    _hold(fits, f"{name} of shape {shape}", value.shape)
    _hold(np.isfinite(value).all(), f"{name} with finite values", "others")
    return value


def _record_of(kind: type[Record], values: Any) -> Record:
    """A dataclass of plain values, each of its field's type."""
    types = get_type_hints(kind)
    names = [one.name for one in fields(kind)]
    _hold(isinstance(values, Mapping) and set(values) == set(names), f"the entries {', '.join(names)}", values)
    for name in names:
        _hold(_is(types[name], values[name]), f"{name}: {types[name]}", values[name])
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return kind(**plain)


def _is(kind: Any, value: Any) -> bool:
    """Whether a JSON value is of a field's type: text that can be printed, numbers that are finite and not negative."""
    if isinstance(kind, UnionType):
        return any(_is(one, value) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, list) and len(value) <= MOST_CLASSES and all(_is(str, one) for one in value)
    if kind is str:
        return isinstance(value, str) and len(value) <= MOST_TEXT and value.isprintable()
    if kind is type(None):
        return value is None
    allowed = (int,) if kind is int else (int, float)
    return isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _hold(condition: object, expected: str, received: object) -> None:
    if not condition:
        raise StarshiftError(
            "This is no learnware's specification, or a damaged one.",
            expected=expected,
            received=repr(received)[:200],
            remedy="nothing of it was used; get the learnware again from where it came from",
        )
