"""A kernel is followed to its end, through whatever happens to the network, and goes on when nobody looks."""

import threading
import time

import pytest

from pipeline.config import RunOptions
from pipeline.errors import StarshiftError
from pipeline.kaggle import client, retry
from pipeline.kernels import records, run
from pipeline.kernels.follow import LogView, follow_kernel
from pipeline.kernels.run import KernelOptions
from tests.kernels.conftest import PETS

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def one(kernels):
    run.run_on_kaggle(PETS, RunOptions(engine="keras"), KernelOptions(wait=False))
    return records.list_records("pets")[-1]


def live(kernels, *, lines=30, status="COMPLETE"):
    """Lets the newest session speak and end, in its own time."""

    def speak():
        session = kernels.latest()
        for number in range(lines):
            session.say(f"line {number}\n" if number % 3 else f"progress 7 s  {number} rows\n")
            time.sleep(0.01)
        session.end(status)

    threading.Thread(target=speak, daemon=True).start()


def lines_of(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("line ")]


EXPECTED = [f"line {number}" for number in range(30) if number % 3]


def test_every_line_is_told_once_and_progress_is_one_line(kernels, one, capsys):
    live(kernels)
    assert follow_kernel(client.authenticate(), one, LogView(terminal=False)) == ("COMPLETE", "")
    assert lines_of(capsys) == EXPECTED


def test_a_terminal_gets_a_line_that_says_how_far_it_is(kernels, one, capsys):
    live(kernels)
    follow_kernel(client.authenticate(), one, LogView(terminal=True))
    assert "\r\x1b[Krunning 7 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "kind"),
    [("log", "cut"), ("log", "silence"), ("log", "500"), ("GetKernelSessionStatus", "500"),
     ("GetKernelSessionStatus", "reset"), ("GetKernelSessionStatus", "html"), ("GetKernelSessionStatus", "429")],
)  # fmt: skip
def test_faults_of_the_network_lose_no_line(kernels, one, kaggle, capsys, monkeypatch, quick, name, kind):
    monkeypatch.setattr(retry, "TIMEOUT", (5.0, 0.3))
    kaggle.faults[name, kind] = 6
    live(kernels)
    assert follow_kernel(client.authenticate(), one, LogView(terminal=False))[0] == "COMPLETE"
    assert lines_of(capsys) == EXPECTED and kaggle.faults[name, kind] < 6


def test_refused_credentials_end_the_following(kernels, one, kaggle):
    kaggle.faults["GetKernelSessionStatus", "401"] = 99
    with pytest.raises(StarshiftError, match="refuses the credentials"):
        follow_kernel(client.authenticate(), one, LogView(terminal=False))


def test_a_kernel_that_kaggle_shows_only_a_little_later_is_waited_for(kernels, one, kaggle):
    kaggle.faults["GetKernelSessionStatus", "kernel"] = 3
    live(kernels, lines=3)
    assert follow_kernel(client.authenticate(), one, LogView(terminal=False))[0] == "COMPLETE"
    kaggle.faults["GetKernelSessionStatus", "kernel"] = 99
    with pytest.raises(StarshiftError, match="knows no kernel"):
        follow_kernel(client.authenticate(), one, LogView(terminal=False))


def test_control_c_ends_the_following_and_not_the_kernel(kernels, one, monkeypatch, caplog):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "follow_kernel", pressed)
    with caplog.at_level("INFO"), pytest.raises(KeyboardInterrupt):
        run.resume_run(PETS)
    assert "goes on" in caplog.text and "invoke kernel --comp pets" in caplog.text
    assert records.find_unfinished("pets").ref == one.ref and kernels.latest().status == "RUNNING"


def test_without_waiting_only_the_status_is_said(kernels, one, caplog):
    with caplog.at_level("INFO"):
        assert run.resume_run(PETS, wait=False) is None
    assert "running" in caplog.text and records.find_unfinished("pets") is not None
