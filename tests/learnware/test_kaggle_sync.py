"""A store as a Kaggle dataset, through the real client: sent whole, and what comes is checked like anything foreign."""

from types import SimpleNamespace

import pytest
from invoke import Context

from pipeline.cli import learnware
from pipeline.errors import StarshiftError
from pipeline.kaggle import retry
from pipeline.learnware import kaggle_sync, store
from tests.kaggle.conftest import kaggle, quick, user  # noqa: F401 - fixtures
from tests.kaggle.server import USER
from tests.kaggle.serving_datasets import Datasets
from tests.kaggle.serving_storage import Storage
from tests.learnware import making

REF = f"{USER}/starshift-store"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def world(kaggle, quick, monkeypatch):  # noqa: F811 - fixtures
    for name, value in (("FIRST_POLL", 0.01), ("MAX_POLL", 0.02), ("LOST_REPLY_SECONDS", 0.1)):
        monkeypatch.setattr(retry, name, value)
    place = Storage(kaggle)
    return SimpleNamespace(server=kaggle, storage=place, datasets=Datasets(kaggle, place))


def files(world):
    return world.datasets.stored[REF].versions[-1]


def test_a_store_goes_to_kaggle_and_comes_back_whole(world, shelf, tmp_path):
    assert kaggle_sync.push_store(store.open_store(shelf)) == f"{REF}/1"
    assert {"tiny.learnware", "store.json"} < set(files(world)) and world.datasets.stored[REF].private
    assert kaggle_sync.pull_store(tmp_path / "other") == ["tiny"]
    assert (tmp_path / "other" / "tiny.learnware").read_bytes() == (shelf / "tiny.learnware").read_bytes()
    assert store.verify_learnwares(store.open_store(tmp_path / "other")) == {"tiny": ""}
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["store.json", "tiny.learnware"]


def test_what_is_there_already_is_neither_sent_nor_taken_again(world, shelf):
    kaggle_sync.push_store(store.open_store(shelf))
    assert kaggle_sync.push_store(store.open_store(shelf)) == f"{REF}/1"
    assert kaggle_sync.pull_store(shelf) == []


def test_a_new_learnware_makes_a_new_version(world, shelf, model, caplog):
    kaggle_sync.push_store(store.open_store(shelf))
    making.made(shelf, model, "more")
    store.remove_learnware(store.open_store(shelf), "tiny")
    assert kaggle_sync.push_store(store.open_store(shelf)) == f"{REF}/2"
    assert "without tiny.learnware" in caplog.text and "more.learnware" in files(world)


def test_a_learnware_of_the_same_name_is_kept(world, shelf, tmp_path, caplog):
    caplog.set_level("INFO")
    kaggle_sync.push_store(store.open_store(shelf))
    other = tmp_path / "other"
    making.made(other, making.saved(making.network(seed=5)))
    before = (other / "tiny.learnware").read_bytes()
    assert kaggle_sync.pull_store(other) == [] and (other / "tiny.learnware").read_bytes() == before
    assert "another one, which is kept" in caplog.text


def test_what_comes_is_refused_like_any_foreign_archive_and_the_others_come(world, shelf, model, tmp_path, caplog):
    making.made(shelf, model, "good")
    making.made(shelf, model, "changed")
    kaggle_sync.push_store(store.open_store(shelf))
    stored = files(world)
    stored["tiny.learnware"] = stored["tiny.learnware"][:-100]
    evil = making.rewritten(shelf / "changed.learnware", {"model.keras": making.saved(making.network(seed=7))})
    stored["changed.learnware"] = evil.read_bytes()
    stored["evil.py"] = b"print()"
    stored["..learnware"] = b""
    assert kaggle_sync.pull_store(tmp_path / "other") == ["good"]
    assert "tiny.learnware stays out" in caplog.text and "changed.learnware stays out" in caplog.text
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["good.learnware", "store.json"]


def test_learnwares_of_another_probe_stay_out(world, shelf, tmp_path, caplog):
    kaggle_sync.push_store(store.open_store(shelf))
    other = store.Store(folder=tmp_path / "other", probe=store.parse_probe("petite"), gamma=1.0)
    store.write_store(other)
    assert kaggle_sync.pull_store(other.folder) == [] and "another probe" in caplog.text


def test_a_file_that_arrives_inside_a_zip_is_taken_out(world, shelf, tmp_path):
    kaggle_sync.push_store(store.open_store(shelf))
    world.datasets.wraps = True
    assert kaggle_sync.pull_store(tmp_path / "other") == ["tiny"]


def test_a_dataset_that_is_not_there_or_no_store_is_explained(world, tmp_path):
    with pytest.raises(StarshiftError, match="There is no dataset"):
        kaggle_sync.pull_store(tmp_path / "other")
    with pytest.raises(StarshiftError, match="There is no dataset"):
        kaggle_sync.pull_store(tmp_path / "other", f"{USER}/others")
    assert not (tmp_path / "other").exists()


def test_the_tasks_push_and_pull(world, shelf, tmp_path, capsys):
    learnware.push(Context(), store=str(shelf), dry_run=True)
    assert "would go into" in capsys.readouterr().out and REF not in world.datasets.stored
    learnware.push(Context(), store=str(shelf))
    learnware.pull(Context(), store=str(tmp_path / "other"), dataset=REF)
    assert "came     1 learnwares" in capsys.readouterr().out


def test_a_damaged_learnware_is_not_sent(world, shelf):
    data = (shelf / "tiny.learnware").read_bytes()
    (shelf / "tiny.learnware").write_bytes(data[:-100])
    with pytest.raises(StarshiftError, match="is refused"):
        kaggle_sync.push_store(store.open_store(shelf))
    assert REF not in world.datasets.stored
