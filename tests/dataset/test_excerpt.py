"""Excerpts: balanced parts that share no picture, and a test part that does not say its classes."""

import numpy as np
import pandas as pd
import pytest

from pipeline.dataset import excerpt
from pipeline.errors import StarshiftError


def table(counts):
    rows = [
        (f"{label}/{k}.jpg", label, f"{label}{k:02}".ljust(64, "0")) for label, n in counts.items() for k in range(n)
    ]
    return pd.DataFrame(rows, columns=["path", "label", "sha256"])


def test_classes_are_as_equal_as_the_pictures_allow():
    few = excerpt.balanced(table({"a": 30, "b": 4}), 12, np.random.default_rng(0))
    assert dict(few["label"].value_counts()) == {"a": 8, "b": 4}
    even = excerpt.balanced(table({"a": 30, "b": 30}), 20, np.random.default_rng(0))
    assert set(even["label"].value_counts()) == {10}


def test_the_draw_depends_on_the_seed():
    whole = table({"a": 30, "b": 30})
    one, again, other = (excerpt.balanced(whole, 20, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert list(one.index) == list(again.index) != list(other.index)


def test_too_few_pictures_shrink_the_held_parts_and_never_the_training():
    assert excerpt.fitting((2000, 1000, 1000), 25_000) == (2000, 1000, 1000)
    assert excerpt.fitting((2000, 1000, 1000), 3000) == (2000, 500, 500)
    with pytest.raises(StarshiftError, match="too few labelled"):
        excerpt.fitting((2000, 1000, 1000), 2100)


def test_links_do_not_say_the_class_in_the_test_part_and_are_made_once(tmp_path):
    whole = table({"a": 3, "b": 3})
    for path in whole["path"]:
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(path.encode())
    excerpt.link(whole, tmp_path / "raw", tmp_path / "test", flat=True)
    names = sorted(path.name for path in (tmp_path / "test").iterdir())
    assert len(names) == 6 and all(len(name) == 20 for name in names)
    before = (tmp_path / "test" / names[0]).lstat().st_mtime_ns
    excerpt.link(whole, tmp_path / "raw", tmp_path / "test", flat=True)
    assert (tmp_path / "test" / names[0]).lstat().st_mtime_ns == before
    excerpt.link(whole.iloc[:4], tmp_path / "raw", tmp_path / "test")
    assert sorted(p.name for p in (tmp_path / "test").iterdir()) == ["a", "b"]
