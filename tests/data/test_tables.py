"""Tables as people have them: packed, damaged, with other separators, ids that differ in blanks, labels in columns."""

import bz2
import gzip
import lzma
import unicodedata
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Competition, Labels, Recipe, Submission
from pipeline.data.labels import build_picture_table
from pipeline.data.tables import match_ids, read_csv_as_text, read_sample_submission
from pipeline.errors import StarshiftError
from pipeline.files import describe_content
from tests.conftest import drawn, encoded

JPEG = encoded(drawn(0))
NAMES = [f"a{number}" for number in range(8)]
ROWS = "id,label\n" + "".join(f"{name},{'xy'[number % 2]}\n" for number, name in enumerate(NAMES))


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw" / "train").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / "raw" / "train" / f"{name}.jpg").write_bytes(JPEG)
    return tmp_path / "raw"


def table_of(raw, csv="labels.csv", submission=None, **labels):
    competition = Competition(name="mine", data=str(raw), labels=Labels(csv=csv, suffix=".jpg", **labels),
                              submission=submission, recipe=Recipe(folds=2))  # fmt: skip
    return build_picture_table(competition, raw, read_sample_submission(competition, raw), raw.parent / "memory.json")


def rewritten(change):
    """The rows, each id changed by its number."""
    lines = (f"{change(number, name)},{'xy'[number % 2]}" for number, name in enumerate(NAMES))
    return "id,label\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_a_packed_table_is_found_and_read(raw, suffix, pack):
    (raw / f"labels.csv{suffix}").write_bytes(pack(ROWS.encode()))
    assert table_of(raw).classes == ["x", "y"] == table_of(raw, f"labels.csv{suffix}").classes


def test_a_table_in_a_folder_of_its_name_is_found(raw):
    (raw / "labels.csv").mkdir()
    (raw / "labels.csv" / "labels.csv").write_text(ROWS)
    assert len(table_of(raw).train) == 8


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_with_another_separator_is_read(raw, separator):
    (raw / "labels.csv").write_text(ROWS.replace(",", separator))
    assert len(table_of(raw).train) == 8


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.csv.gz", gzip.compress(ROWS.encode(), mtime=0)[:-20], "a gzip file"),
        ("labels.csv.gz", gzip.compress(ROWS.encode(), mtime=0)[:20] + b"x" * 40, "a gzip file"),
        ("labels.csv.gz", b"no", "2 bytes of something else"),
        ("labels.csv.zip", b"<html>sign in</html>", "an HTML page"),
        ("labels.csv.bz2", b"", "an empty file"),
        ("labels.csv.xz", lzma.compress(ROWS.encode())[:-9], "an xz file"),
        ("labels.csv", b"\xff\xfei\x00d\x00", "text in UTF-16"),
        ("labels.csv", b"", "an empty file"),
    ],
    ids=["truncated", "rotten", "no gzip", "a page as a zip", "empty and packed", "truncated xz", "UTF-16", "empty"],
)
def test_a_damaged_or_false_table_is_described(raw, name, content, words):
    (raw / name).write_bytes(content)
    with pytest.raises(StarshiftError, match=f"{name} cannot be read") as error:
        table_of(raw, name)
    assert words in error.value.received


def test_a_zip_of_two_tables_is_no_table(raw):
    with zipfile.ZipFile(raw / "labels.csv.zip", "w") as archive:
        archive.writestr("a.csv", ROWS)
        archive.writestr("b.csv", ROWS)
    with pytest.raises(StarshiftError, match="a zip archive"):
        table_of(raw)


def test_a_workbook_is_called_one(tmp_path):
    (tmp_path / "x").write_bytes(b"PK\x03\x04...")
    assert "Excel" in describe_content(tmp_path / "x")


@pytest.mark.parametrize(
    "change",
    [
        lambda number, name: f"{name}.jpg" if number % 3 else name,
        lambda number, name: f" {name} " if number % 3 else name,
        lambda number, name: f"{name}.JPG",
        lambda number, name: f"./{name}.jpeg",
    ],
    ids=["partly with an ending", "blanks", "a large ending", "another ending"],
)
def test_ids_that_differ_in_blanks_and_ending_alone_are_matched_and_counted(raw, change):
    (raw / "labels.csv").write_text(rewritten(change))
    found = table_of(raw)
    assert len(found.train) == 8 and list(found.train["label"]) == list("xyxyxyxy")
    assert any("are written otherwise than their files" in warning for warning in found.warnings)


