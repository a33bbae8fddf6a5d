"""Downloads through the real client from a server on loopback: resume, faults, markers, and nothing half-unpacked."""

import contextlib
import hashlib
import io
import os
import shutil
import zipfile
from collections import namedtuple

import pytest

from pipeline import paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.files import hash_file
from pipeline.kaggle import download
from pipeline.kaggle.download import fetch_data, format_status
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions

COMPETITION = Competition(name="pets", slug="pets-slug")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("quick")]


@pytest.fixture
def bundles(tmp_path):
    folder = tmp_path / "bundles"
    folder.mkdir()
    with zipfile.ZipFile(folder / "pets-slug.zip", "w") as archive:
        for number in range(40):
            archive.writestr(f"train/{number}.jpg", hashlib.sha256(str(number).encode()).digest() * 2000)
        archive.writestr("labels.csv", "id,label\n")
    return folder


@pytest.fixture
def kaggle(kaggle, bundles):
    Competitions(kaggle, Storage(kaggle), bundles)
    return kaggle


def leftovers():
    folder = paths.competition_folder("pets")
    return [path.name for path in folder.glob("*") if path.name in ("raw", "raw.partial", "complete.json")]


def test_a_download_is_unpacked_marked_and_not_asked_for_again(kaggle):
    raw = fetch_data(COMPETITION)
    assert len(list((raw / "train").iterdir())) == 40 and format_status(COMPETITION).startswith("ready (41 files")
    asked = len(kaggle.requests)
    assert fetch_data(COMPETITION) == raw and len(kaggle.requests) == asked
    assert not (paths.competition_folder("pets") / "download").exists()


def test_credentials_do_not_go_to_the_storage_and_nothing_leaves_the_machine(kaggle):
    fetch_data(COMPETITION)
    assert [kind for kind, _, _ in kaggle.requests].count("CONNECT") == 0
    assert all(text.startswith("Basic ") for kind, _, text in kaggle.requests if kind == "POST")


def test_a_broken_download_goes_on_where_it_stopped(kaggle):
    kaggle.faults["storage", "cut"] = 1
    raw = fetch_data(COMPETITION)
    ranges = [text for kind, _, text in kaggle.requests if kind == "GET"]
    assert ranges[0] == "" and ranges[1].startswith("bytes=")
    assert (raw / "train" / "7.jpg").read_bytes() == hashlib.sha256(b"7").digest() * 2000


def test_a_corrupted_archive_is_noticed_and_thrown_away(kaggle):
    kaggle.faults["storage", "corrupt"] = 1
    with pytest.raises(StarshiftError, match="damaged"):
        fetch_data(COMPETITION)
    assert leftovers() == []
    assert fetch_data(COMPETITION).is_dir()


def test_a_login_page_in_place_of_the_archive_is_noticed_and_thrown_away(kaggle):
    kaggle.faults["DownloadDataFiles", "html"] = 1
    with pytest.raises(StarshiftError, match="sent no archive"):
        fetch_data(COMPETITION)
    assert leftovers() == [] and not list((paths.competition_folder("pets") / "download").glob("*Service*"))
    assert fetch_data(COMPETITION).is_dir()


@pytest.mark.parametrize(
    ("fault", "words"),
    [("401", "stale or wrong"), ("rules", "pets-slug/rules"), ("429", "less often"), ("500", "server has a fault")],
)
def test_each_refusal_has_its_own_words_and_leaves_nothing(kaggle, fault, words):
    kaggle.faults["DownloadDataFiles", fault] = 99
    with pytest.raises(StarshiftError, match=words):
        fetch_data(COMPETITION)
    assert leftovers() == []


@pytest.mark.parametrize("fault", ["429", "500"])
def test_a_passing_fault_is_tried_again(kaggle, fault):
    kaggle.faults["DownloadDataFiles", fault] = 1
    assert fetch_data(COMPETITION).is_dir()


def test_a_wrong_slug_is_said_to_be_one(kaggle):
    with pytest.raises(StarshiftError, match="no competition 'pets-slugg'"):
        fetch_data(Competition(name="pets", slug="pets-slugg"))


def test_no_network_is_said_to_be_none(kaggle, monkeypatch):
    import kagglesdk.kaggle_env as env

    monkeypatch.setitem(env._env_to_endpoint, env.KaggleEnv.PROD, "http://127.0.0.1:9")
    with pytest.raises(StarshiftError, match="cannot be reached"):
        fetch_data(COMPETITION)


