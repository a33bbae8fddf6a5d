"""Kills commands with SIGKILL at random moments, calls them again, and compares the end."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COMMANDS = {
    "features": ["run", "--set", "strategy=features"],
    "scratch": ["run", "--strategy", "scratch", "--set", "folds=2", "--epochs", "2"],
    "audit": ["audit"],
}


def prepare(place: Path) -> None:
    """Makes the competition and an undisturbed home for each command, and measures their time."""
    from tests.conftest import write_competition

    write_competition(place)
    seconds = {}
    for name in COMMANDS:
        started = time.monotonic()
        call(place, place / f"undisturbed-{name}", name).wait()
        seconds[name] = time.monotonic() - started
    (place / "seconds.json").write_text(json.dumps(seconds))


def call(place: Path, home: Path, name: str) -> subprocess.Popen:
    """Starts a command in a process group of its own."""
    environment = {**os.environ, "STARSHIFT_HOME": str(home)}
    first, *others = COMMANDS[name]
    command = [sys.executable, "-m", "invoke", first, "--comp", str(place / "mine.py"), *others]
    return subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def try_kill(place: Path, number: int) -> tuple[str, str]:
    """Kills a command and its workers, or one worker, then calls it again: right is the undisturbed result."""
    chance, home = random.Random(number), place / f"home-{number}"
    name = chance.choice(sorted(COMMANDS))
    seconds = json.loads((place / "seconds.json").read_text())[name]
    try:
        for _ in range(chance.choice([1, 1, 2])):
            process = call(place, home, name)
            time.sleep(chance.uniform(0.3, seconds))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        again = call(place, home, name)
        _, errors = again.communicate()
        if again.returncode:
            return ("wrong" if "Traceback" in errors else "clear"), f"{name}: {errors[-300:]}"
        return compare_runs(place / f"undisturbed-{name}", home, name)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def compare_runs(expected: Path, found: Path, name: str) -> tuple[str, str]:
    """Compares the out-of-fold predictions of the last finished run of two homes."""
    from pipeline.runs import folder as runs

    values = []
    for home in (expected, found):
        folders = sorted((home / "data" / "runs" / "mine").glob("*/metrics.json"))
        values.append(runs.read_predictions(folders[-1].parent / "oof.npz")[2] if folders else np.zeros(0))
    same = np.array_equal(*values, equal_nan=True)
    return ("right", "") if same else ("wrong", f"{name}: another result than undisturbed")


TRIALS = {"kills": try_kill}
