"""A session inside a Kaggle kernel: the run in a process of its own, watched, ended in time, packed for the way home.

    python -m pipeline.kernels.session ORDER.json SESSION

SESSION is JSON: number, seconds (from the session's start, see planning.compute_run_seconds), kernel, accelerator.
The run may be
killed at any moment and loses nothing that is whole; so ending it in time is all that a checkpoint takes, and the next
session goes on from this one's parcel.

How far a run is, and how fast, read from what lies in its home: no word is needed from the process that runs.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.kaggle import inputs
from pipeline.kernels import job, result_archive

MIN_SHARDS = 3
"""A rate needs as many: the first shard's time also holds what came before it."""


def format_progress(home: Path, competition: str) -> str:
    """How far a run is: rows in the caches, folds and epochs done."""
    rows = {kind: sum(len(shard["ids"]) for _, _, shard in _read_shards(home, kind)) for kind in ("pixels", "features")}
    said = [f"{rows['pixels']:,} pictures decoded", f"{rows['features']:,} rows of features"]
    folds = list((home / "data" / "runs" / competition).glob("*/folds/*.json"))
    done = [path for path in folds if path.suffixes == [".json"]]
    if folds:
        said.append(f"{len(done)} folds done")
    return ", ".join(said)


def compute_rates(home: Path) -> dict[str, float]:
    """Pictures a second of each store with several shards, by `pixels SIZE` or `BASE[@CUT] SIZE`.

    From the times at which the shards were written; a store that a session before had begun is left out.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for kind in ("pixels", "features"):
        stores: dict[Path, list[tuple[float, int]]] = defaultdict(list)
        for folder, written, shard in _read_shards(home, kind):
            stores[folder].append((written, len(shard["ids"])))
        for folder, shards in stores.items():
            shards.sort()
            seconds = shards[-1][0] - shards[0][0]
            if len(shards) >= MIN_SHARDS and seconds > 0:
                name = format_store_name(read_json(folder / "spec.json") or {})
                found[name].append(sum(rows for _, rows in shards[1:]) / seconds)
    return {name: round(max(several), 1) for name, several in found.items()}


def format_store_name(spec: dict[str, Any]) -> str:
    """The name of a store's rate."""
    if spec.get("kind") == "pixels":
        return f"pixels {spec['size']}"
    return f"{spec.get('base')}{'@' + spec['cut'] if spec.get('cut') else ''} {spec.get('size')}"


def _read_shards(home: Path, kind: str) -> Iterator[tuple[Path, float, dict[str, Any]]]:
    """The folder, the time and the sidecar of each shard."""
    for path in sorted((home / "data" / "cache" / kind).glob("*/*.json")):
        if path.name == "spec.json":
            continue
        try:
            yield path.parent, path.stat().st_mtime, json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


RUN_COMMAND = (sys.executable, "-m", "pipeline.kernels.session_run")
PROGRESS_SECONDS = 30.0
OUTPUT_GRACE = 10.0
"""Seconds after a run's end in which its output is still read; what outlives it may hold the pipe open."""
PROGRESS_PREFIX = "progress"
"""What a line begins with that says how far the run is."""


@dataclass
class RunProcess:
    """A process whose words are passed on and kept, and which is killed with all its children when its time is up.

    Args:
        command: to run.
        log: the file that keeps its words.
        seconds: from `started` on, in which the process has to end and its results have to be packed.
        environment: variables to add.
        started: time.monotonic() of the session's start.
    """

    command: list[str]
    log: Path
    seconds: float
    environment: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    late: bool = False
    packing: float = 0.0
    process: "subprocess.Popen[str] | None" = None

    def wait(self, competition: str) -> int:
        """Runs to the end. Returns the exit code."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",  # a name that is no UTF-8 must not end the session
            start_new_session=True,
            env={**os.environ, **self.environment},
        )
        reader = threading.Thread(target=self._pass_on, args=(self.process,), daemon=True)
        ended = threading.Event()
        reader.start()
        threading.Thread(target=self._watch, args=(competition, ended), daemon=True).start()
        code = self.process.wait()
        ended.set()
        reader.join(OUTPUT_GRACE)
        return code

    def stop(self) -> None:
        """Ends the process and its children now; where it has not begun, as soon as it does."""
        self.seconds = 0.0
        if self.process is not None and self.process.poll() is None:
            self.late = True
            _kill_tree(self.process.pid)

    @property
    def took(self) -> float:
        """Seconds since the session's start."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds until the process has to end, so that its results can be packed in time."""
        return self.seconds - self.packing - self.took

    def _pass_on(self, process: "subprocess.Popen[str]") -> None:
        """Prints what the process says, and keeps it."""
        assert process.stdout is not None
        with process.stdout, contextlib.suppress(OSError), self.log.open("a", encoding="utf-8") as file:
            for line in process.stdout:
                print(line, end="", flush=True)
                with contextlib.suppress(OSError):  # on a full disk the words are lost, and the run is packed
                    file.write(line)
                    file.flush()

    def _watch(self, competition: str, ended: threading.Event) -> None:
        """Says how far the run is, and ends it when its time is up."""
        while not ended.is_set():
            self._look(competition)
            if self.left <= 0:
                self.stop()
                return
            ended.wait(min(PROGRESS_SECONDS, self.left))

    def _look(self, competition: str) -> None:
        """Says how far the run is, and estimates what packing it would take now: results grow."""
        try:
            self.packing = result_archive.estimate_packing_seconds(
                result_archive.count_bytes(result_archive.list_result_files(paths.home_folder(), competition))
            )
            words = format_progress(paths.home_folder(), competition)
        except Exception as error:  # the run writes while it is looked at; without its watch it would not end in time
            words = f"not known: {error!r}"
        print(f"{PROGRESS_PREFIX} {self.took:7.0f} s  {words}", flush=True)