def test_missing_credentials_name_the_page_to_get_them_and_the_way_without(kaggle, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(StarshiftError, match=r"kaggle.com/settings(.|\n)*--bundle"):
        fetch_data(COMPETITION)


def test_a_full_disk_is_said_to_be_full_and_nothing_is_half_unpacked(kaggle, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 10))
    with pytest.raises(StarshiftError, match="disk is full"):
        fetch_data(COMPETITION)
    assert leftovers() == []


def test_a_bundle_by_hand_needs_no_network_and_stays(bundles):
    bundle = bundles / "pets-slug.zip"
    before = bundle.read_bytes()
    assert (fetch_data(COMPETITION, bundle=bundle) / "labels.csv").exists() and bundle.read_bytes() == before


def test_a_bundle_that_has_not_changed_is_not_read_again(bundles, monkeypatch):
    bundle = bundles / "pets-slug.zip"
    raw = fetch_data(COMPETITION, bundle=bundle)
    read = []
    monkeypatch.setattr(download, "hash_file", lambda path: read.append(path) or hash_file(path))
    assert fetch_data(COMPETITION, bundle=bundle) == raw and not read
    os.utime(bundle, ns=(1, 1))
    before = raw.stat().st_ino
    assert fetch_data(COMPETITION, bundle=bundle) == raw and read == [bundle] and raw.stat().st_ino == before
    bundle.write_bytes(bundle.read_bytes() + b"more")
    with contextlib.suppress(StarshiftError):
        fetch_data(COMPETITION, bundle=bundle)
    assert len(read) > 1


def test_force_replaces_the_data_only_by_whole_data(bundles):
    bundle = bundles / "pets-slug.zip"
    raw = fetch_data(COMPETITION, bundle=bundle)
    bad = bundles / "bad.zip"
    bad.write_bytes(bundle.read_bytes()[:5000])
    with pytest.raises(StarshiftError, match="damaged"):
        fetch_data(COMPETITION, bundle=bad, force=True)
    assert (raw / "labels.csv").exists() and format_status(COMPETITION).startswith("ready")


def inner(members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("...zip", inner([("folds-9-0.csv", b"bad"), ("b", b"bad")]))],
        [("labels.csv", b"right"), ("./labels.csv", b"wrong")],
        [("d/" * 2000 + "1.jpg", b"x")],
        [("a", b"x"), ("a.zip", inner([("a/1.jpg", b"x")]))],
    ],
    ids=["an archive of dots", "two spellings", "too deep", "a file and a folder"],
)
def test_a_refused_bundle_leaves_the_old_data_and_nothing_else(bundles, members):
    raw = fetch_data(COMPETITION, bundle=bundles / "pets-slug.zip")
    place = paths.competition_folder("pets")
    (place / "folds-5-0.csv").write_text("mine")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    (bundles / "bad.zip").write_bytes(inner(members))
    with pytest.raises(StarshiftError, match="is not unpacked"):
        fetch_data(COMPETITION, bundle=bundles / "bad.zip")
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert sorted(leftovers()) == ["complete.json", "raw"] and (raw / "labels.csv").read_text() == "id,label\n"


@pytest.fixture
def folder(tmp_path):
    """A bundle that somebody has unpacked, but for one archive in it."""
    place = tmp_path / "unpacked"
    (place / "train").mkdir(parents=True)
    (place / "train" / "1.jpg").write_bytes(b"a")
    with zipfile.ZipFile(place / "test.zip", "w") as archive:
        archive.writestr("test/1.jpg", b"b")
    return place


def test_a_folder_is_taken_as_a_bundle_and_stays_as_it_is(folder):
    raw = fetch_data(COMPETITION, bundle=folder)
    assert (raw / "train" / "1.jpg").read_bytes() == b"a" and (raw / "test" / "1.jpg").read_bytes() == b"b"
    assert sorted(path.name for path in folder.iterdir()) == ["test.zip", "train"]


def test_a_folder_that_is_the_same_is_not_taken_again_and_a_changed_one_is(folder):
    raw = fetch_data(COMPETITION, bundle=folder)
    (raw / "mark").touch()
    assert (fetch_data(COMPETITION, bundle=folder) / "mark").exists()
    (folder / "train" / "2.jpg").write_bytes(b"c")
    assert (fetch_data(COMPETITION, bundle=folder) / "train" / "2.jpg").exists() and not (raw / "mark").exists()
