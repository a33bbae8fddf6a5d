"""The process of one fold: reads a job, trains, predicts, and writes everything into the run's folder.

python -m pipeline.training.worker JOB.json PARENT
"""

import logging
import time
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from pipeline.files import write_atomic, write_json
from pipeline.training import finetune, from_pixels, frozen
from pipeline.training.assemble import save
from pipeline.training.jobs import Job, write_result
from pipeline.training.material import Material, RateFound
from pipeline.training.outcome import Outcome
from pipeline.training.rate_finder import Found, draw

log = logging.getLogger(__name__)
RUNGS = {
    "scratch": from_pixels.scratch,
    "augmented": from_pixels.augmented,
    "frozen": frozen.train,
    "finetune": finetune.train,
}


def work(job: Job, words: str) -> None:
    """Trains one fold and writes its model, its predictions and, last, its JSON.

    Args:
        job: the fold's job.
        words: the device, from `device.prepare`.
    """
    started = time.perf_counter()
    material = Material(job)
    try:
        outcome = RUNGS[job.rung](material)
    except RateFound as end:
        tell_rate(job, end.found)
        return
    held, test = outcome.predictions(material)
    if keras.config.dtype_policy().compute_dtype != "float32":
        outcome.precision, outcome.live = "bfloat16", as_float32(outcome.live)
    outcome.hand_over(material, "after training")
    job.model.parent.mkdir(parents=True, exist_ok=True)
    save(outcome.live, job.model)
    write_atomic(job.stem.with_suffix(".npz"), lambda file: np.savez(file, held=held, test=test))
    facts = {**outcome.facts, "device": words, "seconds": round(time.perf_counter() - started, 2)}
    write_result(job, facts, outcome.history)
    for path in job.stem.parent.glob(f"{job.stem.name}-*.npz"):
        path.unlink()
    _tell(job, outcome)


def as_float32(model: Any) -> Any:
    """A model that was trained in half precision, with its arithmetic in float32 from now on."""
    keras.config.set_dtype_policy("float32")
    copy = keras.models.clone_model(model, clone_function=_float32_layer)
    copy.set_weights(model.get_weights())
    return copy


def _float32_layer(layer: Any) -> Any:
    """A layer, or a model in the model, computing in float32."""
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer, clone_function=_float32_layer)
    config = layer.get_config()
    if "dtype" in config:
        config["dtype"] = (
            "uint8" if isinstance(layer, keras.layers.InputLayer) and layer.dtype == "uint8" else "float32"
        )
    return layer.__class__.from_config(config)


def tell_rate(job: Job, found: Found) -> None:
    """Draws what a range test found, and writes it."""
    draw(found, job.stem.with_suffix(".rate.png"), f"{job.rung} on {job.base.name}, fold {job.fold}")
    write_json(job.stem.with_suffix(".rate.json"), asdict(found))


def _tell(job: Job, outcome: Outcome) -> None:
    """One line with what the fold came to."""
    for stage in outcome.stages:
        log.info(
            "          fold %d: %d epochs of %.1f s, the best %s: %s %.5f in the view %s",
            job.fold,
            stage.epoch,
            float(np.median(stage.seconds)) if stage.seconds else 0.0,
            f"was {stage.best_epoch}" if stage.best_epoch >= 0 else "is what they began with",
            job.metric.name,
            stage.best_score,
            job.views[0],
        )
