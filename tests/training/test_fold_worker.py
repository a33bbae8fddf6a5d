"""The process of a fold, and who it lives with."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

from pipeline import paths
from pipeline.training import fold_job

CHILD = """
import sys, time
from pipeline.subprocesses import exit_with_parent
exit_with_parent(int(sys.argv[1]), 0.05)
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())])
print(child.pid, flush=True)
time.sleep(60)
"""


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    with contextlib.suppress(OSError), open(f"/proc/{number}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_fold_does_not_outlive_the_process_that_started_it():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=paths.build_child_environment(), stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.5)
        assert alive(child)
        parent.kill()
    limit = time.monotonic() + 20
    while alive(child) and time.monotonic() < limit:
        time.sleep(0.05)
    try:
        assert not alive(child)
    finally:
        with contextlib.suppress(OSError):
            os.kill(child, 9)


def test_a_fold_that_was_killed_is_said_to_have_been_where_the_signal_has_no_name(tmp_path, monkeypatch):
    """As on Windows, which has no SIGKILL."""
    monkeypatch.delattr(signal, "SIGKILL")
    job = SimpleNamespace(error_file=tmp_path / "fold0.error.json", title="fold 0")
    assert "memory ended" in str(fold_job._build_failure(job, -9)) and "exit code 1" in str(
        fold_job._build_failure(job, 1)
    )