def test_ids_whose_accents_are_encoded_in_another_way_are_matched(raw):
    (raw / "train" / f"{unicodedata.normalize('NFD', 'café')}.jpg").write_bytes(JPEG)
    (raw / "labels.csv").write_text(ROWS + f"{unicodedata.normalize('NFC', 'café')},x\n")
    assert len(table_of(raw).train) == 9


def test_test_pictures_are_matched_and_keep_the_sample_s_ids(raw):
    (raw / "labels.csv").write_text(ROWS)
    (raw / "test").mkdir()
    (raw / "test" / "b.JPG").write_bytes(JPEG)
    (raw / "sample_submission.csv").write_text("id,x,y\nb.jpg,.5,.5\n")
    found = table_of(raw, submission=Submission())
    assert (found.test["id"][0], found.test["path"][0]) == ("b.jpg", "test/b.JPG")


def test_a_blank_that_matters_is_shown():
    from pipeline.data.picture_files import format_names

    assert format_names(["a", "b "]) == "a, 'b '"


def test_two_files_that_could_be_meant_are_not_guessed_between():
    assert match_ids(["a"], ["a.jpg", "a.png"]) == {}
    assert match_ids(["a.jpg", "a"], ["a.png"]) == {}


@given(st.lists(st.text(max_size=6), unique=True, max_size=8))
def test_equal_ids_always_match_themselves(names):
    assert match_ids(names, names) == {name: name for name in names}


@given(st.lists(st.text(max_size=6), unique=True, max_size=8), st.lists(st.text(max_size=6), unique=True, max_size=8))
def test_no_file_is_given_to_two_ids(ids, files):
    matched = match_ids(ids, files)
    assert len(set(matched.values())) == len(matched) and set(matched.values()) <= set(files)


def test_a_positive_class_may_be_written_as_a_number(raw):
    (raw / "labels.csv").write_text(ROWS.replace(",x", ",1").replace(",y", ",0"))
    assert table_of(raw, positive=1).classes == ["0", "1"] and Labels(positive=1).positive == "1"


def test_a_misspelt_column_or_positive_class_is_answered_by_the_nearest(raw):
    (raw / "labels.csv").write_text(ROWS.replace(",x", ",sick").replace(",y", ",healthy"))
    for wrong, meant in (({"label": "lable"}, "label"), ({"positive": "helthy"}, "healthy")):
        with pytest.raises(StarshiftError, match=rf"did you mean {meant}\?"):
            table_of(raw, **wrong)


def test_columns_of_0_and_1_are_labels(raw):
    (raw / "labels.csv").write_text("id,cat,dog\n" + "".join(f"{n},{k % 2},{1 - k % 2}\n" for k, n in enumerate(NAMES)))
    assert list(table_of(raw).train["label"]) == ["dog", "cat"] * 4


def test_several_labels_a_picture_are_called_that(raw):
    (raw / "labels.csv").write_text("id,cat,dog\n" + "".join(f"{name},1,{k % 2}\n" for k, name in enumerate(NAMES)))
    with pytest.raises(StarshiftError, match="4 pictures no label or several: this is a multi-label task"):
        table_of(raw)


def test_classes_that_are_made_of_others_are_named(raw):
    words = ["scab", "rust", "scab rust", "rust,scab"]
    (raw / "labels.csv").write_text("id,label\n" + "".join(f'{n},"{words[k % 4]}"\n' for k, n in enumerate(NAMES)))
    (warning,) = (one for one in table_of(raw).warnings if "made of others" in one)
    assert warning.startswith("2 classes") and "scab rust" in warning


def test_measurements_are_no_classes(raw):
    (raw / "labels.csv").write_text("id,label\n" + "".join(f"{n},{k * 0.19:.2f}\n" for k, n in enumerate(NAMES)))
    with pytest.raises(StarshiftError, match="The labels are numbers: this is a regression task"):
        table_of(raw)


def test_grades_are_classes(raw):
    (raw / "labels.csv").write_text("id,label\n" + "".join(f"{n},{k % 2}.0\n" for k, n in enumerate(NAMES)))
    assert table_of(raw).classes == ["0.0", "1.0"]


def test_a_csv_file_is_read_as_text(tmp_path):
    (tmp_path / "a.csv").write_text("id,label\n007,NA\n")
    assert read_csv_as_text(tmp_path / "a.csv").to_numpy().tolist() == [["007", "NA"]]


