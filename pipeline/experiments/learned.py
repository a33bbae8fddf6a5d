"""A learnware as a teacher: it tells of pictures that it was not trained on, in any view, and needs no folds."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.experiments.sizing import Cost
from pipeline.learnware import asking, meaning, store
from pipeline.learnware.answers import among, answers
from pipeline.learnware.archive import Learnware
from pipeline.models.bases import Base
from pipeline.preparation import Data

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

    def fitting(self, data: Data) -> None:
        """Refuses it where it does not know each class of the student.

        Raises:
            StarshiftError: see meaning.columns.
        """
        self._columns(data)

    def told(self, data: Data) -> np.ndarray:
        """Its probabilities (pictures, classes) float32 in the order of the data."""
        return self.again(data, (), False)["all"][0]

    def again(self, data: Data, views: Sequence[str], nested: bool, engine: str = "auto") -> Mapping[str, np.ndarray]:
        """What it says in these views, or in its own: the same for students of every fold, as in `Lesson.answers`.

        Probabilities of the student's classes alone, their sum 1: of the learnware's others nothing is learnt.
        """
        every = answers(self.learnware, data.files, list(data.pictures.train["sha256"]), views)
        return {"all": among(every, self._columns(data)).astype(np.float32)}

    def cost(self) -> Cost:
        """What it costs to have it and to ask it; its speed is that of Keras, in one view."""
        return Cost(
            parameters=int(self._live.count_params()),
            megabytes=len(self.learnware.model) / 1e6,
            pictures_per_second=asking.speed(self._live, self.learnware.contract),
        )

    @cached_property
    def _live(self) -> Any:
        return self.learnware.live()

    def _columns(self, data: Data) -> list[int]:
        return meaning.columns(self.learnware.name, self.learnware.contract.classes, data.pictures.classes)


def found(address: str, competition: Competition) -> LearnwareTeacher:
    """A learnware as a teacher for a competition.

    Args:
        address: `store:NAME` or `store:FOLDER/NAME`, see store.at.
        competition: the student's.

    Raises:
        StarshiftError: there is none, or it was trained on the pictures that it would tell of.
    """
    learnware = store.at(address)
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
