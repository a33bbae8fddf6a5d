"""A session at its limit: Kaggle's clock starts first, so the run is ended and packed before it; or Kaggle kills it."""

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time

import pytest

from pipeline.config import RunOptions
from pipeline.errors import StarshiftError
from pipeline.kernels import bundle, planning, records, result_download, run
from pipeline.kernels.result_archive import ARCHIVE_NAME, load_archive
from pipeline.kernels.run import KernelOptions
from tests.kernels.conftest import PETS

pytestmark = pytest.mark.filterwarnings("ignore")
OPTIONS = RunOptions(engine="keras")
SESSION, MARGIN = 9.0, 5.0
"""Seconds that stand for hours."""
PACKING = b"""
pack_at_once = write_archive


def write_archive(*arguments):
    import time

    time.sleep(1)
    pack_at_once(*arguments)
"""
"""At the end of result_archive.py: packing takes a second, as that of gigabytes takes minutes."""
RUN = """
import json, os, pathlib, time
folder = pathlib.Path(os.environ["STARSHIFT_HOME"]) / "data/runs/pets/20261125-000000-features-0"
folder.mkdir(parents=True, exist_ok=True)
with (folder / "steps.txt").open("a") as file:
    file.write("step\\n")
print("working", flush=True)
while not pathlib.Path(os.environ["STARSHIFT_KAGGLE_ROOT"], "finish").exists():
    time.sleep(0.02)
results = {"metric": "binary_log_loss", "score": 0.25, "spread": 0.0, "chance": 0.7, "folds": [0.25]}
(folder / "metrics.json").write_text(json.dumps(results))
"""
"""In place of a run: each session does a step more, and waits until it may finish."""


@pytest.fixture(autouse=True)
def short(kernels, monkeypatch):
    """Sessions of seconds, on a server that runs what is pushed and keeps the time."""
    sources = {**bundle.read_sources(), "pipeline/kernels/session_run.py": RUN.encode()}
    sources["pipeline/kernels/result_archive.py"] += PACKING
    watch = sources["pipeline/kernels/session.py"].replace(b"PROGRESS_SECONDS = 10.0", b"PROGRESS_SECONDS = 0.1")
    sources["pipeline/kernels/session.py"] = watch
    monkeypatch.setattr(bundle, "read_sources", lambda: sources)
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: SESSION / 3600)
    monkeypatch.setattr(planning, "MARGIN_HOURS", MARGIN / 3600)
    monkeypatch.setattr(result_download, "write_report", lambda *_: None)
    kernels.python = sys.executable


@pytest.fixture
def long(monkeypatch):
    """Sessions that end in another way than by their clock; packing is quick."""
    sources = bundle.read_sources()
    sources["pipeline/kernels/result_archive.py"] = sources["pipeline/kernels/result_archive.py"].removesuffix(PACKING)
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: 60 / 3600)


def steps_in(path):
    """The steps in a session's archive, or in a run's folder."""
    name = "data/runs/pets/20261125-000000-features-0/steps.txt"
    if path.is_dir():
        return (path / "steps.txt").read_text().count("step")
    return load_archive(path).read(name).decode().count("step") if path.exists() else 0


def control(kernels, *plan):
    """What becomes of each session once it has packed a step more.

    Args:
        plan: `kill` is Kaggle's way, `cancel` the user's, `stop` the session's own, `finish` the run's; `wait` leaves
            it alone.
    """

    def control_sessions():
        steps = 0
        for number, ending in enumerate(plan, 1):
            while len(kernels.sessions) < number or steps_in(kernels.latest().working / ARCHIVE_NAME) <= steps:
                time.sleep(0.02)
            session = kernels.latest()
            if ending == "finish":
                (session.root / "finish").touch()
            steps += ending != "kill" or kernels.clock.keeps
            if ending == "cancel":
                session.end_as = "CANCEL_ACKNOWLEDGED"
            if ending in ("stop", "cancel"):
                os.kill(session.process.pid, signal.SIGTERM)
            if ending == "kill":
                session.expire(kernels.clock.keeps)

    threading.Thread(target=control_sessions, daemon=True).start()


def states():
    return [one.state for one in records.list_records("pets")]


def test_a_killed_session_whose_files_are_kept_is_gone_on_with(kernels, kaggle, long):
    kernels.clock.keeps, kernels.layouts = True, ("new", "old", "other")
    control(kernels, "kill", "kill", "finish")
    assert steps_in(run.run_on_kaggle(PETS, OPTIONS, KernelOptions())) == 3
    assert states() == ["killed", "killed", "complete"]
    first, second, third = (body for name, body in kaggle.asked if name == "SaveKernel")
    assert second["kernelDataSources"] == [first["slug"]]
    assert third["kernelDataSources"] == [second["slug"], first["slug"]]


def test_of_a_killed_session_whose_files_are_lost_the_next_one_goes_on_from_the_one_before(kernels, long):
    control(kernels, "stop", "kill", "finish")
    assert steps_in(run.run_on_kaggle(PETS, OPTIONS, KernelOptions())) == 2
    assert states() == ["interrupted", "killed", "complete"]


@pytest.mark.parametrize("state", ["killed", "interrupted"])
def test_a_killed_session_that_cannot_be_attached_is_done_without_and_another_cannot_be(kernels, state):
    kernels.python, kernels.clock.attaches = None, False
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False))
    kernels.latest().expire(keeps=True)
    records.list_records("pets")[-1].save(state=state, summary={"progress": "1", "order": "it", "took": 1.0})
    with (
        contextlib.nullcontext() if state == "killed" else pytest.raises(StarshiftError, match="kernel sources: tester")
    ):
        run.resume_run(PETS, wait=False)
    assert states()[1] == ("pushed" if state == "killed" else "failed")


