"""Work in processes of its own, mostly because it imports TensorFlow: started, shielded from Ctrl-C, waited for, ended.

Ctrl-C reaches every process of a terminal. Only the one that the user started answers it; it ends the others, which
would each print a traceback of whatever they were importing.
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

from pipeline import paths
from pipeline.errors import StarshiftError

USER_ERROR_CODE = 3
"""The exit code of a process whose last line is a user's error, as JSON."""


@contextlib.contextmanager
def block_interrupts() -> Iterator[None]:
    """Makes processes that are started meanwhile deaf to Ctrl-C. One that is pressed meanwhile is not lost.

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


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, deaf to Ctrl-C, and captures what it prints; an exception here ends it."""
    with block_interrupts():
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    with process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def run_module(module: str, *arguments: str, failed: str, remedy: str = "") -> None:
    """Runs a module of ours, `python -m module arguments`, to its end.

    Args:
        module: its main calls `run_main`.
        arguments: of its command line.
        failed: the message where it fails otherwise.
        remedy: what to do then.

    Raises:
        StarshiftError: the one that the module raised, or that it failed.
    """
    done = run_command([sys.executable, "-m", module, *arguments], paths.build_child_environment())
    if done.returncode == USER_ERROR_CODE:
        raise StarshiftError.said(json.loads(done.stdout.splitlines()[-1]))
    if done.returncode:
        raise StarshiftError(failed, received=done.stderr.strip()[-2000:], remedy=remedy)


def run_main(work: Callable[[], None]) -> int:
    """Does the work of such a process, as long as the one that started it lives. Returns its exit code."""
    exit_with_parent(os.getppid())
    try:
        work()
    except StarshiftError as error:
        print(json.dumps(error.words), flush=True)
        return USER_ERROR_CODE
    return 0


def exit_with_parent(parent: int, every: float = 1.0) -> None:
    """Ends this process soon after the one that started it: killed, it must leave nobody who writes on in its place.

    Args:
        parent: number of the process that started this one.
        every: seconds between two looks.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
