"""A specification goes into a file and comes back the same; what was tampered with is refused."""

import copy
import json

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.learnware.specification import fit_specification, pack_specification, unpack_specification
from tests.learnware.drawing import PROBE, features, specified, words

SPECIFICATION = specified("north", 0)


def test_what_was_packed_comes_back_the_same_through_json():
    record, arrays = pack_specification(SPECIFICATION)
    back = unpack_specification(json.loads(json.dumps(record)), arrays)
    assert (back.semantic, back.probe, back.gamma) == (SPECIFICATION.semantic, PROBE, SPECIFICATION.gamma)
    assert list(back.by_class) == ["left", "right"]
    for one, other in ((back.whole, SPECIFICATION.whole), (back.by_class["right"], SPECIFICATION.by_class["right"])):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.weights, other.weights)
        assert one.pictures == other.pictures
    np.testing.assert_array_equal(back.typical.distances, SPECIFICATION.typical.distances)
    assert back.typical.sizes == SPECIFICATION.typical.sizes


def changed(record, path, value):
    """The record with one value replaced, or, for Ellipsis, taken away."""
    record = copy.deepcopy(record)
    inner = record
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return record


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 3),
        (("gamma",), float("nan")),
        (("gamma",), "1.0"),
        (("gamma",), True),
        (("gamma",), 0),
        (("pictures",), -1),
        (("pictures",), 1.5),
        (("sizes",), [5, 2]),
        (("sizes",), [2]),
        (("sizes",), ["2"]),
        (("by_class",), []),
        (("by_class",), {"class": "left"}),
        (("by_class", 0, "class"), "middle"),
        (("by_class", 0, "class"), "right"),
        (("by_class", 0, "class"), ["left"]),
        (("by_class", 0, "points"), 10**9),
        (("by_class", 0, "points"), 0),
        (("by_class", 0, "more"), 1),
        (("semantic",), None),
        (("semantic", "name"), "../../etc"),
        (("semantic", "name"), "a\x1b[2J"),
        (("semantic", "task"), "two\nlines"),
        (("semantic", "task"), "x" * 3000),
        (("semantic", "classes"), []),
        (("semantic", "classes"), ["left", "left"]),
        (("semantic", "classes"), "left"),
        (("semantic", "score"), float("inf")),
        (("semantic", "size"), "64"),
        (("semantic", "licence"), ...),
        (("semantic", "__class__"), "str"),
        (("probe", "digest"), "none of 64 digits"),
        (("probe", "size"), None),
        (("probe",), ["petite"]),
        (("semantic",), ...),
        (("extra",), 1),
    ],
)
def test_a_foreign_record_is_refused(path, value):
    record, arrays = pack_specification(SPECIFICATION)
    with pytest.raises(StarshiftError, match="no learnware's record"):
        unpack_specification(changed(record, path, value), arrays)


ARRAYS = {
    "whole_points": [
        lambda a: a.astype(np.float64),
        lambda a: a[:, :-1],
        lambda a: a[0],
        lambda a: np.where(np.arange(len(a))[:, None] == 0, np.nan, a).astype(np.float32),
        lambda a: a.tolist(),
        lambda a: a[:0],
        lambda a: a.astype(object),
    ],
    "whole_weights": [
        lambda a: np.concatenate([a[:1] - 1, a[1:2] + 1, a[2:]]),
        lambda a: -a,
        lambda a: 2 * a,
        lambda a: a[:-1],
    ],
    "class_points": [lambda a: a[:-1]],
    "class_weights": [lambda a: a * 0, lambda a: a[::2]],
    "typical_distances": [lambda a: a[:, ::-1], lambda a: a[1:], lambda a: a[:, :0], lambda a: a + np.float32("inf")],
    "typical_single": [lambda a: a[::-1], lambda a: a[:0], lambda a: a[:, None]],
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, all_ in ARRAYS.items() for n in range(len(all_))])
def test_a_foreign_array_is_refused(name, number):
    record, arrays = pack_specification(SPECIFICATION)
    with pytest.raises(StarshiftError, match="no learnware's record"):
        unpack_specification(record, {**arrays, name: ARRAYS[name][number](arrays[name])})


def test_a_missing_or_an_additional_array_is_refused():
    record, arrays = pack_specification(SPECIFICATION)
    for others in ({**arrays, "more": arrays["whole_points"]}, dict(list(arrays.items())[1:]), None):
        with pytest.raises(StarshiftError, match="no learnware's record"):
            unpack_specification(record, others)


def test_a_class_without_pictures_has_no_embedding_and_a_small_one_has_its_mean():
    values, _ = features(0, 60, 0)
    labels = np.array([0] * 57 + [2] * 3)
    found = fit_specification(values, labels, ("a", "b", "c"), PROBE, 1.0, words("few", ("a", "b", "c")))
    assert list(found.by_class) == ["a", "c"]
    assert len(found.by_class["a"].points) == 5
    assert len(found.by_class["c"].points) == 1
    assert list(unpack_specification(*pack_specification(found)).by_class) == ["a", "c"]


def test_too_few_pictures_and_labels_of_others_are_refused():
    values, labels = features(0, 40, 0)
    with pytest.raises(StarshiftError, match="some"):
        fit_specification(values[:10], labels[:10], ("a", "b"), PROBE, 1.0, words("few"))
    with pytest.raises(StarshiftError, match="Labels"):
        fit_specification(values, labels[:-1], ("a", "b"), PROBE, 1.0, words("few"))
    with pytest.raises(StarshiftError, match="Labels"):
        fit_specification(values, labels + 1, ("a", "b"), PROBE, 1.0, words("few"))
