"""What was computed there lies here afterwards as if computed here, whole or not at all; nothing is overwritten."""

import json
import threading
import time

import numpy as np
import pytest

from pipeline import paths
from pipeline.config import Recipe, RunOptions
from pipeline.data.row_store import RowStore, compute_row_digest
from pipeline.errors import StarshiftError
from pipeline.kaggle.api_errors import KaggleError
from pipeline.kernels import bundle, records, result_archive, result_download, run
from pipeline.kernels.run import KernelOptions
from tests.kaggle.server import Kaggle
from tests.kernels.conftest import PETS

pytestmark = pytest.mark.filterwarnings("ignore")
OPTIONS = RunOptions(engine="keras")
RUN = "20261125-000000-features-{}"
SPEC = {"kind": "features", "base": "petite", "cut": None, "pooling": "avg", "size": 32}


class There:
    """Plays the sessions of a kernel: what each has done lies in its home, and is packed."""

    def __init__(self, kernels, folder):
        self.kernels, self.home = kernels, folder / "there"
        self.order = run.build_job(PETS, OPTIONS)
        self.run = self.home / "data" / "runs" / "pets" / RUN.format(self.order.fingerprint[:8])

    def work(self, *, score=None, rows=3, note=""):
        """Has a run with some files, and features."""
        self.run.mkdir(parents=True, exist_ok=True)
        (self.run / "config.json").write_text("{}")
        (self.run / "note.txt").write_text(note)
        (self.run / "submission.csv").write_text("id,label\na,0.5\n")
        if score is not None:
            results = {"metric": "binary_log_loss", "score": score, "spread": 0.0, "chance": 0.7, "folds": [score]}
            (self.run / "metrics.json").write_text(json.dumps(results))
        (self.run.parent / "session.log").write_text("words\n")
        store = RowStore(self.home / "data" / "cache" / "features", SPEC)
        values = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
        store.append([f"id{n}" for n in range(rows)], values, [compute_row_digest(row) for row in values])
        split = self.home / "data" / "competitions" / "pets" / "folds-3-seed0.csv"
        split.parent.mkdir(parents=True, exist_ok=True)
        split.write_text("id,fold\na,0\n")

    def end(self, state="complete", *, order=None, status="COMPLETE"):
        """Packs what lies there for the newest session, and ends it."""
        session = self.kernels.latest()
        digest = order or self.order.digest
        words = {
            "state": state,
            "order": digest,
            "took": 5.0,
            "rates": {"petite 32": 99.0},
            "accelerator": "NvidiaTeslaT4",
        }
        result_archive.write_archive(
            session.working / result_archive.ARCHIVE_NAME,
            self.home,
            result_archive.list_result_files(self.home, "pets"),
            words,
        )
        session.end(status)


@pytest.fixture
def there(kernels, tmp_path):
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False))
    return There(kernels, tmp_path)


def test_a_run_that_came_home_lies_where_runs_lie(there, home):
    there.work(score=0.25)
    there.end()
    folder = run.resume_run(PETS)
    assert folder == paths.runs_folder("pets") / there.run.name
    config = json.loads((folder / "config.json").read_text())
    assert config["fingerprint"] == there.order.fingerprint and config["competition"]["slug"] == "pets-slug"
    kernel = json.loads((folder / "kernel.json").read_text())
    assert kernel["accelerator"] == "NvidiaTeslaT4" and kernel["kernel"].startswith("tester/starshift-pets-")
    assert (folder / "session.log").read_text() == "words\n"
    assert (paths.submissions_folder("pets") / "latest.csv").read_text() == (folder / "submission.csv").read_text()
    store = RowStore(paths.cache_folder("features"), SPEC)
    assert store.read(["id2", "id0"])[:, 0].tolist() == [8.0, 0.0]
    assert (home / "data" / "competitions" / "pets" / "folds-3-seed0.csv").exists()
    assert records.list_records("pets")[0].state == "complete" and run.resume_run(PETS) is None


def test_the_result_is_found_on_a_later_page(there, kernels, kaggle):
    there.work(score=0.25)
    there.end()
    for number in range(7):
        (kernels.latest().working / f"another-{number}.txt").write_text("x")
    kernels.page = 3
    assert run.resume_run(PETS).exists() and kaggle.count("ListKernelSessionOutput") >= 3


