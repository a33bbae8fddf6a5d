"""A competition file that is proposed for new data finds the labels of every layout, and runs as it stands."""

import random
import shutil
from pathlib import Path

import pytest
from invoke import Context

import competitions
from pipeline.cli.inspect import init
from pipeline.config import RunOptions
from pipeline.data.proposal import propose_competition
from pipeline.errors import StarshiftError
from pipeline.workflow.prepare import check_competition
from tests.conftest import drawn, encoded, two_classes

JPEG = encoded(drawn(0))
NAMES = [f"a{number}" for number in range(12)]


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def by_csv(data):
    put(data, *(f"train_images/{name}.jpg" for name in NAMES), "test_images/b.jpg")
    lines = (f"{number},{name},{'xy'[number % 2]}" for number, name in enumerate(NAMES))
    (data / "train.csv").write_text("row,image_id,disease\n" + "\n".join(lines) + "\n")
    (data / "sample_submission.csv").write_text("image_id,x,y\nb,.5,.5\n")


def by_folder(data):
    put(data, *(f"images/{name}/{number}.jpg" for name in ("x", "y") for number in range(6)), "test/b.jpg")
    (data / "sample_submission.csv").write_text("file,kind\nb.jpg,x\n")


def by_name(data):
    put(data, *(f"train/{name}.{number}.jpg" for name in ("x", "y") for number in range(6)), "test/7.jpg")
    (data / "sample_submission.csv").write_text("id,label\n7,0.5\n")


@pytest.mark.parametrize(
    ("lay_out", "kind", "layout", "metric"),
    [
        (by_csv, "csv", "one column per class", "log_loss"),
        (by_folder, "folders", "class name", "accuracy"),
        (by_name, "pattern", "probability", "auc"),
    ],
    ids=["a table", "class folders", "file names"],
)
def test_the_file_that_is_written_reads_the_data(data, tmp_path, monkeypatch, lay_out, kind, layout, metric):
    lay_out(data)
    monkeypatch.chdir(tmp_path)
    init(Context(), comp="mine", data="data")
    found = competitions.load(tmp_path / "mine.py")
    assert (found.labels.kind, found.submission.layout, found.metric) == (kind, layout, metric)
    checked = check_competition(found, RunOptions())
    assert checked.classes == {"x": 6, "y": 6} and checked.tests == 1


def test_pictures_without_a_sample_submission_need_no_submission(data):
    two_classes(data)
    found = propose_competition(data)
    assert found.submission is None and (found.labels.folder, found.labels.test) == ("train", "test")


def test_the_positive_class_is_the_last_of_two(data):
    by_name(data)
    assert propose_competition(data).labels.positive == "y"


def test_a_column_that_every_picture_has_alone_is_no_class(data):
    by_csv(data)
    assert propose_competition(data).labels.label == "disease"


@pytest.mark.parametrize("names", [["a.jpg", "b.jpg"], [f"{random.Random(k).random()}.jpg" for k in range(9)]])
def test_pictures_without_labels_are_refused_with_what_would_do(data, names):
    put(data, *names)
    with pytest.raises(StarshiftError, match="The labels were not found"):
        propose_competition(data)


def test_a_folder_without_pictures_is_refused(data):
    data.mkdir(exist_ok=True)
    with pytest.raises(StarshiftError, match=f"There are no pictures in {data}"):
        propose_competition(data)


def test_a_file_that_is_there_is_kept(data, tmp_path, monkeypatch, capsys):
    two_classes(data)
    (tmp_path / "mine.py").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        init(Context(), comp="mine", data="data")
    assert "is there already" in capsys.readouterr().err and (tmp_path / "mine.py").read_text() == "mine"


def test_an_archive_is_looked_into(data, tmp_path):
    by_csv(data)
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", data)
    assert propose_competition(Path(archive)).labels.label == "disease"


def test_archives_in_a_folder_are_looked_into_and_stay(data, tmp_path):
    by_folder(data)
    (tmp_path / "packed").mkdir()
    shutil.make_archive(str(tmp_path / "packed" / "images"), "zip", data)
    assert propose_competition(tmp_path / "packed").submission.layout == "class name"
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["images.zip"]


def test_an_archive_without_kaggles_name_is_refused(data, tmp_path, monkeypatch, capsys):
    by_csv(data)
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", data)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        init(Context(), comp="mine", data=archive)
    assert "--slug, the last part" in capsys.readouterr().err and not (tmp_path / "mine.py").exists()


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("images/train", "images/test"), ("seg_train/seg_train", "seg_test/seg_test")],
)
def test_the_training_part_is_proposed_and_no_other(data, train, test):
    for part in (train, test, "val"):
        put(data, *(f"{part}/{name}/{number}.jpg" for name in ("x", "y") for number in range(2)))
    labels = propose_competition(data).labels
    assert (labels.folder, labels.test) == (train, test)


def test_what_lies_beside_class_folders_stays_apart_in_the_proposed_file(data, tmp_path, monkeypatch):
    put(data, *(f"{name}/{number}.jpg" for name in ("x", "y", "val/x", "val/y") for number in range(6)))
    monkeypatch.chdir(tmp_path)
    init(Context(), comp="mine", data="data")
    assert check_competition(competitions.load(tmp_path / "mine.py"), RunOptions()).classes == {"x": 6, "y": 6}


def test_columns_of_0_and_1_in_a_folder_of_each_part_are_proposed(data):
    for part in ("test", "train", "valid"):
        put(data, *(f"{part}/{part}{name}.jpg" for name in NAMES))
        rows = "".join(f"{part}{name}.jpg, {k % 2}, {1 - k % 2}\n" for k, name in enumerate(NAMES))
        (data / part / "_classes.csv").write_text("filename, cat, dog\n" + rows)
    found = propose_competition(data).labels
    assert (found.csv, found.image, found.label, found.folder) == ("train/_classes.csv", "filename", "label", "train")


def test_names_tell_the_labels_of_parts_in_a_folder_around_them(data):
    names = (f"{part}/{name}.{number}.jpg" for part in ("train", "test") for name in ("x", "y") for number in range(6))
    put(data, *(f"pets/{name}" for name in names))
    assert propose_competition(data).labels.folder == "pets/train"


def test_a_table_without_a_header_is_refused(data):
    put(data, *(f"train/{name}.jpg" for name in NAMES))
    (data / "labels.csv").write_text("".join(f"{name},{'xy'[k % 2]}\n" for k, name in enumerate(NAMES)))
    with pytest.raises(StarshiftError, match=r"labels\.csv has no header"):
        propose_competition(data)
