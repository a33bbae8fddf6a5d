"""The job of a kernel as JSON: competition, options, folds and weights of one run.

The competition is resolved, so it may come from a file outside the repository. The run's fingerprint is part of the
job, so that its results belong to the same run as local ones.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Competition, build_dataclass
from pipeline.errors import StarshiftError
from pipeline.files import hash_json


@dataclass(frozen=True, kw_only=True)
class WeightsSpec:
    """A base's weights file.

    Args:
        base: as the recipe names it.
        name: of the file.
        sha256: of its bytes; empty where it is not known here.
    """

    base: str
    name: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One run on Kaggle.

    Args:
        competition: resolved.
        folds: to train; empty trains all.
        debug: a few pictures only.
        engine: `auto` or the name of an engine.
        tensorboard: write TensorBoard's files.
        fingerprint: of the run on this machine.
        config: the run's config.json on this machine, without the fingerprint.
        split: name and text of the file of folds, where there is one.
        weights: files that the recipe's bases need.
        commit: of the repository.
        corrections: the text of the table of corrected labels; empty where there is none.
    """

    competition: Competition
    folds: tuple[int, ...] = ()
    debug: bool = False
    engine: str = "auto"
    tensorboard: bool = False
    fingerprint: str
    config: dict[str, Any]
    split: tuple[str, str] | None = None
    weights: tuple[WeightsSpec, ...] = ()
    commit: str = ""
    corrections: str = ""

    def text(self) -> str:
        """Returns the job as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, as 64 hex digits."""
        return hash_json(json.loads(self.text()))


def read_job(path: Path) -> JobSpec:
    """Reads a job file. See `parse_job`."""
    return parse_job(path.read_text(encoding="utf-8"))


def parse_job(text: str) -> JobSpec:
    """Parses a job's text; the code that wrote it is in the same bundle.

    Raises:
        StarshiftError: it does not read back as it was written.
    """
    values = json.loads(text)
    job: JobSpec = build_dataclass(JobSpec, values)
    if job.digest != hash_json(values):
        raise StarshiftError("The job does not read back as it was written.", received=text[:300])
    return job
