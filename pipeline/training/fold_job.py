"""One fold's training as a job: a JSON file in the run's folder, done by a process of its own.

So memory does not grow with folds, TensorFlow stays out of the process that runs the stages, and a killed run finds the
folds that are done. The result's JSON is written last; without it a fold is not done.

Each fold in a process of its own: started, waited for, and its result or its error brought home.
"""

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.files import DamagedFileError, hash_file, hash_json, open_arrays, read_json, write_json
from pipeline.models import base as bases
from pipeline.models.base import Base
from pipeline.subprocesses import block_interrupts
from pipeline.training.soft_targets import SoftTargetsInfo

log = logging.getLogger(__name__)
TRAINING_VERSION = 3
"""Of the arithmetic of training: raised when the same job comes to other numbers, so that none is mixed."""


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
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
class FoldJob:
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
    metric: MetricSpec = field(default_factory=lambda: MetricSpec(function="", name="accuracy"))
    board: bool = False
    find_rate: bool = False
    taught: SoftTargetsInfo | None = None

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
        values = json.loads(
            json.dumps({**asdict(self), "folder": "", "board": False, "version": TRAINING_VERSION}, default=str)
        )
        if self.taught is None:  # as before there were teachers, so that finished folds stay finished
            del values["taught"]
        digest = "" if self.base.name == "scratch" else bases.compute_weights_digest(self.base)
        return hash_json({**values, "weights": digest})

    def write(self) -> Path:
        """Writes the job as JSON, and returns where."""
        path = self.stem.with_suffix(".job.json")
        write_json(path, json.loads(json.dumps(asdict(self), default=str)))
        return path


def read_fold_job(path: Path) -> FoldJob:
    """The job in a file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    tuples = ("labels", "fold_of", "train", "test", "views", "training_views")
    values |= {name: tuple(values[name]) for name in tuples}
    regime = Training(**{**values["regime"], "sizes": tuple(values["regime"]["sizes"])})
    whole = {"folder": Path(values["folder"]), "base": Base(**values["base"]), "metric": MetricSpec(**values["metric"])}
    if values.get("taught"):
        whole["taught"] = SoftTargetsInfo(**{**values["taught"], "views": tuple(values["taught"]["views"])})
    return FoldJob(**{**values, **whole, "regime": regime})


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


def write_result(job: FoldJob, facts: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Writes the JSON that makes a fold done, with digests of itself, of the predictions and of the model."""
    content = {"fingerprint": job.fingerprint(), "facts": facts, "history": history}
    write_json(job.stem.with_suffix(".json"), {**content, "sha256": _compute_digests(job, content)})


def _compute_digests(job: FoldJob, content: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of each part of a fold's result, 64 hex digits each."""
    files = {"predictions": job.stem.with_suffix(".npz"), "model": job.model}
    return {"content": hash_json(content)} | {name: hash_file(path) for name, path in files.items()}


def read_result(job: FoldJob) -> FoldResult | None:
    """The fold's result; None where it is not done, or a part of it is damaged, which is said."""
    words = read_json(job.stem.with_suffix(".json"))
    if not isinstance(words, dict) or words.get("fingerprint") != job.fingerprint():
        return None
    expected = words.pop("sha256", None)  # results of before 2026-12 have none
    try:
        if expected is not None and (received := _compute_digests(job, words)) != expected:
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


def _check_shapes(job: FoldJob, done: FoldResult) -> None:
    """Raises a ValueError where predictions are not of the job's views, pictures and classes."""
    held = sum(fold == job.fold for fold in job.fold_of)
    wanted = [(len(job.views), count, job.classes) for count in (held, len(job.test))]
    if [done.held.shape, done.test.shape] != wanted:
        raise ValueError(f"predictions of shapes {done.held.shape} and {done.test.shape} instead of {wanted}")


def train_fold(job: FoldJob) -> FoldResult:
    """The fold's result, trained in a process of its own where it is not there yet.

    Raises:
        StarshiftError: training failed; says where.
    """
    done = read_result(job)
    if done is not None:
        log.info("          fold %d is done already", job.fold)
        return done
    code = _run_process(job)
    done = read_result(job)
    if done is None:
        raise _build_failure(job, code)
    return done


def run_lr_job(job: FoldJob) -> dict[str, Any]:
    """What a range test finds: rates, losses, suggested, and its drawing beside FOLD.rate.json.

    Raises:
        StarshiftError: it failed; says where.
    """
    path = job.stem.with_suffix(".rate.json")
    path.unlink(missing_ok=True)
    code = _run_process(replace(job, find_rate=True))
    found: dict[str, Any] | None = read_json(path)
    if found is None:
        raise _build_failure(job, code)
    return found


def _run_process(job: FoldJob) -> int:
    """Does the job in a process of its own. Returns its exit code."""
    path = job.write()
    environment = {**paths.build_child_environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    job.stem.with_suffix(".error.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "pipeline.training.fold_worker", str(path), str(os.getpid())]
    with block_interrupts():
        process = subprocess.Popen(command, env=environment)
    with process:
        try:
            return process.wait()
        except BaseException:
            process.kill()
            raise


def _build_failure(job: FoldJob, code: int) -> StarshiftError:
    """What the job's process said when it failed."""
    words = read_json(job.stem.with_suffix(".error.json"))
    if words:
        return StarshiftError.said(words)
    killed = code == -9  # SIGKILL, a name that Windows lacks
    return StarshiftError(
        f"Training of fold {job.fold} ended before it was done.",
        received="it was killed, most likely since memory ended" if killed else f"exit code {code}",
        remedy="the same command goes on from the last epoch"
        + ("; a smaller batch, size or number of cached views needs less memory" if killed else ""),
    )
