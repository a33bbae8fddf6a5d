"""Finds teachers and turns their predictions into soft targets; none predicts pictures that it was trained on.

Finished runs teach by their out-of-fold predictions (`teacher_predictions.py` recomputes those that can be), learnwares
by predictions of pictures that they were not trained on, in any view and without folds.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.config import Competition, find_comp_argument
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
from pipeline.workflow.context import Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LearnwareTeacher:
    """A learnware as a teacher.

    Args:
        name: as `--teacher` has it.
        learnware: read whole.
    """

    name: str
    learnware: Learnware

    @property
    def record(self) -> dict[str, str]:
        """What the student's config.json records of it."""
        return {"learnware": self.learnware.name, "digest": self.learnware.digest}

    def list_bases(self) -> list[Base]:
        """Lists bases whose pictures have to be decoded beforehand: none, it decodes its own."""
        return []

    def check_data(self, data: Dataset) -> None:
        """Checks that it knows each class of the student.

        Raises:
            StarshiftError: see search.find_class_columns.
        """
        self._columns(data)

    def predict(self, data: Dataset) -> np.ndarray:
        """Returns its probabilities (pictures, classes) float32 in the order of the data."""
        return self.recompute(data, (), False)["all"][0]

    def recompute(
        self, data: Dataset, views: Sequence[str], nested: bool, engine: str = "auto"
    ) -> Mapping[str, np.ndarray]:
        """Predicts in these views, or in its own: the same for students of every fold, as in `SoftTargets.answers`.

        Probabilities are of the student's classes alone and sum to 1.
        """
        every = predict_cached(self.learnware, data.files, data.train_digests, views)
        return {"all": select_classes(every, self._columns(data)).astype(np.float32)}

    def cost(self) -> ModelCost:
        """Measures its size, and its speed in one view by Keras."""
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
    """Loads a learnware as a teacher for a competition.

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
    """Predicts each training picture without having been trained on it."""

    @property
    def name(self) -> str:
        """As `--teacher` has it."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What the student's config.json records of it; changes where its predictions do."""

    def list_bases(self) -> list[Base]:
        """Lists the bases that pictures have to be decoded for, where it predicts anew."""

    def check_data(self, data: Dataset) -> None:
        """Checks that it predicts each training picture."""

    def predict(self, data: Dataset) -> np.ndarray:
        """Returns probabilities (pictures, classes) float32 in the order of the data."""

    def recompute(self, data: Dataset, views: Sequence[str], nested: bool, engine: str) -> Mapping[str, np.ndarray]:
        """Predicts anew, as in `SoftTargets.answers`."""


@dataclass(frozen=True)
class RunTeacher:
    """A finished run as a teacher: by its out-of-fold predictions, or by predictions computed anew.

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

    def list_bases(self) -> list[Base]:
        """Lists the bases of a linear head on features; see teacher_predictions.list_teacher_bases."""
        return teacher_predictions.list_teacher_bases(self.run)

    def check_data(self, data: Dataset) -> None:
        """Checks classes, pictures, labels and folds, see `require_matching_data`."""
        require_matching_data(self.run, data)

    def predict(self, data: Dataset) -> np.ndarray:
        """Returns its out-of-fold probabilities (pictures, classes) float32."""
        return self.run.align(data.pictures.train["id"], data.pictures.classes)

    def recompute(self, data: Dataset, views: Sequence[str], nested: bool, engine: str) -> Mapping[str, np.ndarray]:
        """Predicts anew, see teacher_predictions.recompute_predictions."""
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
    comp = find_comp_argument(teacher.folder.parent.name)
    remedy = f"invoke runs --comp {comp} lists others; runs of all folds with this recipe's split"
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
    config: DistillationConfig, teachers: Sequence[Teacher], data: Dataset, views: Sequence[str], engine: str = "auto"
) -> SoftTargets:
    """Builds the soft targets for students of every fold: the mean of the teachers' probabilities.

    Args:
        config: temperature, weight; whether teachers are patient and nested.
        teachers: each fits the data.
        data: the pictures.
        views: that students are trained in; a patient teacher answers for each.
        engine: for features that are not cached.
    """
    seen = tuple(views) if config.patient else ()
    if config.patient or config.nested:
        predictions = [teacher.recompute(data, seen, config.nested, engine) for teacher in teachers]
    else:
        predictions = [{"all": teacher.predict(data)[None]} for teacher in teachers]
    folds = {fold: None for one in predictions for fold in one if fold != "all"} or {"all": None}
    answers = {fold: np.mean([one[fold if fold in one else "all"] for one in predictions], axis=0) for fold in folds}
    return SoftTargets(answers=answers, views=seen, temperature=config.temperature, weight=config.weight)


def list_run_folders(teachers: Sequence[Teacher]) -> list[Path]:
    """Lists the folders of those that are runs: they know labels of pictures that students are scored on."""
    return [one.run.folder for one in teachers if isinstance(one, RunTeacher)]


def measure_teacher_cost(teachers: Sequence[Teacher], data: Dataset, engine: str) -> model_cost.ModelCost:
    """Measures the cost of predicting with these teachers together."""
    runs = list_run_folders(teachers)
    each = [model_cost.measure_cost(runs, data, engine)] if runs else []
    return model_cost.add_costs([*each, *(one.cost() for one in teachers if isinstance(one, LearnwareTeacher))])
