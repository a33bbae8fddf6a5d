"""Each fold in a process of its own: started, waited for, and its result or its error brought home.

On a processor folds are trained side by side, on a share of the cores each: one step of a small network does not keep
two cores busy all the time, two steps of two folds do (benchmarks/folds.py).
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.models.choice import has_gpu
from pipeline.training.jobs import FoldResult, Job, result

log = logging.getLogger(__name__)
MEMORY = 3 << 30
"""Bytes that a fold's process may need."""


class Crew:
    """The processes at work, which end together when one of them fails or the user stops the run.

    Args:
        threads: of each process; None leaves all cores to it.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads
        self.working: set[subprocess.Popen[bytes]] = set()
        self.stopped = False

    def run(self, command: Sequence[str], line: int = 0) -> int:
        """Runs a command, its bar on a line of its own below the first. Returns its exit code."""
        environment = {**paths.child_environment(), "TF_CPP_MIN_LOG_LEVEL": "3", "STARSHIFT_LINE": str(line)}
        if self.threads:
            environment |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"), str(self.threads))
        if self.stopped:
            return -1
        with subprocess.Popen(command, env=environment) as process:
            self.working.add(process)
            try:
                if self.stopped:  # while this one was being started
                    process.kill()
                return process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                self.working.discard(process)

    def stop(self) -> None:
        """Ends them all."""
        self.stopped = True
        for process in list(self.working):
            process.kill()


def beside_each_other(folds: int) -> int:
    """How many folds are trained at a time; by machine and run alone, so that a run that goes on repeats it."""
    if has_gpu():
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(folds, os.cpu_count() or 1, memory // MEMORY))


def do_all(jobs: Sequence[Job]) -> list[FoldResult]:
    """The results of a run's folds, in the order of the jobs; as many at a time as the machine has room for.

    Raises:
        StarshiftError: the first that failed says where; the others are stopped, and go on with the run's next start.
    """
    many = beside_each_other(len(jobs))
    crew = Crew(max(1, (os.cpu_count() or 1) // many) if many > 1 else None)
    with ThreadPoolExecutor(many) as pool:
        found = [pool.submit(do, job, crew, number % many) for number, job in enumerate(jobs)]
        try:
            wait(found, return_when=FIRST_EXCEPTION)
            failed = [one for one in found if one.done() and one.exception()]
            if failed:
                raise failed[0].exception()  # type: ignore[misc]
        except BaseException:
            crew.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return [one.result() for one in found]


def do(job: Job, crew: Crew | None = None, line: int = 0) -> FoldResult:
    """The fold's result, trained in a process of its own where it is not there yet.

    Args:
        job: of the fold.
        crew: that its process belongs to; None is one of its own, with all cores.
        line: that its bar is on.

    Raises:
        StarshiftError: training failed; says where.
    """
    done = result(job)
    if done is not None:
        log.info("          fold %d is done already", job.fold)
        return done
    code = _process(job, crew, line)
    done = result(job)
    if done is None:
        raise _failure(job, code)
    return done


def found_rate(job: Job) -> dict[str, Any]:
    """What a range test finds: rates, losses, suggested, and its drawing beside FOLD.rate.json.

    Raises:
        StarshiftError: it failed; says where.
    """
    path = job.stem.with_suffix(".rate.json")
    path.unlink(missing_ok=True)
    code = _process(replace(job, find_rate=True))
    found: dict[str, Any] | None = read_json(path)
    if found is None:
        raise _failure(job, code)
    return found


def _process(job: Job, crew: Crew | None = None, line: int = 0) -> int:
    """Does the job in a process of its own. Returns its exit code."""
    path = job.write()
    job.stem.with_suffix(".error.json").unlink(missing_ok=True)
    return (crew or Crew()).run([sys.executable, "-m", "pipeline.training.worker", str(path), str(os.getpid())], line)


def _failure(job: Job, code: int) -> StarshiftError:
    """What the job's process said when it failed."""
    words = read_json(job.stem.with_suffix(".error.json"))
    words = words or [f"Training of fold {job.fold} ended before it was done.", "", f"exit code {code}", ""]
    return StarshiftError(words[0], expected=words[1], received=words[2], remedy=words[3])
