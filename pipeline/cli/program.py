"""The command line as a whole: `starshift` of an installed copy, and the tasks of `invoke` in a clone (tasks.py)."""

import os
import signal
from types import FrameType

from invoke import Collection, Program, Task


def answer_interrupts() -> None:
    """Answers Ctrl-C until a task runs: an import that is interrupted would end in a traceback, or in exit code 1."""

    def interrupt(*_: int | FrameType | None) -> None:
        os.write(2, b"interrupted\n")
        os._exit(130)

    signal.signal(signal.SIGINT, interrupt)


def build_namespace() -> Collection:
    """Collects all tasks."""
    from pipeline.cli import ensemble, experiments, inspect, kaggle, labels, learnware, run, runs, serve

    modules = (run, ensemble, experiments, inspect, kaggle, serve)
    tasks = {name: task for module in modules for name, task in vars(module).items() if isinstance(task, Task)}
    return Collection(learnware.predict, *tasks.values(), labels.labels, learnware.store, runs.runs)


def main() -> None:
    """Runs `starshift`; messages that name a command of invoke name it instead."""
    answer_interrupts()
    from pipeline.paths import find_version
    from pipeline.terminal import PROGRAM_VARIABLE

    os.environ[PROGRAM_VARIABLE] = "starshift"
    Program(name="starshift", binary="starshift", version=find_version(), namespace=build_namespace()).run()
