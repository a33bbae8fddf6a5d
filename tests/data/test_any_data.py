"""Data of any names: every file is used or counted in a warning, tables are read as they were meant, or refused."""

import csv
import re
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import Competition, Labels, Recipe
from pipeline.data.check import check_data
from pipeline.data.labels import build_picture_table
from pipeline.data.picture_files import find_junk_kind, is_picture
from pipeline.errors import StarshiftError
from tests.conftest import drawn, encoded

PICTURES = [encoded(drawn(number, 33, 33)) for number in range(40)]
LETTERS = st.characters(exclude_characters="/\0", exclude_categories=("Cs",))
ODD = ["__background__", ".hidden", "a b", " a", "a ", "é", "e\u0301", "Cat", "cat", "=cmd()",
       "-rf", "a\nb", "a\x1b[31m", "'\"", "..a", "a.b.c", "训练", "test", "Train", "val", "@eaDir",
       "Icon\r", "x" * 60]  # fmt: skip
NAMES = (st.text(LETTERS, min_size=1, max_size=8) | st.sampled_from(ODD)).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)
SUFFIXES = st.sampled_from([".jpg", ".JPG", ".jpeg", ".png", "", ".txt", ".JpG"])
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def table_of(folder, labels):
    competition = Competition(name="own", data=str(folder), labels=labels, recipe=Recipe(folds=2))
    table = build_picture_table(competition, folder, None, folder.parent / "memory.json")
    return table, check_data(competition, table, folder)


def count_named(warnings):
    """The pictures that warnings count: each begins with a number, or counts kinds in brackets."""
    return sum(int(match[0].replace(",", "")) for text in warnings if (match := re.match(r"[\d,]+", text)))


@FEW
@given(st.dictionaries(NAMES, st.lists(st.tuples(NAMES, SUFFIXES), min_size=2, max_size=4, unique=True),
                       min_size=2, max_size=4))  # fmt: skip
def test_every_file_in_class_folders_is_used_or_counted(tree):
    with tempfile.TemporaryDirectory() as place:
        folder, planted = Path(place) / "data", 0
        for name, files in tree.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for stem, suffix in files:
                path = folder / name / f"{stem}{suffix}"
                if not path.exists():
                    path.write_bytes(PICTURES[planted])
                    planted += 1
        try:
            table, check = table_of(folder, Labels())
        except StarshiftError:
            return
        assert len(table.train) + len(table.test) + count_named(table.warnings) >= planted
        for path, label in zip(table.train["path"], table.train["label"], strict=True):
            assert ((folder / path).is_file() and Path(path).parts[-2] == label) or label in Path(path).parts
        assert sum(check.classes.values()) == len(table.train)


@FEW
@given(st.lists(st.tuples(NAMES, NAMES), min_size=4, max_size=8, unique_by=lambda pair: pair[0]))
def test_a_table_of_any_names_is_read_as_it_was_written(rows):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        (folder / "train").mkdir(parents=True)
        names = [name for name, _ in rows if is_picture(f"{name}.jpg") and not find_junk_kind(f"{name}.jpg")]
        for number, name in enumerate(names):
            (folder / "train" / f"{name}.jpg").write_bytes(PICTURES[number])
        with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "label"), *rows])
        try:
            table, _ = table_of(folder, Labels(csv="labels.csv", suffix=".jpg", test=None))
        except StarshiftError:
            return
        meant = dict(rows)
        assert {*table.train["id"]} <= {*names}
        for identity, label in zip(table.train["id"], table.train["label"], strict=True):
            assert label == meant[identity].strip()
