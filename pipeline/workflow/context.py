"""What a run carries: `Dataset`, the pictures, and `RunContext`, where and how it runs; and the time of its stages."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Competition, RunOptions
from pipeline.data.labels import PictureTable
from pipeline.data.tables import SampleSubmission

log = logging.getLogger(__name__)


@contextlib.contextmanager
def log_stage(name: str) -> Iterator[list[str]]:
    """Times a stage and logs one line, with the results that the stage appends to the list."""
    started = time.perf_counter()
    lines: list[str] = []
    yield lines
    seconds = time.perf_counter() - started
    _stages.append(StageRecord(name=name, started=started, seconds=seconds, peak_megabytes=measure_peak_memory()))
    log.info("%-9s %6.1f s  %s", name, seconds, "; ".join(lines))


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """A stage that has ended.

    Args:
        name: as it was logged.
        started: `time.perf_counter()` at its start.
        seconds: that it took.
        peak_megabytes: peak memory of the largest process until then; None where it cannot be measured.
    """

    name: str
    started: float
    seconds: float
    peak_megabytes: float | None


_stages: list[StageRecord] = []
"""The stages of this process, in the order of their ends: the first ones end before a RunContext exists."""


def list_stages(since: float) -> list[dict[str, Any]]:
    """Lists name, seconds and peak memory of the stages that started at `since` or later, as plain JSON values."""
    return [
        {"name": one.name, "seconds": round(one.seconds, 2), "peak_megabytes": one.peak_megabytes}
        for one in _stages
        if one.started >= since
    ]


def measure_peak_memory() -> float | None:
    """Measures the peak memory of this process or of its largest child, in MB; None where it cannot be measured."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return round(max(resource.getrusage(who).ru_maxrss for who in kinds) * unit / 1024**2, 1)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A competition's pictures, ready for any strategy.

    Args:
        competition: its recipe names the directions of second moments, which are learned here.
        raw: the folder that paths are relative to.
        pictures: tables; unreadable training pictures are left out.
        sample: the sample submission.
        files: where each readable picture lies, by digest.
        unreadable: reasons, by `part/id`.
    """

    competition: Competition
    raw: Path
    pictures: PictureTable
    sample: SampleSubmission | None
    files: dict[str, Path]
    unreadable: dict[str, str]

    @cached_property
    def labels(self) -> np.ndarray:
        """Class numbers, (training pictures,) int."""
        numbers = {name: number for number, name in enumerate(self.pictures.classes)}
        return self.pictures.train["label"].map(numbers).to_numpy()

    @property
    def positive(self) -> int | None:
        """The number of the class whose probability is submitted; None where there is none."""
        return self.competition.positive_of(self.pictures.classes)

    @property
    def fold_of(self) -> np.ndarray:
        """The fold that validates each training picture, (training pictures,) int."""
        return self.pictures.train["fold"].to_numpy()

    @property
    def group_of(self) -> np.ndarray:
        """The group of each training picture: equal pictures, or those of one scene (training pictures,) str."""
        return self.pictures.train["group"].to_numpy(str)

    @property
    def test_readable(self) -> np.ndarray:
        """Which test pictures can be predicted, (test pictures,) bool."""
        return self.pictures.test["sha256"].isin(self.files).to_numpy()

    @property
    def digest_of(self) -> dict[str, str]:
        """SHA-256 of each training picture, by id."""
        return dict(zip(self.pictures.train["id"], self.train_digests, strict=True))

    @cached_property
    def train_digests(self) -> list[str]:
        """Digests of the training pictures."""
        return list(self.pictures.train["sha256"])

    @cached_property
    def test_digests(self) -> list[str]:
        """Digests of the readable test pictures."""
        return list(self.pictures.test["sha256"][self.test_readable])


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run in progress.

    Args:
        competition: its recipe is the run's.
        options: from the command line.
        data: its pictures.
        folder: of the run.
        folds: to train.
        started: `time.perf_counter()` at the start.
    """

    competition: Competition
    options: RunOptions
    data: Dataset
    folder: Path
    folds: tuple[int, ...]
    started: float
