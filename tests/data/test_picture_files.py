"""What lies below a folder: pictures whatever their folders are called, known junk counted, nothing lost in silence."""

import os
import subprocess

import pytest

from pipeline.config import Competition, Labels, Recipe
from pipeline.data.labels import build_picture_table
from pipeline.data.picture_files import (
    find_junk_kind,
    format_names,
    format_unreadable,
    list_pictures,
    natural_sort_key,
    scan_folder,
)
from pipeline.errors import StarshiftError
from tests.conftest import drawn, encoded

JPEG = encoded(drawn(0))
ALWAYS = ["train/a/1.jpg", "train/a/2.jpg", "train/b/1.jpg", "train/b/2.jpg"]


@pytest.fixture
def raw(tmp_path):
    put(tmp_path / "raw", ALWAYS)
    return tmp_path / "raw"


def put(folder, names, content=JPEG):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def table_of(raw):
    own = Competition(name="own", data=str(raw), labels=Labels(), recipe=Recipe(folds=2))
    return build_picture_table(own, raw, None, raw.parent / "memory.json")


@pytest.mark.parametrize("name", ["__background__", "_", "-f", "#1", "@home", "~tilde", "$1"])
def test_a_class_may_have_any_name_that_is_not_known_junk(raw, name):
    put(raw, [f"train/{name}/1.jpg", f"train/{name}/2.jpg"])
    found = table_of(raw)
    assert name in found.classes and len(found.train) == 6 and not found.warnings


def test_hidden_pictures_are_used_and_other_hidden_files_are_not(raw):
    put(raw, ["train/a/.3.jpg"])
    put(raw, ["train/a/.lock", "train/a/.3.jpg.swp", "train/.settings/x"])
    found = table_of(raw)
    assert "a/.3.jpg" in list(found.train["id"]) and len(found.train) == 5 and found.classes == ["a", "b"]


