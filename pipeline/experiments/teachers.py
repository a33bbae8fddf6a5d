"""Teachers: finished runs whose out-of-fold predictions become soft targets, joined by id, so that none judges what it
was trained on. What fits is refused or taken here; `asking.py` asks those again that can be.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.experiments.asking import again, told
from pipeline.ledger import reading
from pipeline.preparation import Data
from pipeline.training.distilled import Distillation
from pipeline.training.lessons import Lesson


def found(competition: Competition, wanted: Sequence[str]) -> list[reading.Run]:
    """The runs of these names, or of names that begin so, each once.

    Raises:
        StarshiftError: there is no such run, or it is not finished or has no out-of-fold predictions.
    """
    return [
        reading.opened(folder) for folder in dict.fromkeys(reading.found(text, competition.name) for text in wanted)
    ]


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
    asked: Distillation, teachers: Sequence[reading.Run], data: Data, views: Sequence[str], engine: str = "auto"
) -> Lesson:
    """What the teachers have to say to students of every fold.

    Args:
        asked: temperature, weight; whether teachers are patient and nested.
        teachers: each fits the data.
        data: the pictures.
        views: that students are trained in; a patient teacher answers for each.
        engine: for features that are not cached.
    """
    answers: Mapping[str, np.ndarray]
    if asked.patient or asked.nested:
        spoken = [again(teacher, data, views if asked.patient else (), asked.nested, engine) for teacher in teachers]
        answers = {name: np.mean([one[name] for one in spoken], axis=0) for name in spoken[0]}
    else:
        answers = {"all": np.mean([told(teacher, data) for teacher in teachers], axis=0)[None]}
    return Lesson(
        answers=answers, views=tuple(views) if asked.patient else (), temperature=asked.temperature, weight=asked.weight
    )
