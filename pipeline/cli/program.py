"""The command line as a whole: `starshift` of an installed copy, and the tasks of `invoke` in a clone (tasks.py)."""

import os
import re
import signal
from types import FrameType

from invoke import Collection, ParseError, Program, Task
from invoke.parser.parser import ParseMachine

from pipeline.errors import suggest_name


def answer_interrupts() -> None:
    """Answers Ctrl-C until a task runs: an import that is interrupted would end in a traceback, or in exit code 1."""

    def interrupt(*_: int | FrameType | None) -> None:
        os.write(2, b"interrupted\n")
        os._exit(130)

    signal.signal(signal.SIGINT, interrupt)


def build_namespace() -> Collection:
    """Collects all tasks."""
    from pipeline.cli import ensemble, experiments, inspect, kaggle, kernel, labels, learnware, run, runs, serve

    modules = (run, ensemble, experiments, inspect, kaggle, serve)
    tasks = {name: task for module in modules for name, task in vars(module).items() if isinstance(task, Task)}
    collections = (labels.labels, learnware.store, runs.runs, kernel.kernel, kernel.kaggle)
    return Collection(learnware.predict, *tasks.values(), *collections)


def suggest_on_typos() -> None:
    """Lets invoke's error for an unknown word name the most similar task or flag, which it does not (3.0)."""
    from pipeline.terminal import name_program

    def error(machine: ParseMachine, message: str) -> None:
        word = re.match(r"No idea what '(.+)' is!", message)
        if word is None:
            raise ParseError(message, machine.context)
        if word[1].startswith("-"):
            known, name = (machine.context.flags, machine.context.name or "") if machine.context else ({}, "")
            advice = suggest_name(word[1], known) or f"invoke --help {name}".strip() + " lists the flags"
        else:
            advice = suggest_name(word[1], machine.contexts) or "invoke --list shows the tasks"
        raise ParseError(f"{message} {name_program(advice)}", machine.context)

    ParseMachine.error = error  # type: ignore[method-assign, assignment]


def main() -> None:
    """Runs `starshift`; messages that name a command of invoke name it instead."""
    answer_interrupts()
    suggest_on_typos()
    from pipeline.paths import find_version
    from pipeline.terminal import PROGRAM_VARIABLE

    os.environ[PROGRAM_VARIABLE] = "starshift"
    Program(name="starshift", binary="starshift", version=find_version(), namespace=build_namespace()).run()