def test_the_parcel_alone_is_fetched_and_of_this_very_version(there, kernels, kaggle):
    there.work(score=0.25)
    there.end()
    for name in (
        f"another-{result_archive.ARCHIVE_NAME}",
        f"{result_archive.ARCHIVE_NAME}.txt",
        f"below/{result_archive.ARCHIVE_NAME}",
    ):
        path = kernels.latest().working / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    run.resume_run(PETS)
    files = [place.partition("?")[0] for kind, place, _ in kaggle.requests if kind == "GET" and "/storage/" in place]
    assert files == [f"/storage/{kernels.latest().root.name}/{result_archive.ARCHIVE_NAME}"]
    assert [body["versionLabel"] for name, body in kaggle.asked if name == "ListKernelSessionOutput"] == ["v1"]


def test_a_download_that_breaks_off_goes_on_where_it_stood(there, kaggle, quick):
    there.work(score=0.25)
    (there.run / "model.keras").write_bytes(bytes(3 << 20))
    there.end()
    kaggle.faults["storage", "cut"] = 1
    run.resume_run(PETS)
    wanted = [wanted for kind, place, wanted in kaggle.requests if kind == "GET" and "/storage/" in place]
    assert wanted == ["", "bytes=1048576-"], "the client writes by the MiB"


def test_an_address_that_stays_refused_is_told_as_such_and_never_shown(there, kaggle, caplog, capfd):
    there.work(score=0.25)
    there.end()
    kaggle.faults["storage", "404"] = 99
    with pytest.raises(KaggleError, match="storage refuses") as caught:
        run.resume_run(PETS)
    assert caught.value.status == 404 and kaggle.count("ListKernelSessionOutput") == result_download.FETCH_TRIES
    assert "5ignature" not in f"{caught.value}{caplog.text}{capfd.readouterr().out}"


def test_a_storage_that_cannot_be_reached_is_told_without_its_address(there, monkeypatch, caplog, capfd):
    there.work(score=0.25)
    there.end()
    monkeypatch.setattr(Kaggle, "storage", "http://127.0.0.1:9")
    with pytest.raises(KaggleError, match="cannot be reached") as caught:
        run.resume_run(PETS)
    assert "5ignature" not in f"{caught.value}{caplog.text}{capfd.readouterr().out}"


def test_outputs_that_may_not_be_listed_are_asked_for_once(there, kaggle):
    there.work(score=0.25)
    there.end()
    kaggle.faults["ListKernelSessionOutput", "401"] = 1
    with pytest.raises(KaggleError, match=r"refuses the credentials(.|\n)*Unauthenticated") as caught:
        run.resume_run(PETS)
    assert kaggle.count("ListKernelSessionOutput") == 1 and "slug" not in str(caught.value)


@pytest.mark.parametrize("kind", ["html", "cut", "corrupt", "404", "500", "503", "reset"])
def test_a_fault_on_the_way_is_tried_again_and_never_taken_for_a_result(there, kaggle, kind, quick):
    there.work(score=0.25)
    there.end()
    kaggle.faults["storage", kind] = 1
    folder = run.resume_run(PETS)
    assert json.loads((folder / "metrics.json").read_text())["score"] == 0.25


@pytest.mark.parametrize("kind", ["html", "corrupt", "500"])
def test_a_fault_that_stays_leaves_nothing_and_can_be_tried_again(there, kaggle, kind, quick):
    there.work(score=0.25)
    there.end()
    kaggle.faults["storage", kind] = 99
    with pytest.raises(StarshiftError):
        run.resume_run(PETS)
    assert not paths.runs_folder("pets").exists() and records.find_unfinished("pets") is not None
    kaggle.faults.clear()
    assert run.resume_run(PETS).exists()


def test_results_of_another_order_are_refused(there):
    there.work(score=0.25)
    there.end(order="0" * 64)
    with pytest.raises(StarshiftError, match="answer another order"):
        run.resume_run(PETS)
    assert not paths.runs_folder("pets").exists()


def test_a_kernel_whose_run_never_began_has_failed(there, kernels):
    kernels.latest().say("no space left on device")
    kernels.latest().end("ERROR")
    with pytest.raises(
        StarshiftError, match=r"has no results: its run did not begin(.|\n)*ERROR(.|\n)*kaggle.com/code"
    ):
        run.resume_run(PETS)
    assert records.list_records("pets")[0].state == "failed"


