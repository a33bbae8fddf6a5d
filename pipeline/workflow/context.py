"""What a run carries: `Dataset`, the pictures, and `RunContext`, where and how it runs; and the log line of a stage."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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
    log.info("%-9s %6.1f s  %s", name, time.perf_counter() - started, "; ".join(lines))


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
    def test_readable(self) -> np.ndarray:
        """Which test pictures can be predicted, (test pictures,) bool."""
        return self.pictures.test["sha256"].isin(self.files).to_numpy()

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
