"""Work that imports TensorFlow, in a process of its own: what goes wrong there for a user's mistake is raised here."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from pipeline import paths
from pipeline.errors import StarshiftError

MISTAKE = 3
"""How a process ends whose last line is a user's error."""


def run(module: str, *arguments: str, failed: str, remedy: str = "") -> None:
    """Runs a module of ours, `python -m module arguments`, to its end.

    Args:
        module: its main is `working`.
        arguments: of its command line.
        failed: what to say where it fails otherwise.
        remedy: and what to do then.

    Raises:
        StarshiftError: the one that the module raised, or that it failed.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=paths.child_environment(), capture_output=True, text=True, check=False)
    if done.returncode == MISTAKE:
        raise StarshiftError.said(json.loads(done.stdout.splitlines()[-1]))
    if done.returncode:
        raise StarshiftError(failed, received=done.stderr.strip()[-2000:], remedy=remedy)


def working(work: Callable[[], None]) -> int:
    """Does the work of such a process, as long as the one that started it lives. Returns how it ends."""
    end_with(os.getppid())
    try:
        work()
    except StarshiftError as error:
        print(json.dumps(error.words), flush=True)
        return MISTAKE
    return 0


def end_with(parent: int, every: float = 1.0) -> None:
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