JUNK = [
    *("@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "Thumbs.db", "THUMBS.DB", "ehthumbs.db", "desktop.ini", "Desktop.ini"),
    *(".DS_Store", "._1.jpg", "__MACOSX/1.jpg", "Icon\r", ".ipynb_checkpoints/1.jpg", "__pycache__/x.pyc"),
    *("#recycle/9.jpg", "@Recycle/9.jpg", "@Recently-Snapshot/9.jpg", "$RECYCLE.BIN/9.jpg", "lost+found/9.jpg"),
    *("System Volume Information/9.jpg", ".Spotlight-V100/9.jpg", ".Trashes/9.jpg", ".Trash-1000/files/9.jpg"),
    *(".fseventsd/9", ".TemporaryItems/9.jpg", ".AppleDouble/9.jpg", ".git/9.jpg", ".svn/9.jpg", ".dvc/9.jpg"),
    *(".directory", ".nomedia", ".@__thumb/9.jpg", ".nfs0001.jpg", ".gitkeep"),
]


@pytest.mark.parametrize("name", JUNK)
@pytest.mark.parametrize("place", ["train", "train/a", "test"])
def test_known_junk_is_left_out_and_counted(raw, name, place):
    put(raw, ["test/1.jpg"])
    put(raw, [f"{place}/{name}"])
    found = table_of(raw)
    assert found.classes == ["a", "b"] and len(found.train) == 4 and len(found.test) == 1
    kind = find_junk_kind(name.split("/")[0])
    assert len(found.warnings) == 1 and found.warnings[0].startswith("1 files of macOS, Windows, a NAS or a tool")
    assert format_names([f"{kind} (1)"]) in found.warnings[0]


def test_junk_of_several_kinds_is_one_line_with_counts(raw):
    put(raw, [f"train/a/@eaDir/{n}.jpg/THUMB.jpg" for n in range(10)] + ["train/a/Thumbs.db", "test/Thumbs.db"])
    put(raw, ["test/1.jpg"])
    (line,) = table_of(raw).warnings
    assert line == "12 files of macOS, Windows, a NAS or a tool are left out: @eaDir (10), Thumbs.db (2)"


def test_class_folders_without_a_picture_are_named(raw):
    (raw / "train" / "c").mkdir()
    put(raw, ["train/d/notes.txt", "train/d/more.csv"])
    found = table_of(raw)
    assert found.classes == ["a", "b"]
    assert "2 class folders hold no picture and are no classes: c, d" in found.warnings


def test_files_in_class_folders_that_are_no_pictures_are_counted(raw):
    put(raw, ["train/a/notes.txt", "train/b/boxes.xml", "train/readme.md"])
    assert table_of(raw).warnings == [
        "2 files in class folders are no pictures and are left out: a/notes.txt, b/boxes.xml"
    ]


def test_links_to_nowhere_are_named(raw):
    for name in ("c", "a/3.jpg", "a/loop"):
        (raw / "train" / name).symlink_to(name.split("/")[-1] if name == "a/loop" else raw / "nowhere")
    found = table_of(raw)
    assert found.warnings == ["3 links lead nowhere: c, a/3.jpg, a/loop"] and len(found.train) == 4


def test_a_folder_of_two_names_keeps_its_own_and_the_other_is_named(raw):
    (raw / "train" / "Z").mkdir()
    put(raw, ["train/Z/1.jpg", "train/Z/2.jpg"])
    (raw / "train" / "0").symlink_to(raw / "train" / "Z")
    (raw / "train" / "a" / "circle").symlink_to(raw / "train")
    found = table_of(raw)
    assert found.classes == ["Z", "a", "b"] and len(found.train) == 6
    assert "2 folders are left out, since another name leads to them too: 0, a/circle" in found.warnings


def test_a_folder_that_cannot_be_read_is_named(raw, monkeypatch):
    put(raw, ["train/c/1.jpg"])
    read = os.scandir

    def refusing(path):
        if str(path).endswith("train/c"):
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert table_of(raw).warnings == ["1 folders cannot be read: c"]


def test_a_picture_that_nobody_may_read_is_a_clear_error(raw, monkeypatch):
    def refusing(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.data.picture_files.hash_file", refusing)
    with pytest.raises(StarshiftError, match=r"1\.jpg cannot be read(.|\n)*Permission denied"):
        table_of(raw)


def test_what_is_left_out_of_a_folder_of_ones_own_is_said(raw, caplog):
    put(raw, ["train/a/Thumbs.db"])
    (raw / "train" / "c").symlink_to(raw / "nowhere")
    assert len(list_pictures(raw / "train")) == 4
    assert "Thumbs.db (1)" in caplog.text and "1 links lead nowhere: c" in caplog.text


def test_other_special_files_are_no_pictures(raw):
    subprocess.run(["mkfifo", str(raw / "train" / "a" / "pipe.jpg")], check=True)
    assert table_of(raw).warnings == ["1 files in class folders are no pictures and are left out: a/pipe.jpg"]


def test_folders_that_stand_apart_are_not_looked_into(raw):
    assert list(scan_folder(raw, without=(raw / "train" / "a",)).pictures) == ["train/b/1.jpg", "train/b/2.jpg"]


def test_numbers_in_names_sort_as_numbers_and_odd_digits_as_text():
    assert sorted(["10", "9", "a2", "a10"], key=natural_sort_key) == ["9", "10", "a2", "a10"]
    assert sorted(["²", "3", "1"], key=natural_sort_key) == ["1", "3", "²"]


def test_what_cannot_be_printed_is_escaped():
    assert format_names(["Icon\r", "\x1b[2J", "caf\udce9", "é"]) == "Icon\\r, \\x1b[2J, caf\\udce9, é"


def test_a_file_without_a_picture_s_ending_is_one_if_it_can_be_opened(raw):
    put(raw, ["train/a/3", "train/a/4.jpg_large"])
    for name in ("3.xmp", "clip.mp4", "paper.pdf", "README"):
        (raw / "train" / "a" / name).write_bytes(b"%no picture")
    found = table_of(raw)
    assert {"a/3", "a/4.jpg_large"} <= {*found.train["id"]} and len(found.train) == 6
    assert found.warnings == ["4 files in class folders are no pictures and are left out: a/3.xmp, a/README, "
                              "a/clip.mp4, a/paper.pdf"]  # fmt: skip


@pytest.mark.parametrize("name", ["1.jpg~", "1.jpg.part", "1.jpg.crdownload", "1.png.tmp"])
def test_earlier_versions_of_pictures_and_broken_downloads_are_junk(name):
    assert find_junk_kind(name) and not find_junk_kind(f"x{name}".replace(".jpg", "").replace(".png", ""))


@pytest.mark.parametrize("name", [".sync", "nan", "unlabeled", "test"])
def test_a_class_of_an_odd_name_is_named(raw, name):
    put(raw, [f"train/{name}/1.jpg", f"train/{name}/2.jpg"])
    found = table_of(raw)
    assert name in found.classes and found.warnings == [
        f"1 classes are called like hidden files, parts of the data or missing values: {name}"
    ]


def test_files_that_are_no_pictures_are_described_where_there_are_no_others(tmp_path):
    for name in ("a/1.npy", "b/1.npy"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"\x93NUMPY")
    with pytest.raises(StarshiftError, match=r"0 pictures(.|\n)*2 other files; 1\.npy is an array of NumPy"):
        table_of(tmp_path)


def test_two_levels_of_classes_are_said_to_be_one(raw):
    put(raw, [f"train/{name}/{number}.jpg" for name in ("cats/lion", "cats/puma", "dogs/fox") for number in (1, 2)])
    assert table_of(raw).warnings == [
        "2 folders in class folders are no classes of their own: the outer folder is the class: cats/lion, cats/puma"
    ]


@pytest.mark.parametrize("name", [b"a/caf\xe9.jpg", b"caf\xe9/1.jpg"])
def test_a_name_that_is_not_utf_8_is_refused_before_anything_is_done(raw, name):
    path = os.path.join(os.fsencode(raw / "train"), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(encoded(drawn(0)))
    for read in (table_of, list_pictures):
        with pytest.raises(StarshiftError, match=r"1 pictures in (train|raw) have names that are not UTF-8(.|\n)*caf"):
            read(raw)


def test_of_many_unreadable_pictures_five_are_named_and_the_others_counted():
    lines = format_unreadable({f"{number}.jpg": "no picture" for number in range(300)})
    assert len(lines) == 6 and lines[0] == "0.jpg cannot be read: no picture" and lines[-1] == "295 more cannot be read"
    assert len(format_unreadable({f"{number}.jpg": "no picture" for number in range(5)})) == 5
