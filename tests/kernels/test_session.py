"""A session inside a kernel: ended in time, packed whatever happened, and gone on with by the next one."""

import json
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.config import RunOptions
from pipeline.kernels import result_archive, session
from pipeline.kernels.run import build_job
from tests.kernels.conftest import PETS

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
    path.write_text(build_job(PETS, RunOptions()).text())
    before = signal.getsignal(signal.SIGTERM)
    yield path
    signal.signal(signal.SIGTERM, before)


def run(order, then, *, seconds=60.0, number=1):
    said = json.dumps({"number": number, "seconds": seconds, "kernel": "me/k", "accelerator": "cpu"})
    code = session.main([str(order), said], (sys.executable, "-c", RUN.format(then=then)))
    return code, result_archive.load_archive(paths.kaggle_folder("working") / result_archive.ARCHIVE_NAME)


def test_a_run_that_ends_is_packed_with_its_words(order, capfd):
    code, found = run(order, "print('the end')")
    assert code == 0 and found.summary["state"] == "complete" and found.summary["kernel"] == "me/k"
    assert "the end" in found.read("data/runs/pets/session.log").decode() and "the end" in capfd.readouterr().out
    assert "numpy" in found.summary["versions"] and found.summary["took"] < 60


def test_a_run_that_fails_is_packed_all_the_same_and_the_kernel_fails(order):
    code, found = run(order, "raise SystemExit(3)")
    assert code == 1 and found.summary["state"] == "failed"


def test_a_run_whose_time_is_up_is_ended_with_its_children_and_packed(order, monkeypatch, capfd):
    monkeypatch.setattr(session, "PROGRESS_SECONDS", 0.2)
    child = "import subprocess; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    code, found = run(order, child, seconds=1.5)
    assert code == 0 and found.summary["state"] == "interrupted" and found.summary["took"] < 20
    said = capfd.readouterr().out
    assert f"{session.PROGRESS_PREFIX} " in said and "rows of features" in said


APART = """
import subprocess
code = "import os, time; print(os.getpid(), flush=True); time.sleep(8)"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True).wait()
"""


def test_a_grandchild_in_a_session_of_its_own_is_ended_too(order):
    _, found = run(order, APART, seconds=1.5)
    state = Path("/proc") / found.read("data/runs/pets/session.log").decode().split()[-1] / "stat"
    assert found.summary["state"] == "interrupted" and found.summary["took"] < 6
    assert not state.exists() or ") Z " in state.read_text()


def test_what_outlives_the_run_and_holds_its_output_open_does_not_keep_it_from_being_packed(order, monkeypatch):
    monkeypatch.setattr(session, "OUTPUT_GRACE", 0.3)
    orphan = "import subprocess; subprocess.Popen(['sleep', '8'], start_new_session=True)"
    started = time.monotonic()
    code, found = run(order, orphan)
    assert code == 0 and found.summary["state"] == "complete" and time.monotonic() - started < 6


def test_words_that_are_no_utf8_do_not_end_the_session(order):
    code, found = run(order, "sys.stdout.buffer.write(b'caf\\xe9\\n'); sys.stdout.flush(); print('on')")
    assert code == 0 and "caf\ufffd\non" in found.read("data/runs/pets/session.log").decode()


def test_the_time_before_the_watch_counts(order, monkeypatch):
    monkeypatch.setenv("STARSHIFT_BEGUN", str(time.monotonic() - 100))
    _, found = run(order, "time.sleep(60)", seconds=101)
    assert found.summary["state"] == "interrupted" and 100 < found.summary["took"] < 110


def test_a_larger_result_is_ended_earlier_because_packing_it_takes_longer(order, monkeypatch):
    monkeypatch.setattr(session, "PROGRESS_SECONDS", 0.1)
    monkeypatch.setattr(result_archive, "PACKING_RATE", 1e4)
    _, found = run(order, "(folder / 'model.keras').write_bytes(bytes(300_000)); time.sleep(60)", seconds=31.5)
    assert found.summary["state"] == "interrupted" and found.summary["took"] < 10


def test_a_home_that_cannot_be_read_does_not_keep_a_run_from_being_ended_in_time(order, home, monkeypatch, capfd):
    monkeypatch.setattr(session, "PROGRESS_SECONDS", 0.2)
    damaged = "cache = folder.parents[3] / 'data/cache/features/k'; cache.mkdir(parents=True); "
    damaged += "(cache / 'a.json').write_text('[]'); time.sleep(20)"
    _, found = run(order, damaged, seconds=1.5)
    assert found.summary["state"] == "interrupted" and found.summary["rates"] == {}
    assert "not known" in capfd.readouterr().out