def test_a_kernel_that_was_at_work_and_left_nothing_was_killed_and_another_one_begins_anew(there, kernels, monkeypatch):
    kernels.latest().say("progress 1 s  3 rows\n")
    kernels.latest().end("ERROR")
    monkeypatch.setattr(run, "follow_kernel", lambda *_: ("ERROR", "") if len(kernels.sessions) < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.resume_run(PETS)
    first, second = records.list_records("pets")
    assert (first.state, second.state, second.session) == ("killed", "pushed", 2)
    assert second.metadata["kernel_sources"] == []


def test_a_run_that_failed_there_comes_home_unfinished_and_says_where_to_look(there):
    there.work()
    there.end("failed", status="ERROR")
    with pytest.raises(StarshiftError, match=r"failed on Kaggle(.|\n)*session.log"):
        run.resume_run(PETS)
    folder = paths.runs_folder("pets") / there.run.name
    assert (folder / "note.txt").exists() and not (folder / "metrics.json").exists()


def test_a_finished_run_and_features_that_are_here_stay_as_they_are(there, home):
    there.work(score=0.25, note="theirs")
    there.end()
    mine = paths.runs_folder("pets") / there.run.name
    mine.mkdir(parents=True)
    (mine / "note.txt").write_text("mine")
    (mine / "metrics.json").write_text("{}")
    store = RowStore(paths.cache_folder("features"), SPEC)
    values = np.full((3, 4), 7, np.float32)
    store.append(["id1", "id7"], values[:2], [compute_row_digest(row) for row in values[:2]])
    folder = run.resume_run(PETS)
    assert (
        folder != mine and (mine / "note.txt").read_text() == "mine" and (folder / "note.txt").read_text() == "theirs"
    )
    merged = RowStore(paths.cache_folder("features"), SPEC)
    assert merged.read(["id0", "id1", "id2"])[:, 0].tolist() == [0.0, 7.0, 8.0]
    assert all(merged.intact(shard) for shard in merged.shards())


def test_features_whose_key_is_not_their_specification_s_are_left_out(there):
    there.work(score=0.25)
    folder = next((there.home / "data" / "cache" / "features").iterdir())
    folder.rename(folder.with_name("0123456789abcdef"))
    there.end()
    run.resume_run(PETS)
    assert not paths.cache_folder("features").exists()


def later(work):
    """Does what happens there while it is followed here."""
    threading.Thread(target=work, daemon=True).start()


def test_a_run_that_needs_two_sessions_goes_on_with_its_own_output_attached(there, kernels, kaggle, monkeypatch):
    there.work(note="half")
    there.end("interrupted")
    monkeypatch.setattr(
        bundle, "read_sources", lambda: {"pipeline/changed.py": b"the repository has changed meanwhile"}
    )
    monkeypatch.setattr(Recipe, "__post_init__", lambda _: pytest.fail("no order is read back"))

    def second():
        while len(kernels.sessions) < 2:
            time.sleep(0.02)
        there.work(score=0.25, note="whole")
        there.end()

    later(second)
    folder = run.resume_run(PETS)
    bodies = [body for name, body in kaggle.asked if name == "SaveKernel"]
    assert len(bodies) == 2 and bodies[1]["kernelDataSources"] == [bodies[0]["slug"]]
    payloads = [body["text"].partition("PAYLOAD = ")[2] for body in bodies]
    assert payloads[0] == payloads[1] and bodies[0]["slug"] != bodies[1]["slug"]
    assert [one.state for one in records.list_records("pets")] == ["interrupted", "complete"]
    assert (folder / "note.txt").read_text() == "whole" and len(list(paths.runs_folder("pets").iterdir())) == 1


def test_a_session_that_came_no_further_is_not_repeated_for_ever(there, kernels, kaggle):
    there.work(note="half")
    there.end("interrupted")

    def second():
        while len(kernels.sessions) < 2:
            time.sleep(0.02)
        there.end("interrupted")

    later(second)
    with pytest.raises(StarshiftError, match="came no further"):
        run.resume_run(PETS)
    assert kaggle.count("SaveKernel") == 2


def test_with_the_quota_used_up_the_checkpoint_is_here_and_goes_on_later(there, kernels, kaggle):
    there.work(note="half")
    there.end("interrupted")
    kernels.used = 30.0
    with pytest.raises(StarshiftError, match="quota is used up"):
        run.resume_run(PETS)
    assert (paths.runs_folder("pets") / there.run.name / "note.txt").read_text() == "half"
    kernels.used = 0.0

    def second():
        while len(kernels.sessions) < 2:
            time.sleep(0.02)
        there.work(score=0.25, note="whole")
        there.end()

    later(second)
    assert (run.resume_run(PETS) / "note.txt").read_text() == "whole"
