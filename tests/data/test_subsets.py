"""Excerpts: balanced parts that share no picture, and a test part that does not say its classes."""

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Competition, Recipe
from pipeline.data import subsets
from pipeline.data.labels import build_picture_table
from pipeline.data.picture_files import natural_sort_key
from pipeline.data.subsets import select_debug_subset
from pipeline.errors import StarshiftError
from tests.conftest import drawn, encoded


def table(counts):
    rows = [
        (f"{label}/{k}.jpg", label, f"{label}{k:02}".ljust(64, "0")) for label, n in counts.items() for k in range(n)
    ]
    return pd.DataFrame(rows, columns=["path", "label", "sha256"])


def test_classes_are_as_equal_as_the_pictures_allow():
    few = subsets.select_balanced(table({"a": 30, "b": 4}), 12, np.random.default_rng(0))
    assert dict(few["label"].value_counts()) == {"a": 8, "b": 4}
    even = subsets.select_balanced(table({"a": 30, "b": 30}), 20, np.random.default_rng(0))
    assert set(even["label"].value_counts()) == {10}


def test_the_draw_depends_on_the_seed():
    whole = table({"a": 30, "b": 30})
    one, again, other = (subsets.select_balanced(whole, 20, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert list(one.index) == list(again.index) != list(other.index)


def test_too_few_pictures_shrink_the_held_parts_and_never_the_training():
    assert subsets.limit_sizes((2000, 1000, 1000), 25_000) == (2000, 1000, 1000)
    assert subsets.limit_sizes((2000, 1000, 1000), 3000) == (2000, 500, 500)
    with pytest.raises(StarshiftError, match="too few labelled"):
        subsets.limit_sizes((2000, 1000, 1000), 2100)


def test_links_do_not_say_the_class_in_the_test_part_and_are_made_once(tmp_path):
    whole = table({"a": 3, "b": 3})
    for path in whole["path"]:
        (tmp_path / "raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / path).write_bytes(path.encode())
    subsets.link_subset(whole, tmp_path / "raw", tmp_path / "test", flat=True)
    names = sorted(path.name for path in (tmp_path / "test").iterdir())
    assert len(names) == 6 and all(len(name) == 20 for name in names)
    before = (tmp_path / "test" / names[0]).lstat().st_mtime_ns
    subsets.link_subset(whole, tmp_path / "raw", tmp_path / "test", flat=True)
    assert (tmp_path / "test" / names[0]).lstat().st_mtime_ns == before
    subsets.link_subset(whole.iloc[:4], tmp_path / "raw", tmp_path / "test")
    assert sorted(p.name for p in (tmp_path / "test").iterdir()) == ["0", "1", "labels.csv"]


ODD = ["N/A", "N/B", "../../up", "..", "a\nb", "Cat", "cat", "__pycache__", "NA", "x" * 300]


@pytest.fixture
def odd(tmp_path):
    """Two pictures of each class whose name is no name of a folder, and where they lie."""
    labels = [*ODD, str(tmp_path / "absolute")]
    whole = pd.DataFrame(
        [(f"{c}-{k}.jpg", label, f"{c:02}{k}".ljust(64, "0")) for c, label in enumerate(labels) for k in range(2)],
        columns=["path", "label", "sha256"],
    )
    (tmp_path / "raw").mkdir()
    for number, name in enumerate(whole["path"]):
        (tmp_path / "raw" / name).write_bytes(encoded(drawn(number)))
    return whole, tmp_path / "raw"


def test_labels_are_text_and_never_paths(odd, tmp_path):
    place = tmp_path / "deep" / "er" / "excerpt"
    subsets.link_subset(*odd, place / "train")
    own = Competition(name="own", data=str(place), labels=subsets.build_subset_labels("train"), recipe=Recipe(folds=2))
    found = build_picture_table(own, place, None, tmp_path / "memory.json")
    assert dict(found.train["label"].value_counts()) == dict(odd[0]["label"].value_counts())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "memory.json", "raw"]
    assert [path.name for path in (tmp_path / "deep").rglob("*") if not path.is_relative_to(place)] == ["er"]


def test_pictures_keep_the_order_of_class_folders_with_their_labels_names(tmp_path):
    labels = ["b", "a b", "a", "c10", "c2", "a-b", "A"]
    whole = pd.DataFrame(
        [(f"{n}.jpg", label, f"{9 - n}".ljust(64, "0")) for n, label in enumerate(labels)],
        columns=["path", "label", "sha256"],
    )
    subsets.link_subset(whole, tmp_path, tmp_path / "train")
    ids = [line.split(",") for line in (tmp_path / "train" / "labels.csv").read_text().splitlines()[1:]]
    now = [label for _, label in sorted(ids, key=lambda row: natural_sort_key(row[0]))]
    names = [f"{row.label}/{subsets.build_file_name(row)}" for row in whole.itertuples()]
    assert now == [name.split("/")[0] for name in sorted(names, key=natural_sort_key)]


def changed_label(whole, raw):
    return whole.assign(label=["N/B", *whole["label"][1:]]), raw


def moved(whole, raw):
    return whole, raw.rename(raw.with_name("elsewhere"))


@pytest.mark.parametrize("change", [changed_label, moved])
def test_an_excerpt_of_other_labels_or_pictures_is_made_again(odd, tmp_path, change):
    subsets.link_subset(*odd, tmp_path / "train")
    whole, raw = change(*odd)
    subsets.link_subset(whole, raw, tmp_path / "train")
    rows = pd.read_csv(tmp_path / "train" / "labels.csv", keep_default_na=False)
    assert dict(rows["label"].value_counts()) == dict(whole["label"].value_counts())
    assert all((tmp_path / "train" / name).resolve().parent == raw for name in rows["id"])


def test_a_debug_run_takes_readable_pictures_that_differ(tmp_path):
    for name, start in (("blue", 0), ("red", 500)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(60):
            content = b"broken" if number < 30 else encoded(drawn(start + (0 if number < 45 else number)))
            (tmp_path / "own" / name / f"{number:02}.jpg").write_bytes(content)
    competition = Competition(name="own", data=str(tmp_path / "own"), recipe=Recipe(folds=2))
    pictures = build_picture_table(competition, tmp_path / "own", None, tmp_path / "memory.json")
    subset = select_debug_subset(pictures, 0)
    assert subset.train["label"].value_counts().to_dict() == {"blue": 16, "red": 16}
    assert subset.train["sha256"].is_unique and (subset.train["width"] > 0).all()