def test_where_the_whole_parcel_has_no_room_the_run_is_packed_without_its_features(order, home, capfd):
    store = home / "data" / "cache" / "features" / "k"
    store.mkdir(parents=True)
    for name, data in (("spec.json", b'{"pooling": "avg"}'), ("a.json", b'{"ids": []}'), ("a.npy", bytes(3_000_000))):
        (store / name).write_bytes(data)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        code, found = run(order, "pass")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 0 and found.summary["state"] == "complete" and not found.below("data/cache")
    assert "without features" in capfd.readouterr().out


def test_the_next_session_goes_on_from_the_parcel_that_is_attached(order, home, tmp_path, monkeypatch):
    run(order, "pass")
    mount(tmp_path, "notebooks/me/k")
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "fresh"))
    _, found = run(order, "pass", number=2)
    assert found.read("data/runs/pets/20261125-000000-features-0/steps.txt") == b"step\nstep\n"


def mount(tmp_path, name):
    """Mounts what the session before has packed."""
    place = tmp_path / "kaggle" / "input" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "kaggle" / "working").rename(place)
    return place / result_archive.ARCHIVE_NAME


def test_of_several_parcels_that_are_attached_the_latest_counts_and_a_damaged_one_does_not(order, tmp_path):
    for number, name in enumerate("acb", 1):
        run(order, "pass", number=number)
        path = mount(tmp_path, name)
    path.write_bytes(path.read_bytes()[:-30])
    _, found = run(order, "pass", number=4)
    assert found.read("data/runs/pets/20261125-000000-features-0/steps.txt") == b"step\n" * 3


def test_results_are_packed_while_the_run_goes_on_and_stand_for_a_session_that_is_killed(order, home, monkeypatch):
    monkeypatch.setattr(session, "PROGRESS_SECONDS", 0.05)
    target = paths.kaggle_folder("working") / result_archive.ARCHIVE_NAME
    wait = f"parcel = pathlib.Path({str(target)!r})\nwhile not parcel.exists(): time.sleep(0.01)\n"
    copy = "(folder / 'copy').write_bytes(parcel.read_bytes())"
    _, found = run(order, wait + copy)
    (home / "ahead").write_bytes(found.read("data/runs/pets/20261125-000000-features-0/copy"))
    ahead = result_archive.load_archive(home / "ahead")
    assert ahead.summary["state"] == "killed" and found.summary["state"] == "complete"
    assert ahead.below("data/runs/pets/20261125-000000-features-0")


def test_what_is_not_new_is_not_packed_again_nor_what_would_take_too_much_of_the_time(home, monkeypatch):
    path, packed = home / "data" / "runs" / "pets" / "steps.txt", []
    path.parent.mkdir(parents=True)
    packer = session.Packer(home / "it", home, {})
    monkeypatch.setattr(packer, "write", lambda *_: packed.append(time.sleep(0.01)))
    for number in range(3):
        path.write_text(f"{number}")
        packer.update([path], 1.0)
    assert len(packed) == 1, "which took 10 ms, so that the next one may begin 200 ms later"
    packer.due = 0.0
    packer.update([path], 1.0)
    packer.due = 0.0
    packer.update([path], 1.0)
    assert len(packed) == 2


@pytest.mark.parametrize("name", ["runs/pets/one/folds/fold0.json", "cache/features/k/spec.json"])
def test_the_end_of_a_stage_is_packed_at_once(home, monkeypatch, name):
    path, packed = home / "data" / name, []
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    packer = session.Packer(home / "it", home, {}, due=time.monotonic() + 60)
    monkeypatch.setattr(packer, "write", lambda *_: packed.append(1))
    packer.update([path], 1.0)
    assert packed


def test_a_line_of_the_run_s_is_followed_by_a_look_at_its_results(order, monkeypatch):
    monkeypatch.setattr(session, "PROGRESS_SECONDS", 60.0)
    monkeypatch.setattr(session, "WATCH_SECONDS", 0.05)
    parcel = paths.kaggle_folder("working") / result_archive.ARCHIVE_NAME
    _, found = run(order, f"while not pathlib.Path({str(parcel)!r}).exists(): time.sleep(0.01)", seconds=9.0)
    assert found.summary["state"] == "complete"


def test_the_parcel_of_another_order_or_a_damaged_one_is_left_alone(order, tmp_path, monkeypatch):
    run(order, "pass")
    path = mount(tmp_path, "k")
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "fresh"))
    assert session.restore_session("another order") == 0
    path.write_bytes(path.read_bytes()[:-30])
    code, found = run(order, "pass")
    assert code == 0 and found.read("data/runs/pets/20261125-000000-features-0/steps.txt") == b"step\n"
