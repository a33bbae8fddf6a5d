"""Teachers, whose predictions become soft targets, joined by id; none judges what it was trained on.

Finished runs teach by their out-of-fold predictions (`asking.py` asks those again that can be), learnwares by what they
say of pictures that they were not trained on (`learned.py`).

A learnware as a teacher: it tells of pictures that it was not trained on, in any view, and needs no folds.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.config import Competition
from pipeline.distillation import model_cost, teacher_predictions
from pipeline.distillation.model_cost import ModelCost
from pipeline.errors import StarshiftError
from pipeline.files import hash_file
from pipeline.learnware import cached_predictions, search, store
from pipeline.learnware.archive import Learnware
from pipeline.learnware.cached_predictions import predict_cached, select_classes
from pipeline.models.base import Base
from pipeline.runs import load
from pipeline.training.soft_targets import DistillationConfig, SoftTargets
from pipeline.workflow.prepare import Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LearnwareTeacher:
    """A learnware that teaches.

    Args:
        name: as `--teacher` has it.
        learnware: read whole.
    """

    name: str
    learnware: Learnware

    @property
    def record(self) -> dict[str, str]:
        """What a student remembers of it."""
        return {"learnware": self.learnware.name, "digest": self.learnware.digest}

    def looks_through(self) -> list[Base]:
        """Bases whose pictures have to be decoded beforehand: none, it asks for its own."""
        return []

    def fitting(self, data: Dataset) -> None:
        """Refuses it where it does not know each class of the student.

        Raises:
            StarshiftError: see search.find_class_columns.
        """
        self._columns(data)

    def told(self, data: Dataset) -> np.ndarray:
        """Its probabilities (pictures, classes) float32 in the order of the data."""
        return self.again(data, (), False)["all"][0]

    def again(
        self, data: Dataset, views: Sequence[str], nested: bool, engine: str = "auto"
    ) -> Mapping[str, np.ndarray]:
        """What it says in these views, or in its own: the same for students of every fold, as in `Lesson.answers`.

        Probabilities of the student's classes alone, their sum 1: of the learnware's others nothing is learnt.
        """
        every = predict_cached(self.learnware, data.files, list(data.pictures.train["sha256"]), views)
        return {"all": select_classes(every, self._columns(data)).astype(np.float32)}

    def cost(self) -> ModelCost:
        """What it costs to have it and to ask it; its speed is that of Keras, in one view."""
        return ModelCost(
            parameters=int(self._live.count_params()),
            megabytes=len(self.learnware.model) / 1e6,
            pictures_per_second=cached_predictions.measure_speed(self._live, self.learnware.contract),
        )

    @cached_property
    def _live(self) -> Any:
        return self.learnware.live()

    def _columns(self, data: Dataset) -> list[int]:
        return search.find_class_columns(self.learnware.name, self.learnware.contract.classes, data.pictures.classes)


def find_learnware_teacher(address: str, competition: Competition) -> LearnwareTeacher:
    """A learnware as a teacher for a competition.

    Args:
        address: `store:NAME` or `store:FOLDER/NAME`, see store.load_learnware.
        competition: the student's.

    Raises:
        StarshiftError: there is none, or it was trained on the pictures that it would tell of.
    """
    learnware = store.load_learnware(address)
    words = learnware.specification.semantic
    if words.competition == competition.name:
        raise StarshiftError(
            f"The learnware {learnware.name} was trained on pictures of {competition.name} itself.",
            expected="a teacher that has not seen the pictures that it tells of",
            received=words.data,
            remedy=f"--teacher RUN with a run of {competition.name}, which tells of each picture out of its folds",
        )
    log.info("teacher   %s was trained on %s, it says; nothing here can prove it", learnware.name, words.data)
    return LearnwareTeacher(address, learnware)


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

    def fitting(self, data: Dataset) -> None:
        """Refuses a teacher that cannot tell of each training picture."""

    def told(self, data: Dataset) -> np.ndarray:
        """Probabilities (pictures, classes) float32 in the order of the data."""

    def again(self, data: Dataset, views: Sequence[str], nested: bool, engine: str) -> Mapping[str, np.ndarray]:
        """What it says when it is asked again, as in `Lesson.answers`."""


@dataclass(frozen=True)
class RunTeacher:
    """A finished run that teaches: by its out-of-fold predictions, or asked again where that is wanted.

    Args:
        run: of the student's competition.
    """

    run: load.Run

    @property
    def name(self) -> str:
        """The run's folder."""
        return self.run.folder.name

    @property
    def record(self) -> dict[str, str]:
        """Its folder and the SHA-256 of its predictions."""
        return {"run": self.name, "oof": hash_file(self.run.folder / "oof.npz")}

    def looks_through(self) -> list[Base]:
        """The bases of a linear head on features; see teacher_predictions.list_teacher_bases."""
        return teacher_predictions.list_teacher_bases(self.run)

    def fitting(self, data: Dataset) -> None:
        """See `require_matching_data`."""
        require_matching_data(self.run, data)

    def told(self, data: Dataset) -> np.ndarray:
        """Its out-of-fold probabilities (pictures, classes) float32."""
        return teacher_predictions.align_oof_predictions(self.run, data)

    def again(self, data: Dataset, views: Sequence[str], nested: bool, engine: str) -> Mapping[str, np.ndarray]:
        """See teacher_predictions.recompute_predictions."""
        return teacher_predictions.recompute_predictions(self.run, data, views, nested, engine)


def find_teachers(competition: Competition, wanted: Sequence[str]) -> list[Teacher]:
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
        if text.startswith(store.ADDRESS_PREFIX):
            one = find_learnware_teacher(text, competition)
        else:
            one = RunTeacher(load.load_run(load.find_run_folder(text, competition.name)))
        known.setdefault(tuple(one.record.values()), one)
    return list(known.values())


def require_matching_data(teacher: load.Run, data: Dataset) -> None:
    """Refuses a teacher that does not know each training picture, from folds that are the student's.

    Raises:
        StarshiftError: other classes, pictures without an out-of-fold prediction, other labels or other folds.
    """
    table = data.pictures.train
    missing = list(table["id"][~table["id"].isin(teacher.held_ids)])
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


def build_soft_targets(
    asked: DistillationConfig, teachers: Sequence[Teacher], data: Dataset, views: Sequence[str], engine: str = "auto"
) -> SoftTargets:
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
    return SoftTargets(answers=answers, views=seen, temperature=asked.temperature, weight=asked.weight)


def list_run_folders(teachers: Sequence[Teacher]) -> list[Path]:
    """The folders of those that are runs: they know the labels of pictures that students are judged on."""
    return [one.run.folder for one in teachers if isinstance(one, RunTeacher)]


def measure_teacher_cost(teachers: Sequence[Teacher], data: Dataset, engine: str) -> model_cost.ModelCost:
    """What it costs to have these teachers and to ask them together."""
    runs = list_run_folders(teachers)
    each = [model_cost.measure_cost(runs, data, engine)] if runs else []
    return model_cost.add_costs([*each, *(one.cost() for one in teachers if isinstance(one, LearnwareTeacher))])
