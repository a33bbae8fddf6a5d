"""Each fold in a process of its own: started, waited for, and its result or its error brought home."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.subprocesses import shield
from pipeline.training.jobs import FoldResult, Job, result

log = logging.getLogger(__name__)


def do(job: Job) -> FoldResult:
    """The fold's result, trained in a process of its own where it is not there yet.

    Raises:
        StarshiftError: training failed; says where.
    """
    done = result(job)
    if done is not None:
        log.info("          fold %d is done already", job.fold)
        return done
    code = _process(job)
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


def _process(job: Job) -> int:
    """Does the job in a process of its own. Returns its exit code."""
    path = job.write()
    environment = {**paths.child_environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    job.stem.with_suffix(".error.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "pipeline.training.worker", str(path), str(os.getpid())]
    with shield():
        process = subprocess.Popen(command, env=environment)
    with process:
        try:
            return process.wait()
        except BaseException:
            process.kill()
            raise


def _failure(job: Job, code: int) -> StarshiftError:
    """What the job's process said when it failed."""
    words = read_json(job.stem.with_suffix(".error.json"))
    if words:
        return StarshiftError.said(words)
    killed = code == -9  # SIGKILL, a name that Windows lacks
    return StarshiftError(
        f"Training of fold {job.fold} ended before it was done.",
        received="it was killed, most likely since memory ended" if killed else f"exit code {code}",
        remedy="the same command goes on from the last epoch"
        + ("; a smaller batch, size or number of cached views needs less memory" if killed else ""),
    )
