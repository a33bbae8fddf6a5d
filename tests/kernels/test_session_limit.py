"""A session at its limit: Kaggle's clock starts first and keeps nothing, so the run is ended and packed before it."""

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
from pipeline.kernels import bundle, planning, records, run
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
again = folder.exists()
folder.mkdir(parents=True, exist_ok=True)
(folder / "note.txt").write_text("whole" if again else "half")
print("working", flush=True)
if not again:
    time.sleep(60)
results = {"metric": "binary_log_loss", "score": 0.25, "spread": 0.0, "chance": 0.7, "folds": [0.25]}
(folder / "metrics.json").write_text(json.dumps(results))
"""
"""In place of a run: the first session has no end, and the second one is quick."""


@pytest.fixture(autouse=True)
def short(kernels, monkeypatch):
    """Sessions of seconds, on a server that runs what is pushed and keeps the time."""
    sources = {**bundle.read_sources(), "pipeline/kernels/session_run.py": RUN.encode()}
    sources["pipeline/kernels/result_archive.py"] += PACKING
    monkeypatch.setattr(bundle, "read_sources", lambda: sources)
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: SESSION / 3600)
    monkeypatch.setattr(planning, "MARGIN_HOURS", MARGIN / 3600)
    kernels.python = sys.executable


def test_a_run_longer_than_its_session_is_packed_before_kaggle_ends_it_and_goes_on_in_the_next(kernels):
    folder = run.run_on_kaggle(PETS, OPTIONS, KernelOptions())
    assert [one.state for one in records.list_records("pets")] == ["interrupted", "complete"]
    assert (folder / "note.txt").read_text() == "whole"
    assert not any(session.failure for (session,) in kernels.sessions.values())


def test_without_a_margin_all_of_a_session_is_lost(kernels, monkeypatch):
    monkeypatch.setattr(planning, "MARGIN_HOURS", 0.0)
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: 2 / 3600)
    with pytest.raises(StarshiftError, match=r"has no results: it ended as ERROR Timeout exceeded"):
        run.run_on_kaggle(PETS, OPTIONS, KernelOptions())
    assert not list(kernels.latest().working.iterdir())


def test_kaggle_the_record_and_the_session_are_told_times_that_agree(kernels, kaggle):
    kernels.python = None
    run.run_on_kaggle(PETS, OPTIONS, KernelOptions(wait=False))
    body = next(body for name, body in kaggle.asked if name == "SaveKernel")
    told = json.loads(json.loads(re.search("^SESSION = (.*)$", body["text"], re.MULTILINE)[1]))
    assert body["sessionTimeoutSeconds"] == records.list_records("pets")[0].seconds == SESSION
    assert told["seconds"] == SESSION - MARGIN


def test_a_session_that_is_asked_to_end_packs_what_it_has_and_no_other_is_begun(kernels, monkeypatch):
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: 60 / 3600)

    def stop():
        while not kernels.sessions or not any("working" in event["data"] for event in kernels.latest().events):
            time.sleep(0.02)
        session = kernels.latest()
        session.end_as = "CANCEL_ACKNOWLEDGED"
        os.kill(session.process.pid, signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(StarshiftError, match=r"stopped on Kaggle(.|\n)*invoke kernel --comp pets goes on"):
        run.run_on_kaggle(PETS, OPTIONS, KernelOptions())
    assert [one.state for one in records.list_records("pets")] == ["interrupted"]
    assert (run.resume_run(PETS) / "note.txt").read_text() == "whole"


def test_a_record_of_an_earlier_push_goes_on_without_its_dataset_s_version_and_with_a_margin(kernels, kaggle, pets):
    kernels.python, kernels.datasets["me/weights"] = None, pets
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