def test_a_picture_that_was_replaced_by_one_of_the_same_size_and_time_is_read_again(raw):
    import os

    (raw / "labels.csv").write_text(ROWS)
    before, path = table_of(raw).train["sha256"][0], raw / "train" / "a0.jpg"
    status = path.stat()
    content = bytearray(JPEG)
    content[-3] ^= 1
    path.unlink()
    path.write_bytes(bytes(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert table_of(raw).train["sha256"][0] != before


@pytest.mark.parametrize(
    "change",
    [
        lambda _, name: f"train\\{name}.jpg",
        lambda _, name: f"/home/me/data/{name}.jpg",
        lambda _, name: f"https://example.org/{name}.jpg?size=large",
        lambda _, name: name.upper(),
    ],
    ids=["a folder of Windows", "an absolute path", "an address", "capitals"],
)
def test_ids_that_are_all_written_otherwise_are_matched_by_their_names(raw, change):
    (raw / "labels.csv").write_text(rewritten(change))
    found = table_of(raw)
    assert len(found.train) == 8 and found.warnings[0].startswith("8 ids of labels.csv are written otherwise")


@pytest.mark.parametrize(("ids", "files"), [(["1.0", "10.0"], ["1", "10"]), (["1", "10"], ["001", "010"])])
def test_numbers_are_matched_without_what_spreadsheets_change(ids, files):
    assert match_ids(ids, files) == dict(zip(ids, files, strict=True))


def test_names_are_not_compared_where_some_ids_are_files_or_names_stand_twice():
    assert match_ids(["a/1", "b/1"], ["a/1", "c/1"]) == {"a/1": "a/1"}
    assert match_ids(["x/a/1", "x/b/1"], ["a/1", "c/1"]) == {}


def test_a_row_that_is_there_twice_counts_once_and_empty_rows_do_not(raw):
    (raw / "labels.csv").write_text(ROWS + "a0,x\n,\n")
    found = table_of(raw)
    assert len(found.train) == 8 and found.warnings[0] == "1 rows of labels.csv are there twice and count once: a0"


def test_two_labels_of_one_picture_are_refused(raw):
    (raw / "labels.csv").write_text(ROWS + "a0,y\n")
    with pytest.raises(StarshiftError, match="1 ids twice, with other labels: a0"):
        table_of(raw)


def test_two_tables_of_one_name_are_refused_unless_they_are_equal(raw):
    for folder, text in (("x", ROWS), ("y", ROWS)):
        (raw / folder).mkdir()
        (raw / folder / "labels.csv").write_text(text)
    assert len(table_of(raw).train) == 8
    (raw / "y" / "labels.csv").write_text(ROWS.replace("x", "z"))
    with pytest.raises(StarshiftError, match=r"2 tables are called labels\.csv(.|\n)*x/labels\.csv, y/labels\.csv"):
        table_of(raw)


def test_blanks_around_names_and_values_of_columns_do_not_matter(raw):
    rows = "".join(f"{name}, {k % 2}, {1 - k % 2}\n" for k, name in enumerate(NAMES))
    (raw / "labels.csv").write_text("id, cat, dog\n" + rows)
    assert table_of(raw).classes == ["cat", "dog"]


def test_whole_numbers_that_most_pictures_have_alone_are_no_classes(raw):
    (raw / "labels.csv").write_text("id,label\n" + "".join(f"{name},{100 + 7 * k}\n" for k, name in enumerate(NAMES)))
    with pytest.raises(StarshiftError, match="regression"):
        table_of(raw)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["['x', 'y']", "['x']", "['y']", "['x']"], "1 classes are made of others"),
        (["x|y", "y|z", "x|z", "z"], "3 classes are made of others"),
        (["1", "1.0", "0", "0"], "2 classes have nearly the same name: '1', '1.0'"),
    ],
)
def test_labels_that_look_like_several_or_like_one_are_named(raw, labels, words):
    rows = "".join(f'{name},"{labels[number % 4]}"\n' for number, name in enumerate(NAMES))
    (raw / "labels.csv").write_text("id,label\n" + rows)
    assert any(words in warning for warning in table_of(raw).warnings)


@pytest.mark.parametrize("count", [20, 21])
def test_many_numbers_are_named_and_grades_are_not(count, tmp_path):
    rows = [(f"{number}.jpg", number % count) for number in range(2 * count)]
    (tmp_path / "raw" / "train").mkdir(parents=True)
    for name, _ in rows:
        (tmp_path / "raw" / "train" / name).write_bytes(JPEG)
    (tmp_path / "raw" / "labels.csv").write_text("id,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    named = [text for text in table_of(tmp_path / "raw").warnings if "classes are numbers" in text]
    assert len(named) == (count == 21)
