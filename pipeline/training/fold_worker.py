"""The process of one fold: reads a job, trains, predicts, and writes everything into the run's folder.

python -m pipeline.training.fold_worker JOB.json

TensorFlow is imported here and not in the process that runs the stages.
"""

import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import logs

logs.import_quietly("tensorflow")  # it prints about oneDNN while it is imported, before it reads TF_CPP_MIN_LOG_LEVEL

import keras

from pipeline.files import write_atomic, write_json
from pipeline.logs import silence_stderr
from pipeline.subprocesses import run_main
from pipeline.training import device, fold_job, strategies
from pipeline.training.export import save_model
from pipeline.training.fold_data import FoldData, LearningRateFound
from pipeline.training.fold_job import FoldJob, write_result
from pipeline.training.lr_finder import LearningRateCurve, plot_lr_curve
from pipeline.training.strategies import FittedFold

log = logging.getLogger(__name__)


def run_fold_job(job: FoldJob, device_name: str) -> None:
    """Trains one fold and writes its model, its predictions and, last, its JSON.

    Args:
        job: the fold's job.
        device_name: from `device.prepare_device`.
    """
    started = time.perf_counter()
    data = FoldData(job)
    try:
        fitted = strategies.STRATEGY_FUNCTIONS[job.strategy](data)
    except LearningRateFound as end:
        write_lr_curve(job, end.curve)
        return
    held, test = fitted.predict(data)
    if keras.config.dtype_policy().compute_dtype != "float32":
        fitted.precision, fitted.live = "bfloat16", convert_to_float32(fitted.live)
    fitted.check_parity(data, "after training")
    job.model.parent.mkdir(parents=True, exist_ok=True)
    save_model(fitted.live, job.model)
    write_atomic(job.stem.with_suffix(".npz"), lambda file: np.savez(file, validation=held, test=test))
    seconds = time.perf_counter() - started + sum(stage.restored_seconds for stage in fitted.stages)
    facts = {**fitted.facts, "device": device_name, "seconds": round(seconds, 2)}
    write_result(job, facts, fitted.history)
    for path in job.stem.parent.glob(f"{job.stem.name}-*.npz"):
        path.unlink()
    _log_stages(job, fitted)


def convert_to_float32(model: Any) -> Any:
    """Copies a model that was trained in half precision; the copy computes in float32."""
    keras.config.set_dtype_policy("float32")
    copy = keras.models.clone_model(model, clone_function=_convert_layer)
    copy.set_weights(model.get_weights())
    return copy


def _convert_layer(layer: Any) -> Any:
    """Copies a layer, or a model in the model, to compute in float32."""
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer, clone_function=_convert_layer)
    config = layer.get_config()
    if "dtype" in config:
        config["dtype"] = (
            "uint8" if isinstance(layer, keras.layers.InputLayer) and layer.dtype == "uint8" else "float32"
        )
    return layer.__class__.from_config(config)


def write_lr_curve(job: FoldJob, curve: LearningRateCurve) -> None:
    """Plots the result of a range test, and writes it."""
    plot_lr_curve(curve, job.stem.with_suffix(".lr.png"), f"{job.strategy} on {job.base.name}, fold {job.fold}")
    write_json(job.stem.with_suffix(".lr.json"), asdict(curve))


def _log_stages(job: FoldJob, fitted: FittedFold) -> None:
    """Logs one line a stage of training; the final model has no score, since it saw every picture."""
    for stage in fitted.stages:
        seconds = float(np.median(stage.seconds)) if stage.seconds else 0.0
        line = f"{job.title}: {stage.epoch} epochs of {seconds:.1f} s"
        if not job.final_epochs:
            best = f"was {stage.best_epoch}" if stage.best_epoch >= 0 else "is what they began with"
            line += f", the best {best}: {job.metric.name} {stage.best_score:.5f} in the view {job.views[0]}"
        log.info("          %s", line)


def main() -> int:
    """Does the job in a file; leaves a user's error in FOLD.error.json."""
    logs.set_up()
    job = fold_job.read_fold_job(Path(sys.argv[1]))
    with silence_stderr():
        device_name = device.prepare_device(job.seed + job.fold, job.training.precision)
    return run_main(lambda: run_fold_job(job, device_name), job.error_file)


if __name__ == "__main__":
    sys.exit(main())
