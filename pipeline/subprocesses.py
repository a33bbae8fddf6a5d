"""Child processes: start them, pass Ctrl-C by, wait for them, and bring their errors home.

Most exist because they import TensorFlow. Ctrl-C reaches every process of a terminal; only the one that the user
started answers it and ends the others, which would each print a traceback.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import write_json

USER_ERROR_CODE = 3
"""Exit code of a process that ended with a user's error."""
KILLED_CODE = -9
"""Exit code of a process that was killed (SIGKILL, a name that Windows lacks)."""
PARENT_VARIABLE = "STARSHIFT_PARENT"
"""Environment variable with the number of the process that started a child."""


@contextlib.contextmanager
def block_interrupts() -> Iterator[None]:
    """Starts processes inside without Ctrl-C reaching them. One that is pressed meanwhile is not lost.

    A blocked signal stays pending here, and the mask is inherited by the child. Windows has no signal masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_process(command: Sequence[str], environment: Mapping[str, str], **streams: Any) -> subprocess.Popen[str]:
    """Starts a process that ignores Ctrl-C; with `run_main` in it, it ends soon after this one."""
    # JAX would take three quarters of a GPU's memory at once, for itself alone.
    defaults = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment = {**defaults, **environment, PARENT_VARIABLE: str(os.getpid())}
    with block_interrupts():
        return subprocess.Popen(command, env=environment, text=True, errors="replace", **streams)


def start_module(module: str, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
    """Starts a module of the pipeline, `python -m module arguments`; see `start_process`."""
    return start_process([sys.executable, "-m", module, *arguments], paths.build_child_environment(), **streams)


@contextlib.contextmanager
def kill_on_error(process: subprocess.Popen[str]) -> Iterator[None]:
    """Waits for a process at the end; an exception inside kills it."""
    with process:
        try:
            yield
        except BaseException:
            process.kill()
            raise


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, deaf to Ctrl-C, and captures what it prints; an exception here ends it."""
    process = start_process(command, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with kill_on_error(process):
        output, errors = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def run_module(module: str, *arguments: str, failed: str, remedy: str = "") -> None:
    """Runs a module of the pipeline, `python -m module arguments`, to its end.

    Args:
        module: its main calls `run_main`.
        arguments: of its command line.
        failed: the message of any error that is not a user's.
        remedy: of that error.

    Raises:
        StarshiftError: see `parse_output`.
    """
    done = run_command([sys.executable, "-m", module, *arguments], paths.build_child_environment())
    parse_output(done.returncode, done.stdout, done.stderr, failed=failed, remedy=remedy)


def parse_output(code: int, output: str, errors: str, *, failed: str, remedy: str = "") -> str:
    """Returns the last line that a process with `run_main` printed.

    Raises:
        StarshiftError: the user's error that ended the process, or `failed` with the end of its standard error.
    """
    last = output.splitlines()[-1] if output else ""
    if code == USER_ERROR_CODE:
        raise StarshiftError.from_json(json.loads(last))
    if code:
        raise StarshiftError(failed, received=errors.strip()[-2000:], remedy=remedy)
    return last


def run_main(work: Callable[[], None], error_file: Path | None = None) -> int:
    """Does the work of a child process and returns its exit code; the process ends soon after its parent.

    Args:
        work: raises a StarshiftError for a user's mistake.
        error_file: gets that error as JSON; None prints it as the last line.
    """
    exit_with_parent(int(os.environ.get(PARENT_VARIABLE) or os.getppid()))
    try:
        work()
    except StarshiftError as error:
        if error_file is None:
            print(json.dumps(error.to_json()), flush=True)
        else:
            write_json(error_file, error.to_json())
        return USER_ERROR_CODE
    return 0


def exit_with_parent(parent: int, every: float = 1.0) -> None:
    """Ends this process soon after its parent, so that a killed run leaves no process that still writes.

    Args:
        parent: number of the process that started this one.
        every: seconds between two checks.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
