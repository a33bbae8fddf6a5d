"""Inside a Kaggle notebook everything is found where it is mounted, under either layout, without credentials."""

import io
import zipfile

import py7zr
import pytest

from pipeline import paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.kaggle import archives, client, inputs
from pipeline.kaggle.download import fetch_data, format_status
from pipeline.models import base as bases

PETS = Competition(name="pets", slug="pets-slug")
LAYOUTS = {"new": ("competitions/", "datasets/me/"), "old": ("", ""), "unknown": ("mnt/a/", "mnt/b/me/")}


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """/kaggle/input of a notebook, and no way to download."""
    root = tmp_path / "kaggle"
    monkeypatch.setenv("STARSHIFT_KAGGLE_ROOT", str(root))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.delenv("STARSHIFT_HOME")

    def asked(*_):
        raise AssertionError("Kaggle was asked")

    monkeypatch.setattr(client, "authenticate", asked)
    (root / "input").mkdir(parents=True)
    return root / "input"


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_a_notebook_has_its_home_where_kaggle_keeps_things(inside):
    assert paths.home_folder() == inside.parent / "working"


def test_an_unpacked_competition_is_used_where_it_lies(inside, layout):
    folder = inside / f"{layout[0]}pets-slug"
    (folder / "train").mkdir(parents=True)
    assert fetch_data(PETS) == folder


def test_a_competition_that_is_mounted_as_archives_is_unpacked_once(inside, layout):
    folder = inside / f"{layout[0]}pets-slug"
    (folder / "labels").mkdir(parents=True)
    (folder / "train.zip").write_bytes(zipped({"train/1.jpg": b"a", "train/2.jpg": b"b"}))
    (folder / "labels" / "labels.csv.zip").write_bytes(zipped({"labels.csv": b"id\n"}))
    (folder / "sample_submission.csv").write_text("id,label\n")
    with py7zr.SevenZipFile(folder / "test.7z", "w") as archive:
        archive.writef(io.BytesIO(b"c"), "test/1.jpg")
    before = sorted(path.name for path in folder.rglob("*"))
    raw = fetch_data(PETS)
    assert (raw / "train" / "2.jpg").read_bytes() == b"b" and (raw / "test" / "1.jpg").read_bytes() == b"c"
    assert (raw / "labels" / "labels.csv").exists() and (raw / "sample_submission.csv").read_text() == "id,label\n"
    assert sorted(path.name for path in folder.rglob("*")) == before, "what is mounted is left alone"
    assert format_status(PETS).startswith("ready") and fetch_data(PETS) == raw
    assert not list(raw.rglob("*.zip")) and not list(raw.rglob("*.7z"))


def test_what_is_not_attached_is_downloaded_outside_and_only_there(inside):
    with pytest.raises(AssertionError, match="Kaggle was asked"):
        fetch_data(PETS)


def test_ones_own_pictures_are_found_in_a_dataset_by_their_folder_s_name(inside, layout, tmp_path):
    folder = inside / f"{layout[1]}somewhere" / "my-pictures"
    folder.mkdir(parents=True)
    assert fetch_data(Competition(name="mine", data="/home/me/my-pictures")) == folder
    with pytest.raises(StarshiftError, match="not there"):
        fetch_data(Competition(name="mine", data="/home/me/others"))


def test_weights_are_found_by_name_and_put_where_keras_looks(inside, layout):
    base = bases.parse_base("mobilenet_v2", 224)
    path = bases.find_weights_path(base)
    attached = inside / f"{layout[1]}any-name" / "deep" / path.name
    attached.parent.mkdir(parents=True)
    attached.write_bytes(b"weights")
    bases.compute_weights_digest(base)
    assert path.read_bytes() == b"weights"


def test_outside_a_kernel_nothing_is_mounted(inside, monkeypatch):
    (inside / "a.h5").write_bytes(b"")
    (inside / "pets-slug").mkdir()
    assert list(inputs.find_files("a.h5")) and inputs.find_competition_folder("pets-slug")
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    assert not list(inputs.find_files("a.h5")) and inputs.find_competition_folder("pets-slug") is None


@pytest.mark.parametrize("members", [["train/9.jpg"], ["train/deep/9.jpg"], ["8.jpg", "9.jpg"], ["train/1.jpg"]])
def test_an_archive_beside_a_folder_of_its_name_does_not_write_into_what_is_mounted(inside, members):
    folder = inside / "pets-slug"
    (folder / "train" / "deep").mkdir(parents=True)
    (folder / "train" / "1.jpg").write_bytes(b"a")
    (folder / "train.zip").write_bytes(zipped(dict.fromkeys(members, b"b")))
    before = sorted(folder.rglob("*"))
    with pytest.raises(StarshiftError, match=r"'train.*' is a link that leaves the folder"):
        fetch_data(PETS)
    assert sorted(folder.rglob("*")) == before and (folder / "train" / "1.jpg").read_bytes() == b"a"
    assert not list(paths.competition_folder("pets").glob("*"))


def test_an_archive_does_not_write_through_a_link_to_nowhere(inside, tmp_path):
    folder = inside / "pets-slug"
    folder.mkdir()
    (folder / "labels.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "labels.csv.zip").write_bytes(zipped({"labels.csv": b"id\n"}))
    with pytest.raises(StarshiftError, match=r"'labels\.csv' is there already"):
        fetch_data(PETS)
    assert not (tmp_path / "outside.csv").exists()


def test_all_archives_of_a_mount_have_one_budget(inside, monkeypatch):
    monkeypatch.setattr(archives, "MIN_BYTE_LIMIT", 1 << 20)
    folder = inside / "pets-slug"
    folder.mkdir()
    for number in range(4):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{number}/zeros", bytes(600_000))
        (folder / f"{number}.zip").write_bytes(data.getvalue())
    with pytest.raises(StarshiftError, match="times its size"):
        fetch_data(PETS)
    assert not list(paths.competition_folder("pets").glob("*"))
