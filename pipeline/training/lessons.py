"""Soft targets on their way to the folds: for each fold and view, in a file of the run's folder, and batch by batch."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.files import DamagedFileError, open_arrays, write_atomic
from pipeline.training.distilled import Soft, tempered

FILE = "targets.npz"


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What a job knows of its soft targets, which lie in its run's folder.

    Args:
        digest: SHA-256 of the targets.
        views: that teachers were asked in; empty where they were asked for the picture.
        temperature: T.
        weight: w.
    """

    digest: str
    views: tuple[str, ...]
    temperature: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Soft targets for every fold.

    Args:
        answers: the teachers' mean probabilities (views, pictures, classes) float32 by the number of the fold that the
            student holds out, or for `all` folds; NaN where a fold is not to see a picture. One view where teachers
            were asked for the picture as such.
        views: names of the views; empty where teachers were asked for the picture.
        temperature: T.
        weight: w.
    """

    answers: Mapping[str, np.ndarray]
    views: tuple[str, ...] = ()
    temperature: float
    weight: float

    def of(self, fold: int, views: Sequence[str]) -> np.ndarray:
        """Tempered targets (views, pictures, classes) float32 in these views for a student that holds out a fold."""
        found = self.answers["all"] if "all" in self.answers else self.answers[str(fold)]
        if self.views:
            found = found[[self.views.index(view) for view in views]]
        else:
            found = np.broadcast_to(found, (len(views), *found.shape[1:]))
        return tempered(found, self.temperature)

    def soft(self, fold: int, views: Sequence[str], rows: np.ndarray) -> Soft:
        """The targets of some pictures in these views, one view after the other."""
        targets = np.concatenate([one[rows] for one in self.of(fold, views)])
        return Soft(targets=targets, temperature=self.temperature, weight=self.weight)

    def taught(self) -> Taught:
        """What jobs are told."""
        digest = hashlib.sha256()
        for name in sorted(self.answers):
            digest.update(name.encode() + np.ascontiguousarray(self.answers[name]).tobytes())
        return Taught(digest=digest.hexdigest(), views=self.views, temperature=self.temperature, weight=self.weight)

    def write(self, folder: Path) -> Taught:
        """Puts the targets into a run's folder, whole or not at all."""
        write_atomic(folder / FILE, lambda file: np.savez(file, **self.answers))  # type: ignore[arg-type]
        return self.taught()


def read(folder: Path, taught: Taught) -> Lesson:
    """The targets in a run's folder.

    Raises:
        StarshiftError: they are not those that the job was made for.
    """
    try:
        with open_arrays(folder / FILE) as stored:
            answers = {name: stored[name] for name in stored.files}
    except (FileNotFoundError, DamagedFileError) as error:
        raise StarshiftError(
            "The soft targets of this run are damaged.",
            expected=f"{FILE} as the run wrote it",
            received=str(error),
            remedy="the same command writes it anew and goes on",
        ) from error
    lesson = Lesson(answers=answers, views=taught.views, temperature=taught.temperature, weight=taught.weight)
    if lesson.taught() != taught:
        raise StarshiftError("The soft targets are not the job's.", received=str(folder / FILE), remedy="run it again")
    return lesson


class Targets:
    """Soft targets as batches ask for them.

    Args:
        values: tempered (views, pictures, classes) float32.
        choice: of an epoch, the view that each picture is seen in, (pictures,) int; None where there is one view.
    """

    def __init__(self, values: np.ndarray, choice: Callable[[int], np.ndarray] | None = None) -> None:
        self.values, self.choice = values, choice

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """Targets (n, classes) float32 of the pictures at these positions, as they are seen in this epoch."""
        return self.values[self.choice(epoch)[positions] if self.choice else 0, positions]
