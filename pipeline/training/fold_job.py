"""One fold's training as a job: a JSON file in the run's folder, done by a process of its own.

So memory does not grow with folds, TensorFlow stays out of the process that runs the stages, and a killed run keeps the
folds that are done. The result's JSON is written last; without it a fold is not done.
"""

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import subprocesses
from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.files import DamagedFileError, hash_file, hash_json, open_arrays, read_json, write_json
from pipeline.models import base as bases
from pipeline.models.backend import find_backend
from pipeline.models.base import Base
from pipeline.training.soft_targets import SoftTargetsInfo

log = logging.getLogger(__name__)
FINAL_MODEL_FILE = "final.keras"
"""The network that was trained on all pictures, in the run's folder."""
TRAINING_VERSION = 3
"""Version of the arithmetic of training, raised when the same job gives other numbers, so that results never mix."""


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """The competition's metric, by name, so that the process of a fold can import it.

    Args:
        function: `module:name` of a function of name, labels (n,), probabilities (n, classes) and positive.
        name: of the metric.
        positive: number of the positive class; None where there is none.
        higher: whether more of it is better.
    """

    function: str
    name: str
    positive: int | None = None
    higher: bool = True


@dataclass(frozen=True, kw_only=True)
class FoldJob:
    """Everything that one fold's training depends on.

    Args:
        folder: of the run.
        strategy: the strategy.
        fold: its number.
        seed: of the run.
        base: the pretrained network; for `scratch` and `augmented` only its size counts.
        head: `linear`, `lda` or `mlp`.
        training: how to train, no field None.
        classes: how many there are.
        labels: of the training pictures.
        fold_of: the fold that validates each training picture.
        train: digests of the training pictures.
        test: digests of the test pictures.
        views: that are predicted and averaged.
        training_views: that a head is trained on.
        precision: of the cached features, `float32` or `bfloat16`.
        cut: where the base is cut in two; None trains all of it.
        cached: whether activations at the cut are cached.
        cut_precision: of their arithmetic.
        metric: the competition's.
        tensorboard: write TensorBoard's files.
        find_learning_rate: only look for a learning rate.
        soft_targets: the soft targets; None trains on labels alone.
        final_epochs: of the final model, which is trained on all pictures: pairs of a stage and its epochs. The fold's
            pictures only choose the L2 of its first head. Empty for a fold.
        continued: the folder of a finished run; its model of this fold has the weights to start from.
    """

    folder: Path
    strategy: str
    fold: int
    seed: int
    base: Base
    head: str
    training: Training
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
    tensorboard: bool = False
    find_learning_rate: bool = False
    soft_targets: SoftTargetsInfo | None = None
    final_epochs: tuple[tuple[str, int], ...] = ()
    continued: Path | None = None

    @property
    def stem(self) -> Path:
        """The fold's files without their endings."""
        return self.folder / "folds" / ("final" if self.final_epochs else f"fold{self.fold}")

    @property
    def title(self) -> str:
        """Names the job in log lines and errors."""
        return "final model" if self.final_epochs else f"fold {self.fold}"

    @property
    def model(self) -> Path:
        """The file of the fold's model."""
        return self.folder / FINAL_MODEL_FILE if self.final_epochs else find_fold_model(self.folder, self.fold)

    @property
    def error_file(self) -> Path:
        """The file of the user's error that ended the fold's process."""
        return self.stem.with_suffix(".error.json")

    def fingerprint(self) -> str:
        """Computes the SHA-256 of everything that decides the result, 64 hex digits."""
        values = json.loads(
            json.dumps({**asdict(self), "folder": "", "tensorboard": False, "version": TRAINING_VERSION}, default=str)
        )
        if not self.final_epochs:
            del values["final_epochs"]  # the jobs of folds keep the fingerprint that they had without it
        del values["continued"]  # where that run lies decides nothing
        if self.continued:
            values["start"] = hash_file(find_fold_model(self.continued, self.fold))
        digest = "" if self.base.name == "scratch" else bases.compute_weights_digest(self.base)
        # TensorFlow's jobs keep the fingerprint that they had before there was another backend.
        backend = {} if find_backend() == "tensorflow" else {"backend": find_backend()}
        return hash_json({**values, "weights": digest, **backend})

    def write(self) -> Path:
        """Writes the job as JSON, and returns where."""
        path = self.stem.with_suffix(".job.json")
        write_json(path, json.loads(json.dumps(asdict(self), default=str)))
        return path


def find_fold_model(folder: Path, fold: int) -> Path:
    """Returns the path of a fold's model in a run's folder."""
    return folder / "models" / f"fold{fold}.keras"


