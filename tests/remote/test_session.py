"""A session inside a kernel: ended in time, packed whatever happened, and gone on with by the next one."""

import json
import sys

import pytest

from pipeline import paths
from pipeline.away import ordering
from pipeline.options import Options
from pipeline.remote import parcel, session
from tests.remote.conftest import PETS

RUN = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["STARSHIFT_HOME"]) / "data/runs/pets/20261125-000000-features-0"
folder.mkdir(parents=True, exist_ok=True)
steps = folder / "steps.txt"
steps.write_text((steps.read_text() if steps.exists() else "") + "step\\n")
print("working", os.environ["STARSHIFT_COMMIT"], flush=True)
{then}
"""


@pytest.fixture
def order(tmp_path, monkeypatch):
    monkeypatch.setenv("STARSHIFT_KAGGLE_ROOT", str(tmp_path / "kaggle"))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    path = tmp_path / "order.json"
    path.write_text(ordering.ordered(PETS, Options()).text())
    return path


def run(order, then, *, seconds=60.0, number=1):
    said = json.dumps({"number": number, "seconds": seconds, "kernel": "me/k", "accelerator": "cpu"})
    code = session.main([str(order), said], (sys.executable, "-c", RUN.format(then=then)))
    return code, parcel.opened(paths.kaggle("working") / parcel.NAME)


def test_a_run_that_ends_is_packed_with_its_words(order, capfd):
    code, found = run(order, "print('the end')")
    assert code == 0 and found.words["state"] == "complete" and found.words["kernel"] == "me/k"
    assert "the end" in found.read("data/runs/pets/session.log").decode() and "the end" in capfd.readouterr().out
    assert "numpy" in found.words["versions"] and found.words["took"] < 60


def test_a_run_that_fails_is_packed_all_the_same_and_the_kernel_fails(order):
    code, found = run(order, "raise SystemExit(3)")
    assert code == 1 and found.words["state"] == "failed"


def test_a_run_whose_time_is_up_is_ended_with_its_children_and_packed(order, monkeypatch, capfd):
    monkeypatch.setattr(session, "TELL_EVERY", 0.2)
    child = "import subprocess; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    code, found = run(order, child, seconds=1.5)
    assert code == 0 and found.words["state"] == "interrupted" and found.words["took"] < 20
    said = capfd.readouterr().out
    assert f"{session.PROGRESS} " in said and "rows of features" in said


def test_the_next_session_goes_on_from_the_parcel_that_is_attached(order, home, tmp_path, monkeypatch):
    run(order, "pass")
    place = tmp_path / "kaggle" / "input" / "notebooks" / "me" / "k"
    place.parent.mkdir(parents=True)
    (tmp_path / "kaggle" / "working").rename(place)
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "fresh"))
    _, found = run(order, "pass", number=2)
    assert found.read("data/runs/pets/20261125-000000-features-0/steps.txt") == b"step\nstep\n"


def test_the_parcel_of_another_order_or_a_damaged_one_is_left_alone(order, tmp_path, monkeypatch):
    run(order, "pass")
    place = tmp_path / "kaggle" / "input" / "k"
    place.parent.mkdir(parents=True)
    (tmp_path / "kaggle" / "working").rename(place)
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "fresh"))
    assert session.take_up("another order") == 0
    (place / parcel.NAME).write_bytes((place / parcel.NAME).read_bytes()[:-30])
    code, found = run(order, "pass")
    assert code == 0 and found.read("data/runs/pets/20261125-000000-features-0/steps.txt") == b"step\n"
