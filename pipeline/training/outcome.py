"""What a rung gives for one fold, and how every picture is predicted with it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.training.checkpoint import Progress
from pipeline.training.handover import compare
from pipeline.training.material import Material
from pipeline.training.predicting import predict
from pipeline.training.sources import Source


@dataclass(kw_only=True)
class Outcome:
    """A trained network.

    Args:
        live: from uint8 pictures to probabilities; what is saved.
        model: what predicts from `source_of`; the live network itself, or the part of it above a cache.
        source_of: its inputs in a view.
        precision: what was rounded on the way to those inputs, see `handover.TOLERANCE`.
        parameters: how many were trained.
        stages: how far each stage of training came.
        before: records of the history that come before those of the stages.
        differences: of the hand-overs so far.
    """

    live: Any
    model: Any
    source_of: Callable[[str], Source]
    precision: str = "float32"
    parameters: int = 0
    stages: list[Progress] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    def predictions(self, material: Material) -> tuple[np.ndarray, np.ndarray]:
        """Of the held-out and of the test pictures in every view, each (views, pictures, classes) float32."""
        sources = [self.source_of(view) for view in material.job.views]
        held = [predict(self.model, source, material.held) for source in sources]
        return np.stack(held), np.stack([predict(self.model, source, material.test) for source in sources])

    def hand_over(self, material: Material, step: str) -> None:
        """Holds the live network against what the model predicts for a few held-out pictures."""
        sample = material.sample
        view = material.job.views[0]
        live = predict(self.live, material.seen(view), sample)
        cached = predict(self.model, self.source_of(view), sample)
        self.differences.append(compare(live, cached, self.precision, step))

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record an epoch, whether it was the best one of its stage in `chosen`."""
        records = list(self.before)
        for stage in self.stages:
            records += [{**r, "chosen": r["epoch"] == stage.best_epoch} for r in stage.history]
        return records

    @property
    def facts(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "parameters": self.parameters,
            "epochs": sum(stage.epoch for stage in self.stages),
            "best_epoch": self.stages[-1].best_epoch if self.stages else 0,
            "seconds_an_epoch": [second for stage in self.stages for second in stage.seconds],
            "hand_over": max(self.differences, default=0.0),
        }


def trainable(model: Any) -> int:
    """How many parameters of a model are trained."""
    return int(sum(np.prod(variable.shape) for variable in model.trainable_variables))