def read_fold_job(path: Path) -> FoldJob:
    """Reads the job in a file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    tuples = ("labels", "fold_of", "train", "test", "views", "training_views")
    values |= {name: tuple(values[name]) for name in tuples}
    values["final_epochs"] = tuple((stage, epochs) for stage, epochs in values["final_epochs"])
    values["continued"] = Path(values["continued"]) if values["continued"] else None
    training = Training(**{**values["training"], "sizes": tuple(values["training"]["sizes"])})
    whole = {"folder": Path(values["folder"]), "base": Base(**values["base"]), "metric": MetricSpec(**values["metric"])}
    if values.get("soft_targets"):
        whole["soft_targets"] = SoftTargetsInfo(
            **{**values["soft_targets"], "views": tuple(values["soft_targets"]["views"])}
        )
    return FoldJob(**{**values, **whole, "training": training})


@dataclass(frozen=True)
class FoldResult:
    """The result of a fold's training.

    Args:
        history: one record an epoch.
        facts: device, trained parameters, seconds of each epoch, best epoch, largest hand-over difference.
        validation: probabilities (views, validation pictures, classes) float32.
        test: probabilities (views, test pictures, classes) float32.
    """

    history: list[dict[str, Any]]
    facts: dict[str, Any]
    validation: np.ndarray
    test: np.ndarray


def write_result(job: FoldJob, facts: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Writes the JSON that marks a fold as done, with digests of itself, of the predictions and of the model."""
    content = {"fingerprint": job.fingerprint(), "facts": facts, "history": history}
    write_json(job.stem.with_suffix(".json"), {**content, "sha256": _compute_digests(job, content)})


def _compute_digests(job: FoldJob, content: dict[str, Any]) -> dict[str, str]:
    """Computes the SHA-256 of each part of a fold's result."""
    files = {"predictions": job.stem.with_suffix(".npz"), "model": job.model}
    return {"content": hash_json(content)} | {name: hash_file(path) for name, path in files.items()}


def read_result(job: FoldJob) -> FoldResult | None:
    """Reads the fold's result; None where it is not done or is damaged (with a warning)."""
    stored = read_json(job.stem.with_suffix(".json"))
    if not isinstance(stored, dict) or stored.get("fingerprint") != job.fingerprint():
        return None
    expected = stored.pop("sha256", None)  # results of before 2026-12 have none
    try:
        if expected is not None and (received := _compute_digests(job, stored)) != expected:
            raise DamagedFileError(
                f"other digests of {', '.join(k for k in received if received[k] != expected.get(k))}"
            )
        with open_arrays(job.stem.with_suffix(".npz")) as arrays:
            result = FoldResult(stored["history"], stored["facts"], arrays["validation"], arrays["test"])
            _check_shapes(job, result)
    except (DamagedFileError, OSError) as error:
        log.warning("  warning: the result of %s is damaged (%s): it is trained again", job.title, error)
        return None
    return result


def _check_shapes(job: FoldJob, result: FoldResult) -> None:
    """Raises a ValueError where predictions are not of the job's views, pictures and classes."""
    counts = (job.fold_of.count(job.fold), len(job.test))
    expected = [(len(job.views), count, job.classes) for count in counts]
    if [result.validation.shape, result.test.shape] != expected:
        raise ValueError(
            f"predictions of shapes {result.validation.shape} and {result.test.shape} instead of {expected}"
        )


def train_fold(job: FoldJob) -> FoldResult:
    """Returns the fold's result, trained in a process of its own where it is not there yet.

    Raises:
        StarshiftError: training failed.
    """
    if (result := read_result(job)) is not None:
        log.info("          %s is done already", job.title)
        return result
    code = _run_process(job)
    if (result := read_result(job)) is None:
        raise _build_failure(job, code)
    return result


def run_lr_job(job: FoldJob) -> dict[str, Any]:
    """Runs a range test; returns rates, losses and suggested, and leaves a plot beside FOLD.lr.json.

    Raises:
        StarshiftError: it failed.
    """
    path = job.stem.with_suffix(".lr.json")
    path.unlink(missing_ok=True)
    code = _run_process(replace(job, find_learning_rate=True))
    curve: dict[str, Any] | None = read_json(path)
    if curve is None:
        raise _build_failure(job, code)
    return curve


def _run_process(job: FoldJob) -> int:
    """Does the job in a process of its own. Returns its exit code."""
    job.error_file.unlink(missing_ok=True)
    process = subprocesses.start_module("pipeline.training.fold_worker", str(job.write()))
    with subprocesses.kill_on_error(process):
        return process.wait()


def _build_failure(job: FoldJob, code: int) -> StarshiftError:
    """Builds the error of a job's process that ended without a result."""
    if values := read_json(job.error_file):
        return StarshiftError.from_json(values)
    killed = code == subprocesses.KILLED_CODE
    return StarshiftError(
        f"Training of {job.title} ended before it was done.",
        received="it was killed, most likely since memory ended" if killed else f"exit code {code}",
        remedy="the same command goes on from the last epoch"
        + ("; a smaller batch_size, size or number of cached views needs less memory" if killed else ""),
    )
