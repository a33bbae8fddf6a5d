"""A session inside a Kaggle kernel: runs a job in its own process, ends it in time, and packs the results.

    python -m pipeline.kernels.session ORDER.json SESSION

SESSION is JSON: number, seconds (from the session's start, see planning.compute_run_seconds), kernel, accelerator.
The run may be killed at any moment and loses nothing that is whole; so ending it in time is all that a checkpoint
takes, and the next session resumes from this one's archive. Kaggle may end the session itself before that, and may keep
its files: so the archive is also written while the run goes on, whenever results are new. Progress and speed are read
from the home folder's files.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.kaggle import inputs
from pipeline.kernels import result_archive
from pipeline.kernels.job import read_job
from pipeline.subprocesses import start_process

STORE_KINDS = ("pixels", "features")
MIN_SHARDS = 3
"""A rate needs as many: the first shard's time includes what came before it."""


def format_progress(home: Path, competition: str) -> str:
    """Formats a run's progress: rows in the caches and folds done."""
    pixels, features = (sum(len(shard["ids"]) for _, _, shard in _read_shards(home, kind)) for kind in STORE_KINDS)
    progress = f"{pixels:,} pictures decoded, {features:,} rows of features"
    folds = list((home / "data" / "runs" / competition).glob("*/folds/*.json"))
    done = sum(map(_is_fold_result, folds))
    return f"{progress}, {done} folds done" if folds else progress


def _is_fold_result(path: Path) -> bool:
    return path.parent.name == "folds" and path.suffixes == [".json"]


def compute_rates(home: Path) -> dict[str, float]:
    """Returns pictures a second of each store with several shards, by `pixels SIZE` or `BASE[@CUT] SIZE`.

    From the times at which the shards were written; a store that an earlier session began is left out.
    """
    stores: dict[Path, list[tuple[float, int]]] = defaultdict(list)
    for folder, written, shard in (one for kind in STORE_KINDS for one in _read_shards(home, kind)):
        stores[folder].append((written, len(shard["ids"])))
    rates: dict[str, float] = {}
    for folder, shards in stores.items():
        shards.sort()
        seconds = shards[-1][0] - shards[0][0]
        if len(shards) >= MIN_SHARDS and seconds > 0:
            name = format_store_name(read_json(folder / "spec.json") or {})
            rate = sum(rows for _, rows in shards[1:]) / seconds
            rates[name] = max(rates.get(name, 0.0), round(rate, 1))
    return rates


def format_store_name(spec: dict[str, Any]) -> str:
    """Returns the name of a store's rate."""
    if spec.get("kind") == "pixels":
        return f"pixels {spec['size']}"
    return f"{spec.get('base')}{'@' + spec['cut'] if spec.get('cut') else ''} {spec.get('size')}"


def _read_shards(home: Path, kind: str) -> Iterator[tuple[Path, float, dict[str, Any]]]:
    """Yields the folder, the time and the sidecar of each shard."""
    for path in sorted((home / "data" / "cache" / kind).glob("*/*.json")):
        if path.name != "spec.json" and (shard := read_json(path)) is not None:
            yield path.parent, path.stat().st_mtime, shard


RUN_COMMAND = (sys.executable, "-m", "pipeline.kernels.session_run")
PROGRESS_SECONDS = 10.0
WATCH_SECONDS = 1.0
"""After which a line of the run's, which may end a stage, is noticed."""
MAX_PACKING_SHARE = 0.05
"""Of the session's time, for the archives that are written while a stage goes on."""
OUTPUT_GRACE = 10.0
"""Seconds after a run's end in which its output is still read; a surviving child may keep the pipe open."""
PROGRESS_PREFIX = "progress"
"""Begins a line about the run's progress."""


@dataclass
class RunProcess:
    """A process whose output is printed and logged, and which is killed with all its children when its time is up.

    Args:
        command: to run.
        log: the file for its output.
        seconds: from `started` on, in which the process has to end and its results have to be packed.
        environment: of the process, all of it.
        started: time.monotonic() of the session's start.
        save: is given the files of the results at each look, and the seconds since the session's start.
    """

    command: list[str]
    log: Path
    seconds: float
    environment: dict[str, str]
    started: float
    save: Callable[[list[Path], float], None]
    late: bool = False
    has_spoken: bool = False
    packing: float = 0.0
    process: "subprocess.Popen[str] | None" = None

    def wait(self, competition: str) -> int:
        """Runs to the end, or until the time is up, and prints progress. Returns the exit code."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = start_process(
            self.command, self.environment, **streams, encoding="utf-8", start_new_session=True
        )
        reader = threading.Thread(target=self._print_output, args=(self.process,), daemon=True)
        reader.start()
        due = 0.0
        while self.process.poll() is None:
            if self.has_spoken or time.monotonic() >= due:
                self.has_spoken, due = False, time.monotonic() + PROGRESS_SECONDS
                self._look(competition)
            if self.left <= 0:
                self.stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(None if self.late else min(WATCH_SECONDS, PROGRESS_SECONDS, self.left))
        reader.join(OUTPUT_GRACE)
        return self.process.returncode

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

    def _print_output(self, process: "subprocess.Popen[str]") -> None:
        """Prints and logs the process's output."""
        assert process.stdout is not None
        with process.stdout, contextlib.suppress(OSError), self.log.open("a", encoding="utf-8") as file:
            for line in process.stdout:
                print(line, end="", flush=True)
                self.has_spoken = True
                with contextlib.suppress(OSError):  # on a full disk the log is lost, and the run is packed
                    file.write(line)
                    file.flush()

    def _look(self, competition: str) -> None:
        """Prints progress, estimates how long packing would take now (results grow), and saves what is new."""
        try:
            files = result_archive.list_result_files(paths.home_folder(), competition)
            self.packing = result_archive.estimate_packing_seconds(files)
            progress = format_progress(paths.home_folder(), competition)
            if self.left > self.packing:
                self.save(files, self.took)
        except Exception as error:  # the run writes meanwhile; without its watch it would not end in time
            progress = f"not known: {error!r}"
        print(f"{PROGRESS_PREFIX} {self.took:7.0f} s  {progress}", flush=True)


