"""Tries to break the pipeline with damaged files, hostile inputs and kills, and counts how it ends.

    make torture                                    # every part for a few minutes, from the seed after the last one
    python -m benchmarks.torture --part rot --count 1000 --seed 0

Each trial has a number; what it does follows from that number alone. `right` is the undamaged result, `clear` an error
or a warning in words, `wrong` everything else: another result without a word, a traceback, a process that dies, more
than {memory} GB or {seconds} s. Counts add up in build/torture.json, so that a later call goes on where the last one
ended; docs/reliability.md has the table.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from benchmarks.torture.parts import PARTS, prepare, run_trial

MAX_GIGABYTES, MAX_SECONDS = 4.0, 60.0
__doc__ = __doc__.format(memory=MAX_GIGABYTES, seconds=MAX_SECONDS)
STATE = Path("build/torture.json")


class Pool:
    """One worker process, which is replaced where it dies, hangs or takes too much memory."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Starts a worker."""
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def call(self, function, *values, seconds: float = MAX_SECONDS) -> tuple[str, str]:
        """Calls a function there, and watches its memory and time."""
        future: Future = self.pool.submit(function, *values)
        reason: list[str] = []
        watch = threading.Thread(target=self._watch, args=(future, seconds, reason), daemon=True)
        watch.start()
        try:
            return future.result()
        except BrokenProcessPool:
            self.start()
            return "wrong", reason[0] if reason else "the process died"

    def _watch(self, future: Future, seconds: float, reason: list[str]) -> None:
        """Kills the worker where it takes too much memory, as Linux's /proc has it, or too long."""
        end = time.monotonic() + seconds
        while not future.done():
            for process in list((self.pool._processes or {}).values()):
                with contextlib.suppress(OSError, IndexError):
                    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                    held = pages * os.sysconf("SC_PAGE_SIZE") / 1e9
                    if held > MAX_GIGABYTES or time.monotonic() > end:
                        reason.append(f"{held:.1f} GB" if held > MAX_GIGABYTES else f"more than {seconds:.0f} s")
                        process.kill()
            time.sleep(0.05)


def run_part(part: str, first: int, count: int, minutes: float, place: Path) -> tuple[Counter, int]:
    """Runs trials of a part until the count or the time ends. Returns how they ended, and the next number."""
    outcomes, pool, number = Counter(), Pool(), first
    if failed := pool.call(prepare, part, str(place), seconds=900):
        raise SystemExit(f"{part} was not prepared: {failed[1]}")
    end = time.monotonic() + 60 * minutes
    while number < first + count and time.monotonic() < end:
        outcome, why = pool.call(run_trial, part, str(place), number)
        outcomes[outcome] += 1
        if outcome == "wrong":
            print(f"{part} {number}: {why}", flush=True)
        number += 1
    pool.pool.shutdown()
    return outcomes, number


def load_state() -> dict:
    """Loads what was counted before."""
    return json.loads(STATE.read_text()) if STATE.is_file() else {}


def main() -> None:
    """Runs the parts and prints the table of everything that was counted so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), action="append")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=3.0, help="of each part")
    parser.add_argument("--seed", type=int, help="number of the first trial; it counts apart from the state")
    flags = parser.parse_args()
    state, wrong = load_state(), 0
    for part in flags.part or PARTS:
        place = Path(tempfile.mkdtemp(prefix=f"torture-{part}-"))
        os.environ |= {"STARSHIFT_HOME": str(place / "home"), "KERAS_HOME": str(place / "keras")}
        known = state.setdefault(part, {"next": 0, "right": 0, "clear": 0, "wrong": 0})
        first = known["next"] if flags.seed is None else flags.seed
        outcomes, following = run_part(part, first, flags.count, flags.minutes, place)
        shutil.rmtree(place, ignore_errors=True)
        wrong += outcomes["wrong"]
        if flags.seed is None:
            known |= {name: known[name] + outcomes[name] for name in ("right", "clear", "wrong")} | {"next": following}
            STATE.parent.mkdir(exist_ok=True)
            STATE.write_text(json.dumps(state, indent=2) + "\n")
        print(f"{part:<12} {first} to {following - 1}: {dict(outcomes)}", flush=True)
    print("\n| part | what | tried | right | clear | wrong |\n|---|---|---|---|---|---|")
    for part, (_, what) in PARTS.items():
        if known := state.get(part):
            counts = [known[name] for name in ("right", "clear", "wrong")]
            print(f"| {part} | {what} | {sum(counts):,} | {' | '.join(f'{one:,}' for one in counts)} |")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
