"""One fold's training as a job: a JSON file in the run's folder, done by a process of its own.

So memory does not grow with folds, TensorFlow stays out of the process that runs the stages, and a killed run finds the
folds that are done. The result's JSON is written last; without it a fold is not done.
"""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import DamagedFileError, open_arrays, read_json, sha256_of_file, sha256_of_json, write_json
from pipeline.models import bases
from pipeline.models.bases import Base
from pipeline.regime import Training
from pipeline.training.lessons import Taught

log = logging.getLogger(__name__)
VERSION = 3
"""Of the arithmetic of training: raised when the same job comes to other numbers, so that none is mixed."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The competition's metric, named so that the process of a fold can import it.

    Args:
        function: `module:name` of a function of name, labels (n,), probabilities (n, classes) and positive.
        name: of the metric.
        positive: number of the class that is asked for; None where there is none.
        higher: whether more of it is better.
    """

    function: str
    name: str
    positive: int | None = None
    higher: bool = True


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that one fold's training needs to know.

    Args:
        folder: of the run.
        rung: the way to train.
        fold: its number.
        seed: of the run.
        base: the pretrained network; for `scratch` and `augmented` only its size counts.
        head: `linear`, `gaussian` or `dense`.
        regime: nothing left open.
        classes: how many there are.
        labels: of the training pictures.
        fold_of: the fold that holds each training picture.
        train: digests of the training pictures.
        test: digests of the test pictures.
        views: that are predicted and averaged.
        training_views: that a head is trained on.
        precision: of the cached features, `float32` or `bfloat16`.
        cut: where the base is cut in two; None trains all of it.
        cached: whether activations at the cut are cached.
        cut_precision: of their arithmetic.
        metric: the competition's.
        board: write TensorBoard's files.
        find_rate: only look for a learning rate.
        taught: where soft targets come in; None where labels alone teach.
    """

    folder: Path
    rung: str
    fold: int
    seed: int
    base: Base
    head: str
    regime: Training
    classes: int
    labels: tuple[int, ...]
    fold_of: tuple[int, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    views: tuple[str, ...]
    training_views: tuple[str, ...] = ("plain",)
    precision: str = "float32"
    cut: str | None = None
    cached: bool = False
    cut_precision: str = "float32"
    metric: Metric = field(default_factory=lambda: Metric(function="", name="accuracy"))
    board: bool = False
    find_rate: bool = False
    taught: Taught | None = None

    @property
    def stem(self) -> Path:
        """What the names of the fold's files begin with."""
        return self.folder / "folds" / f"fold{self.fold}"

    @property
    def model(self) -> Path:
        """The fold's model."""
        return self.folder / "models" / f"fold{self.fold}.keras"

    def fingerprint(self) -> str:
        """SHA-256 over everything that decides the result, as 64 hex digits."""
        values = json.loads(json.dumps({**asdict(self), "folder": "", "board": False, "version": VERSION}, default=str))
        if self.taught is None:  # as before there were teachers, so that finished folds stay finished
            del values["taught"]
        digest = "" if self.base.name == "scratch" else bases.weights_digest(self.base)
        return sha256_of_json({**values, "weights": digest})

    def write(self) -> Path:
        """Writes the job as JSON, and returns where."""
        path = self.stem.with_suffix(".job.json")
        write_json(path, json.loads(json.dumps(asdict(self), default=str)))
        return path


def read(path: Path) -> Job:
    """The job in a file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    tuples = ("labels", "fold_of", "train", "test", "views", "training_views")
    values |= {name: tuple(values[name]) for name in tuples}
    regime = Training(**{**values["regime"], "sizes": tuple(values["regime"]["sizes"])})
    whole = {"folder": Path(values["folder"]), "base": Base(**values["base"]), "metric": Metric(**values["metric"])}
    if values.get("taught"):
        whole["taught"] = Taught(**{**values["taught"], "views": tuple(values["taught"]["views"])})
    return Job(**{**values, **whole, "regime": regime})


@dataclass(frozen=True)
class FoldResult:
    """What a fold's training gives.

    Args:
        history: one record an epoch.
        facts: device, trained parameters, seconds of each epoch, best epoch, largest hand-over difference.
        held: probabilities (views, held pictures, classes) float32.
        test: probabilities (views, test pictures, classes) float32.
    """

    history: list[dict[str, Any]]
    facts: dict[str, Any]
    held: np.ndarray
    test: np.ndarray


def write_result(job: Job, facts: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Writes the JSON that makes a fold done, with digests of itself, of the predictions and of the model."""
    content = {"fingerprint": job.fingerprint(), "facts": facts, "history": history}
    write_json(job.stem.with_suffix(".json"), {**content, "sha256": _digests(job, content)})


def _digests(job: Job, content: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of each part of a fold's result, 64 hex digits each."""
    files = {"predictions": job.stem.with_suffix(".npz"), "model": job.model}
    return {"content": sha256_of_json(content)} | {name: sha256_of_file(path) for name, path in files.items()}


def result(job: Job) -> FoldResult | None:
    """The fold's result; None where it is not done, or a part of it is damaged, which is said."""
    words = read_json(job.stem.with_suffix(".json"))
    if not isinstance(words, dict) or words.get("fingerprint") != job.fingerprint():
        return None
    expected = words.pop("sha256", None)  # results of before 2026-12 have none
    try:
        if expected is not None and (received := _digests(job, words)) != expected:
            raise DamagedFileError(
                f"other digests of {', '.join(k for k in received if received[k] != expected.get(k))}"
            )
        with open_arrays(job.stem.with_suffix(".npz")) as stored:
            done = FoldResult(words["history"], words["facts"], stored["held"], stored["test"])
            _check_shapes(job, done)
    except (DamagedFileError, OSError) as error:
        log.warning("  warning: the result of fold %d is damaged (%s): it is trained again", job.fold, error)
        return None
    return done


def _check_shapes(job: Job, done: FoldResult) -> None:
    """Raises a ValueError where predictions are not of the job's views, pictures and classes."""
    held = sum(fold == job.fold for fold in job.fold_of)
    wanted = [(len(job.views), count, job.classes) for count in (held, len(job.test))]
    if [done.held.shape, done.test.shape] != wanted:
        raise ValueError(f"predictions of shapes {done.held.shape} and {done.test.shape} instead of {wanted}")