def _kill_tree(leader: int) -> None:
    """Kills a session leader, its session, and descendants in sessions of their own."""
    descendants = list_descendants(leader)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for process in descendants:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def list_descendants(process: int) -> list[int]:
    """Lists the children of a process, theirs, and so on; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = path.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(after_name[1]), []).append(int(path.parent.name))
    tree = [process]
    for parent in tree:
        tree += children.get(parent, [])
    return tree[1:]


@dataclass
class Packer:
    """Writes a session's archive: at the end, and before it after each base and each fold, and between them.

    Args:
        path: of the archive.
        home: that holds the results.
        summary: what is known of the session from its start on, see result_archive.ResultArchive.
    """

    path: Path
    home: Path
    summary: dict[str, Any]
    content: list[tuple[Path, int]] = field(default_factory=list)
    stages: int = 0
    due: float = 0.0

    def update(self, files: list[Path], took: float) -> None:
        """Writes what is there so far, where it is new: at once where a fold has ended or another base has begun.

        Otherwise it takes at most MAX_PACKING_SHARE of the time. The state `killed` is true if nothing follows.
        """
        started = time.monotonic()
        with contextlib.suppress(FileNotFoundError):  # the run has replaced a file; the next look finds another
            content = [(path, path.stat().st_mtime_ns) for path in files if path.suffix != ".log"]
            stages = sum(path.name == "spec.json" or _is_fold_result(path) for path in files)
            if content == self.content or (started < self.due and stages == self.stages):
                return
            self.write("killed", files, took)
            self.content, self.stages = content, stages
        self.due = time.monotonic() + (time.monotonic() - started) / MAX_PACKING_SHARE

    def write(self, state: str, files: list[Path], took: float) -> None:
        """Writes the archive; the one before it stays until this one is whole."""
        summary = {"state": state, "took": round(took, 1), **self.summary, **_describe_session(self.home)}
        result_archive.write_archive(self.path, self.home, files, summary)


def _describe_session(home: Path) -> dict[str, Any]:
    """Returns the session's speeds and library versions."""
    from pipeline.runs import folder as runs

    try:
        versions = dict(runs.describe_environment(0, ""))["libraries"] | {"python": sys.version.split()[0]}
        return {"rates": compute_rates(home), "versions": versions}
    except Exception as error:  # the results, which are not packed yet, count more
        print(f"warning: speeds and versions are not known: {error!r}", flush=True)
        return {"rates": {}, "versions": {}}


def restore_session(job_digest: str) -> int:
    """Extracts the archive of this job's latest session that is attached. Returns the number of its files."""
    archives = []
    for path in inputs.find_files(result_archive.ARCHIVE_NAME):
        try:
            archives.append(result_archive.load_archive(path))
        except StarshiftError as error:
            print(f"warning: {error}", flush=True)
    archives = [one for one in archives if one.summary["order"] == job_digest]
    if not archives:
        return 0
    latest = max(archives, key=lambda one: one.summary["number"])
    latest.extract({name: paths.home_folder() / name for name in latest.files})
    return len(latest.files)


def main(arguments: list[str], command: tuple[str, ...] = RUN_COMMAND) -> int:
    """Runs a job and packs the results. Returns 0 where the run is complete or can be resumed, 1 where it failed."""
    job, session = read_job(Path(arguments[0])), json.loads(arguments[1])
    name, home = job.competition.name, paths.home_folder()
    target = paths.kaggle_folder("working") / result_archive.ARCHIVE_NAME
    packer = Packer(target, home, {"order": job.digest, "fingerprint": job.fingerprint, **session})
    process = RunProcess(
        command=[*command, arguments[0]],
        log=paths.runs_folder(name) / "session.log",
        seconds=session["seconds"],
        environment={**os.environ, "STARSHIFT_COMMIT": job.commit},
        started=float(os.environ.get("STARSHIFT_BEGUN") or time.monotonic()),
        save=packer.update,
    )
    signal.signal(signal.SIGTERM, lambda *_: process.stop())
    beginning = f"session {session['number']} of {job.fingerprint[:16]}"
    print(f"{beginning}: {restore_session(job.digest)} files from the session before", flush=True)
    code = process.wait(name)
    state = "complete" if code == 0 else "interrupted" if process.late else "failed"
    files = result_archive.list_result_files(home, name)
    try:
        packer.write(state, files, process.took)
    except (StarshiftError, OSError) as error:
        print(f"warning: {error}\npacking again without features, which are computed again", flush=True)
        packer.write(state, [one for one in files if not one.is_relative_to(home / "data" / "cache")], process.took)
    print(f"{state} after {process.took:.0f} s: packed {target.stat().st_size / 1e6:.1f} MB", flush=True)
    return 1 if state == "failed" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
