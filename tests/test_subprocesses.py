"""Work in a process of its own: a user's mistake there is raised here, and anything else is told as it was said."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline import subprocesses
from pipeline.errors import StarshiftError
from pipeline.paths import REPOSITORY


def mistaken():
    raise StarshiftError("No such thing.", expected="one", received="none", remedy="make one")


def test_a_mistake_is_told_by_the_last_line_and_how_the_process_ends(capsys):
    print("something else first")
    assert subprocesses.run_main(mistaken) == subprocesses.USER_ERROR_CODE
    assert capsys.readouterr().out.splitlines()[-1] == '["No such thing.", "one", "none", "make one"]'
    assert subprocesses.run_main(lambda: None) == 0


def test_a_mistake_in_the_process_is_raised_here(tmp_path, monkeypatch):
    (tmp_path / "working.py").write_text(
        "import sys\nfrom pipeline import subprocesses\nfrom tests.test_subprocesses import mistaken\n"
        'print("[not the last line]")\nsys.exit(subprocesses.run_main(mistaken))\n'
    )
    found = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    monkeypatch.setattr(subprocesses.paths, "build_child_environment", lambda: found)
    with pytest.raises(StarshiftError, match=r"No such thing\.\n(.|\n)*remedy: make one"):
        subprocesses.run_module("working", failed="It failed.")


def test_what_is_no_mistake_of_the_users_is_told_with_what_the_process_said_last():
    with pytest.raises(StarshiftError, match=r"It failed\.(.|\n)*No module named pipeline.models.nowhere(.|\n)*try"):
        subprocesses.run_module("pipeline.models.nowhere", failed="It failed.", remedy="try again")


DEAF = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1); print('went on')"


def test_a_process_of_ours_does_not_hear_ctrl_c():
    assert subprocesses.run_command([sys.executable, "-c", DEAF], os.environ).stdout == "went on\n"


def test_ctrl_c_that_is_pressed_while_a_process_is_started_is_not_lost():
    with pytest.raises(KeyboardInterrupt), subprocesses.block_interrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_wait_ends_the_process(monkeypatch):
    begun = []

    def interrupted(process):
        begun.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        subprocesses.run_command([sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
    assert begun[0].returncode == -signal.SIGKILL


def run_code(code):
    """Returns the exit status and what is on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=subprocesses.paths.build_child_environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_ctrl_c_before_a_task_runs_is_answered_without_a_traceback():
    assert run_code("import os, signal, tasks; os.kill(os.getpid(), signal.SIGINT)") == (130, "interrupted\n")


CLEANING_UP = """
from pipeline.cli.common import handle_errors
with handle_errors():
    try:
        raise KeyboardInterrupt
    finally:
        raise AttributeError("as tqdm does if its lock is not there yet")
"""


def test_an_error_of_a_library_that_cleans_up_after_ctrl_c_is_answered_as_ctrl_c():
    assert run_code(CLEANING_UP) == (130, "interrupted; the same command goes on from here\n")


def ended_by_ctrl_c(process, ready, limit=60.0):
    """Sends SIGINT to all processes of a command, as a terminal does, once it is ready. Returns what it printed."""
    end = time.monotonic() + limit
    while not ready() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=30)[0]


def test_ctrl_c_while_a_process_of_ours_imports_is_answered_by_one_line(mine):
    def importing():
        """Whether the process that builds the live model is there."""
        listed = subprocess.run(
            ["ps", "-o", "args=", "-g", str(process.pid)], capture_output=True, text=True, check=False
        )
        return "pipeline.training.export" in listed.stdout

    command = [sys.executable, "-m", "invoke", "run", "--comp", mine, "--engine", "keras"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        output = ended_by_ctrl_c(process, importing)
    assert process.returncode == 130 and output.splitlines()[-1].startswith("interrupted"), output
    assert "Traceback" not in output
