"""A session inside a Kaggle kernel: the run in a process of its own, watched, ended in time, packed for the way home.

    python -m pipeline.remote.session ORDER.json SESSION

SESSION is JSON: number, seconds, kernel, accelerator. The run may be killed at any moment and loses nothing that is
whole; so ending it in time is all that a checkpoint takes, and the next session goes on from this one's parcel.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.kaggle import mounts
from pipeline.remote import order as orders
from pipeline.remote import parcel, progress

RUN = (sys.executable, "-m", "pipeline.away.aboard")
TELL_EVERY = 30.0
PROGRESS = "progress"
"""What a line begins with that says how far the run is."""


@dataclass
class Watched:
    """A process whose words are passed on and kept, and which is killed with all its children when its time is up.

    Args:
        command: to run.
        log: the file that keeps its words.
        seconds: that it may take.
        environment: variables to add.
    """

    command: list[str]
    log: Path
    seconds: float
    environment: dict[str, str] = field(default_factory=dict)
    late: bool = False
    started: float = field(default_factory=time.monotonic)

    def wait(self, competition: str) -> int:
        """Runs to the end. Returns the exit code."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        ended = threading.Event()
        with (
            self.log.open("a", encoding="utf-8") as file,
            subprocess.Popen(
                self.command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env={**os.environ, **self.environment},
            ) as process,
        ):
            threading.Thread(target=self._watch, args=(process, competition, ended), daemon=True).start()
            for line in process.stdout or ():
                print(line, end="", flush=True)
                file.write(line)
                file.flush()
        ended.set()
        return process.returncode

    def _watch(self, process: "subprocess.Popen[str]", competition: str, ended: threading.Event) -> None:
        """Says how far the run is, and ends it when its time is up."""
        while not ended.wait(max(0.0, min(TELL_EVERY, self.seconds - self.took))):
            if self.took >= self.seconds:
                self.late = True
                os.killpg(process.pid, signal.SIGKILL)
                return
            print(f"{PROGRESS} {self.took:7.0f} s  {progress.words(paths.home(), competition)}", flush=True)

    @property
    def took(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started


def take_up(order: str) -> int:
    """Unpacks the parcel of the session before, where one is attached. Returns the number of its files."""
    for path in mounts.files(parcel.NAME):
        before = parcel.opened(path)
        if before.words["order"] == order:
            before.extract({name: paths.home() / name for name in before.files})
            return len(before.files)
    return 0


def main(arguments: list[str], command: tuple[str, ...] = RUN) -> int:
    """Runs an order and packs the parcel. Returns 0 where the run is complete or can go on, 1 where it failed."""
    order, session = orders.read(Path(arguments[0])), json.loads(arguments[1])
    name, home = order.competition.name, paths.home()
    log = paths.runs_folder(name) / "session.log"
    try:
        taken = take_up(order.digest)
    except StarshiftError as error:
        print(f"warning: {error}\nstarting anew", flush=True)
        taken = 0
    print(f"session {session['number']} of {order.fingerprint[:16]}: {taken} files from the session before", flush=True)
    watched = Watched([*command, arguments[0]], log, session["seconds"], {"STARSHIFT_COMMIT": order.commit})
    code = watched.wait(name)
    state = "interrupted" if watched.late else "failed" if code else "complete"
    said = {"state": state, "order": order.digest, "fingerprint": order.fingerprint, **session}
    said |= {"took": round(watched.took, 1), "rates": progress.rates(home), "versions": _versions()}
    target = paths.kaggle("working") / parcel.NAME
    parcel.pack(target, home, parcel.contents(home, name), said)
    print(f"{state} after {watched.took:.0f} s: packed {target.stat().st_size / 1e6:.1f} MB", flush=True)
    return 1 if state == "failed" else 0


def _versions() -> dict[str, Any]:
    """What the session ran on."""
    from pipeline import runs

    return dict(runs.environment(0, ""))["libraries"] | {"python": sys.version.split()[0]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