def test_all_sessions_of_a_run_have_the_image_of_the_first_one(kernels, kaggle):
    kernels.python = None
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False))
    kernels.image = "images/python@sha256:2"
    for number in range(3):
        records.list_records("pets")[-1].save(state="interrupted", summary={"progress": f"{number}", "order": "it"})
        run.resume_run(PETS, wait=False)
    images = [body.get("dockerImage") for name, body in kaggle.asked if name == "SaveKernel"]
    assert images == [None, *["images/python@sha256:1"] * 3]


def test_the_next_session_asks_for_no_more_time_than_kaggle_gave_the_killed_one(kernels, kaggle, monkeypatch):
    kernels.python = None
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: 9.0)
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False))
    records.list_records("pets")[-1].save(state="killed", summary={"progress": "", "took": 6 * 3600.0})
    run.resume_run(PETS, wait=False)
    asked = [body["sessionTimeoutSeconds"] for name, body in kaggle.asked if name == "SaveKernel"]
    assert asked == [9 * 3600, 6 * 3600]


def test_an_image_that_is_not_told_does_not_keep_a_run_from_going_on(kernels, kaggle, caplog):
    kernels.python = None
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False))
    records.list_records("pets")[-1].save(state="interrupted", summary={"progress": "1", "order": "it"})
    kaggle.faults["GetKernel", "kernel"] = 1
    run.resume_run(PETS, wait=False)
    assert kaggle.count("SaveKernel") == 2 and "may have another image" in caplog.text


def test_a_quota_that_runs_out_kills_the_session_and_the_run_goes_on_in_the_next_week(kernels, long):
    control(kernels, "wait", "finish")
    kernels.clock.keeps, kernels.used = True, 30.0 - 4 / 3600
    with pytest.raises(StarshiftError, match=r"refuses the kernel(.|\n)*weekly GPU quota"):
        run.run_on_kaggle(PETS, OPTIONS, KernelOptions())
    assert states() == ["killed", "refused"]
    kernels.used = 0.0
    assert steps_in(run.resume_run(PETS)) == 2


def test_a_run_longer_than_its_session_is_packed_before_kaggle_ends_it_and_goes_on_in_the_next(kernels):
    kernels.clock.queue, kernels.clock.startup = 0.2, 1.0
    control(kernels, "wait", "finish")
    folder = run.run_on_kaggle(PETS, OPTIONS, KernelOptions())
    assert states() == ["interrupted", "complete"] and steps_in(folder) == 2
    assert not any(session.failure for (session,) in kernels.sessions.values())


def test_without_a_margin_all_of_a_session_is_lost_and_two_such_sessions_are_enough(kernels, monkeypatch, caplog):
    monkeypatch.setattr(planning, "MARGIN_HOURS", 0.0)
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: 2 / 3600)
    with pytest.raises(
        StarshiftError, match=r"came no further(.|\n)*killed(.|\n)*invoke kernel --comp pets tries again"
    ):
        run.run_on_kaggle(PETS, OPTIONS, KernelOptions())
    assert states() == ["killed", "killed"] and "Timeout exceeded); what it was doing is lost" in caplog.text
    kernels.python = None
    assert run.resume_run(PETS, wait=False) is None and len(kernels.sessions) == 3


def test_kaggle_the_record_and_the_session_are_told_times_that_agree(kernels, kaggle):
    kernels.python = None
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False))
    body = next(body for name, body in kaggle.asked if name == "SaveKernel")
    told = json.loads(json.loads(re.search("^SESSION = (.*)$", body["text"], re.MULTILINE)[1]))
    assert body["sessionTimeoutSeconds"] == records.list_records("pets")[0].seconds == SESSION
    assert told["seconds"] == SESSION - MARGIN


def test_a_session_that_is_asked_to_end_packs_what_it_has_and_no_other_is_begun(kernels, long):
    control(kernels, "cancel")
    with pytest.raises(StarshiftError, match=r"stopped on Kaggle(.|\n)*invoke kernel --comp pets goes on"):
        run.run_on_kaggle(PETS, OPTIONS, KernelOptions())
    assert states() == ["interrupted"] and steps_in(records.list_records("pets")[0].run_folder) == 1
    assert run.resume_run(PETS, wait=False) is None and len(kernels.sessions) == 2


def test_a_record_of_an_earlier_push_goes_on_without_its_dataset_s_version_and_with_a_margin(kernels, kaggle):
    kernels.python = None
    kernels.stored.put("me/weights", {"a.h5": b"a"})
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False, attach=("me/weights",)))
    path = records.list_records("pets")[0].path
    record = json.loads(path.read_text())
    record |= {"seconds": 41400.0, "state": "interrupted", "words": {"progress": "0"}}
    record["metadata"]["dataset_sources"] = ["me/weights/3"]
    path.write_text(json.dumps(record))
    run.resume_run(PETS, wait=False)
    body = [body for name, body in kaggle.asked if name == "SaveKernel"][1]
    assert body["datasetDataSources"] == ["me/weights"] and body["sessionTimeoutSeconds"] == SESSION
    assert f'\\"seconds\\": {SESSION - MARGIN}' in body["text"]
