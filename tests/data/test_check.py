"""The check of a competition's data: every oddity that was planted is named, and whole data have none."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import competitions
from pipeline.config import RunOptions, Submission
from pipeline.data.check import format_check
from pipeline.workflow.prepare import check_competition
from tests.cli.test_tasks import invoke
from tests.conftest import drawn, encoded, two_classes


@pytest.fixture
def pictures(tmp_path):
    two_classes(tmp_path / "pictures")
    return tmp_path / "pictures"


def check(folder):
    return check_competition(competitions.find(str(folder)), RunOptions())


def test_whole_data_have_nothing_odd_and_are_described(pictures):
    found = check(pictures)
    assert found.odd == [] and found.classes == {"blue": 12, "red": 12} and found.tests == 6
    assert found.layout == "labels from class folders; training pictures in train; test pictures in test"
    assert found.formats == {"JPEG": 30} and found.sides == {"width": (48, 48, 48), "height": (40, 40, 40)}


def test_the_folder_of_ids_that_are_written_otherwise_is_named(pictures):
    competition = competitions.find(str(pictures))
    (pictures / "sample_submission.csv").write_text("id,blue,red\n" + "".join(f"x/{n}.jpg,0,1\n" for n in range(6)))
    found = check_competition(replace(competition, submission=Submission()), RunOptions())
    assert found.tests == 6 and found.layout.endswith("test pictures in test")


def plant(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


RGB, GREY = drawn(7), drawn(7)[..., 0]


def saved(picture, kind="PNG"):
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


PAGES = io.BytesIO()
Image.fromarray(GREY).save(PAGES, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)])
PLANTED = {
    "1 pictures have several frames or pages, of which the first alone is used": {"train/red/x.tif": PAGES.getvalue()},
    "1 archives are not unpacked, and what is in them is not used: more.zip": {"more.zip": b"PK\x03\x04"},
    "1 files are no pictures, or damaged": {"train/red/x.jpg": b"<html>"},
    "lie in two classes with the same bytes": {"train/red/x.jpg": encoded(RGB), "train/blue/x.jpg": encoded(RGB)},
    "1 training pictures are copies of others": {"train/red/x.jpg": encoded(RGB), "train/red/y.jpg": encoded(RGB)},
    "1 test pictures are training pictures, too": {"train/red/x.jpg": encoded(RGB), "test/y.jpg": encoded(RGB)},
    "classes have fewer than 10 pictures for 5 folds: green": {
        f"train/green/{number}.jpg": encoded(drawn(number)) for number in range(60, 66)
    },
    "classes are unbalanced: 'green' has 130 pictures, 'red' has 12": {
        f"train/green/{number}.jpg": encoded(drawn(number)) for number in range(60, 190)
    },
    "1 pictures are grey, the others have colours": {"train/red/x.png": saved(Image.fromarray(GREY))},
    "have 16 bits, but values up to 1,000 alone, and are seen as nearly black: multiply all of them by 64": {
        "train/red/x.png": saved(Image.fromarray(np.full((40, 48), 1000, np.uint16)))
    },
    "values up to 200 alone, and are seen as nearly black: multiply all of them by 257": {
        "train/red/x.tif": saved(Image.fromarray(np.full((40, 48), 200, np.int32)), "TIFF")
    },
    "have values from -1,000 to 3,000: below 0 is seen as black, above 65,535 as white": {
        "train/red/x.tif": saved(
            Image.fromarray(np.linspace(-1000, 3000, 1920, dtype=np.int32).reshape(40, 48)), "TIFF"
        )
    },
    "have values from 0 to 1,000,000": {
        "train/red/x.tif": saved(
            Image.fromarray(np.arange(0, 1920, dtype=np.int32).reshape(40, 48) // 1919 * 10**6), "TIFF"
        )
    },
    "1 pictures are 16-bit": {"train/red/x.png": saved(Image.fromarray(GREY.astype(np.uint16) * 200))},
    "1 pictures are transparent": {"train/red/x.png": saved(Image.fromarray(RGB).convert("RGBA"))},
    "1 pictures are of printing colours": {"train/red/x.jpg": saved(Image.fromarray(RGB).convert("CMYK"), "JPEG")},
    "1 pictures have a side of less than 32 pixels": {"train/red/x.png": saved(Image.fromarray(RGB[:8, :20]))},
    "1 pictures are over 4 times as long as wide": {"train/red/x.png": saved(Image.fromarray(RGB).resize((400, 50)))},
    "files of macOS, Windows, a NAS or a tool are left out": {"train/red/.DS_Store": b"x"},
}


@pytest.mark.parametrize("words", PLANTED)
def test_what_is_odd_is_named(pictures, words):
    for name, content in PLANTED[words].items():
        plant(pictures, name, content)
    found = check(pictures)
    assert any(words in text for text in found.odd), found.odd


def test_what_is_odd_stands_first(pictures):
    plant(pictures, "train/red/x.jpg", b"<html>")
    first, facts, classes = format_check(check(pictures))
    assert first[0].startswith("odd       1 files are no pictures") and facts[0].startswith("layout")
    assert classes[0] == "classes   2"


def test_the_command_prints_the_check_as_json(pictures):
    done = invoke("check", "--comp", str(pictures), "--json")
    record = json.loads(done.stdout)["check"]
    assert record["classes"] == {"blue": 12, "red": 12} and record["odd"] == []


def test_many_classes_are_counted_and_not_all_listed(tmp_path):
    for number in range(25):
        for picture in range(10):
            plant(tmp_path / "many", f"c{number:02}/{picture}.jpg", encoded(drawn(100 * number + picture, 33, 33)))
    *_, classes = format_check(check(tmp_path / "many"))
    assert len(classes) == 22 and classes[-1].strip() == "and 5 more"


def test_the_first_file_that_is_no_picture_is_described_and_class_names_are_escaped(pictures):
    plant(pictures, "train/red/x.heic", b"\0\0\0\x18ftypheic")
    for number in range(12):
        plant(pictures, f"train/two\nlines/{number}.jpg", encoded(drawn(number + 80)))
    found = check(pictures)
    assert "the first is a HEIC picture" in found.odd[0]
    assert any("two\\nlines" in line for line in format_check(found)[2])
