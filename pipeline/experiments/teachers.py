"""Teachers, whose predictions become soft targets, joined by id; none judges what it was trained on.

Finished runs teach by their out-of-fold predictions (`asking.py` asks those again that can be), learnwares by what they
say of pictures that they were not trained on (`learned.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.experiments import asking, learned, sizing
from pipeline.files import sha256_of_file
from pipeline.learnware import store
from pipeline.ledger import reading
from pipeline.models.bases import Base
from pipeline.preparation import Data
from pipeline.training.distilled import Distillation
from pipeline.training.lessons import Lesson


class Teacher(Protocol):
    """Who has something to say of each training picture, never having been told its label."""

    @property
    def name(self) -> str:
        """As `--teacher` has it."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What a student remembers of it; changes where its answers do."""

    def looks_through(self) -> list[Base]:
        """The bases that pictures have to be decoded for, where it is asked again."""

    def fitting(self, data: Data) -> None:
        """Refuses a teacher that cannot tell of each training picture."""

    def told(self, data: Data) -> np.ndarray:
        """Probabilities (pictures, classes) float32 in the order of the data."""

    def again(self, data: Data, views: Sequence[str], nested: bool, engine: str) -> Mapping[str, np.ndarray]:
        """What it says when it is asked again, as in `Lesson.answers`."""


@dataclass(frozen=True)
class RunTeacher:
    """A finished run that teaches: by its out-of-fold predictions, or asked again where that is wanted.

    Args:
        run: of the student's competition.
    """

    run: reading.Run

    @property
    def name(self) -> str:
        """The run's folder."""
        return self.run.folder.name

    @property
    def record(self) -> dict[str, str]:
        """Its folder and the SHA-256 of its predictions."""
        return {"run": self.name, "oof": sha256_of_file(self.run.folder / "oof.npz")}

    def looks_through(self) -> list[Base]:
        """The bases of a linear head on features; see asking.bases_of."""
        return asking.bases_of(self.run)

    def fitting(self, data: Data) -> None:
        """See `fitting`."""
        fitting(self.run, data)

    def told(self, data: Data) -> np.ndarray:
        """Its out-of-fold probabilities (pictures, classes) float32."""
        return asking.told(self.run, data)

    def again(self, data: Data, views: Sequence[str], nested: bool, engine: str) -> Mapping[str, np.ndarray]:
        """See asking.again."""
        return asking.again(self.run, data, views, nested, engine)


def found(competition: Competition, wanted: Sequence[str]) -> list[Teacher]:
    """Runs of these names, or of names that begin so, and learnwares `store:[FOLDER/]NAME`, each once.

    Args:
        competition: the student's.
        wanted: as `--teacher` has them.

    Raises:
        StarshiftError: there is no such run or learnware; the run is not finished or has no out-of-fold predictions;
            the learnware was trained on these very pictures.
    """
    known: dict[tuple[str, ...], Teacher] = {}
    for text in wanted:
        one: Teacher
        if text.startswith(store.PREFIX):
            one = learned.found(text, competition)
        else:
            one = RunTeacher(reading.opened(reading.found(text, competition.name)))
        known.setdefault(tuple(one.record.values()), one)
    return list(known.values())


def fitting(teacher: reading.Run, data: Data) -> None:
    """Refuses a teacher that does not know each training picture, from folds that are the student's.

    Raises:
        StarshiftError: other classes, pictures without an out-of-fold prediction, other labels or other folds.
    """
    table = data.pictures.train
    missing = [name for name in table["id"] if name not in teacher.held]
    remedy = f"invoke runs --comp {teacher.folder.parent.name} lists others; runs of all folds with this recipe's split"
    if teacher.classes != sorted(data.pictures.classes):
        raise StarshiftError(
            f"The teacher {teacher.folder.name} tells other classes apart.",
            expected=f"{len(data.pictures.classes)} classes: {', '.join(sorted(data.pictures.classes)[:5])}...",
            received=f"{len(teacher.classes)} classes: {', '.join(teacher.classes[:5])}...",
            remedy=remedy,
        )
    if missing:
        raise StarshiftError(
            f"The teacher {teacher.folder.name} has no out-of-fold prediction of some pictures.",
            expected=f"one of each of the {len(table):,} training pictures",
            received=f"none of {len(missing):,}, such as {missing[0]}",
            remedy=remedy,
        )
    for column, known in (("label", teacher.label), ("fold", teacher.fold)):
        other = [name for name, value in zip(table["id"], table[column], strict=True) if known[name] != value]
        if other:
            raise StarshiftError(
                f"The teacher {teacher.folder.name} has other {column}s.",
                expected=f"the student's {column} of each picture, so that no teacher has seen what it tells of",
                received=f"another {column} of {len(other):,} pictures, such as {other[0]}",
                remedy=remedy,
            )


def lesson_of(
    asked: Distillation, teachers: Sequence[Teacher], data: Data, views: Sequence[str], engine: str = "auto"
) -> Lesson:
    """What the teachers have to say to students of every fold: the mean of their probabilities.

    Args:
        asked: temperature, weight; whether teachers are patient and nested.
        teachers: each fits the data.
        data: the pictures.
        views: that students are trained in; a patient teacher answers for each.
        engine: for features that are not cached.
    """
    seen = tuple(views) if asked.patient else ()
    if asked.patient or asked.nested:
        spoken = [teacher.again(data, seen, asked.nested, engine) for teacher in teachers]
    else:
        spoken = [{"all": teacher.told(data)[None]} for teacher in teachers]
    folds = {fold: None for one in spoken for fold in one if fold != "all"} or {"all": None}
    answers = {fold: np.mean([one[fold if fold in one else "all"] for one in spoken], axis=0) for fold in folds}
    return Lesson(answers=answers, views=seen, temperature=asked.temperature, weight=asked.weight)


def runs_of(teachers: Sequence[Teacher]) -> list[Path]:
    """The folders of those that are runs: they know the labels of pictures that students are judged on."""
    return [one.run.folder for one in teachers if isinstance(one, RunTeacher)]


def cost(teachers: Sequence[Teacher], data: Data, engine: str) -> sizing.Cost:
    """What it costs to have these teachers and to ask them together."""
    runs = runs_of(teachers)
    each = [sizing.cost(runs, data, engine)] if runs else []
    return sizing.together([*each, *(one.cost() for one in teachers if isinstance(one, learned.LearnwareTeacher))])