def _kill_tree(leader: int) -> None:
    """Kills a process that leads a session, all of the session, and descendants in sessions of their own."""
    below = list_descendants(leader)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for process in below:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def list_descendants(process: int) -> list[int]:
    """Lists the children of a process, theirs, and so on; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = path.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(after_name[1]), []).append(int(path.parent.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def restore_session(order: str) -> int:
    """Unpacks the parcel of the session before, where one is attached. Returns the number of its files."""
    for path in inputs.find_files(result_archive.ARCHIVE_NAME):
        before = result_archive.load_archive(path)
        if before.words["order"] == order:
            before.extract({name: paths.home_folder() / name for name in before.files})
            return len(before.files)
    return 0


def main(arguments: list[str], command: tuple[str, ...] = RUN_COMMAND) -> int:
    """Runs an order and packs the parcel. Returns 0 where the run is complete or can go on, 1 where it failed."""
    order, session = job.read_job(Path(arguments[0])), json.loads(arguments[1])
    name, home = order.competition.name, paths.home_folder()
    watched = RunProcess(
        command=[*command, arguments[0]],
        log=paths.runs_folder(name) / "session.log",
        seconds=session["seconds"],
        environment={"STARSHIFT_COMMIT": order.commit},
        started=float(os.environ.get("STARSHIFT_BEGUN") or time.monotonic()),
    )
    signal.signal(signal.SIGTERM, lambda *_: watched.stop())
    try:
        taken = restore_session(order.digest)
    except StarshiftError as error:
        print(f"warning: {error}\nstarting anew", flush=True)
        taken = 0
    print(f"session {session['number']} of {order.fingerprint[:16]}: {taken} files from the session before", flush=True)
    code = watched.wait(name)
    state = "complete" if code == 0 else "interrupted" if watched.late else "failed"
    said = {"state": state, "order": order.digest, "fingerprint": order.fingerprint, **session}
    said |= {"took": round(watched.took, 1), **_describe_session(home)}
    target = paths.kaggle_folder("working") / result_archive.ARCHIVE_NAME
    pack_results(target, home, name, said)
    print(f"{state} after {watched.took:.0f} s: packed {target.stat().st_size / 1e6:.1f} MB", flush=True)
    return 1 if state == "failed" else 0


def pack_results(target: Path, home: Path, competition: str, words: dict[str, Any]) -> None:
    """Packs the parcel; where that fails, without features: they are computed again, and the run is what counts."""
    files = result_archive.list_result_files(home, competition)
    try:
        result_archive.write_archive(target, home, files, words)
    except (StarshiftError, OSError) as error:
        print(f"warning: {error}\npacking again without features, which are computed again", flush=True)
        features = home / "data" / "cache"
        result_archive.write_archive(target, home, [path for path in files if not path.is_relative_to(features)], words)


def _describe_session(home: Path) -> dict[str, Any]:
    """Returns how fast the session was, and what it ran on."""
    from pipeline.runs import folder as runs

    try:
        versions = dict(runs.describe_environment(0, ""))["libraries"] | {"python": sys.version.split()[0]}
        return {"rates": compute_rates(home), "versions": versions}
    except Exception as error:  # nothing here is worth the results, which are not packed yet
        print(f"warning: speeds and versions are not known: {error!r}", flush=True)
        return {"rates": {}, "versions": {}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
