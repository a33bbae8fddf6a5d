"""One fold's training as a job: a JSON file in the run's folder, done by a process of its own.

So memory does not grow with folds, TensorFlow stays out of the process that runs the stages, and a killed run finds the
folds that are done. The result's JSON is written last; without it a fold is not done.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import read_json, sha256_of_json, write_json
from pipeline.models import bases
from pipeline.models.bases import Base
from pipeline.regime import Training
from pipeline.training.lessons import Taught

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


@dataclass(frozen=True, kw_only=True)
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


def result(job: Job) -> FoldResult | None:
    """The fold's result, or None where it is not done."""
    words = read_json(job.stem.with_suffix(".json"))
    if not words or words["fingerprint"] != job.fingerprint() or not job.model.exists():
        return None
    with np.load(job.stem.with_suffix(".npz")) as stored:
        return FoldResult(history=words["history"], facts=words["facts"], held=stored["held"], test=stored["test"])
