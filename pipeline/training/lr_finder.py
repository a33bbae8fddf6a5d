"""Finds a learning rate by a range test (Smith 2017, Cyclical Learning Rates, section 3.3).

The rate grows from tiny to large over some hundred steps. A rate at which the loss falls fastest learns well; the one
at which it is lowest is nearly too high. Afterwards the weights are as they were.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.files import write_atomic
from pipeline.models.keras_input import build_keras_input
from pipeline.terminal import open_bar
from pipeline.training.checkpoint import assign_values, copy_values
from pipeline.training.data_loader import TrainSequence
from pipeline.training.optimizer import LayerwiseAdamW
from pipeline.training.soft_targets import compute_cross_entropy
from pipeline.training.trainer import Trainer

MIN_LR, MAX_LR = 1e-7, 1.0
STEPS = 120
SMOOTHING = 0.9
"""Of the smoothed loss, an exponential average without bias (Kingma and Ba 2015)."""
DIVERGENCE_FACTOR = 4.0
"""The test ends where the smoothed loss is so many times its lowest value."""


@dataclass(frozen=True, kw_only=True)
class LearningRateCurve:
    """The result of a range test.

    Args:
        rates: of the steps, growing.
        losses: smoothed, after the step of that rate.
        suggested: the rate to train with.
    """

    rates: list[float]
    losses: list[float]
    suggested: float


class _RangeTestCallback(keras.callbacks.Callback):
    """Sets the rate before each step and keeps the smoothed loss after it."""

    def __init__(self, rates: np.ndarray, bar: Any) -> None:
        super().__init__()
        self.rates, self.bar = rates, bar
        self.losses: list[float] = []
        self._average, self._sum = 0.0, 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.model.optimizer.learning_rate = self.rates[len(self.losses)]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        total = float((logs or {})["loss"]) * (batch + 1)  # Keras gives the mean over the epoch so far
        loss, self._sum = total - (self._sum if batch else 0.0), total
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * loss
        self.losses.append(self._average / (1 - SMOOTHING ** (len(self.losses) + 1)))
        self.bar.update()
        self.bar.set_postfix(rate=f"{self.rates[len(self.losses) - 1]:.1e}", loss=f"{self.losses[-1]:.3f}")
        low = min(self.losses)
        if not math.isfinite(loss) or self.losses[-1] > DIVERGENCE_FACTOR * low or len(self.losses) == len(self.rates):
            self.model.stop_training = True


def run_range_test(trainer: Trainer, steps: int = STEPS) -> LearningRateCurve:
    """Runs the test with a trainer that has not started; the weights of its model are restored.

    Args:
        trainer: its model, batches, training and factors are used.
        steps: how many rates are tried.
    """
    model, batches = trainer.model, trainer.batches
    before = copy_values(model.variables)
    rates = np.geomspace(MIN_LR, MAX_LR, steps)
    model.compile(
        LayerwiseAdamW(float(rates[0]), factors=trainer.factors, weight_decay=trainer.training.weight_decay or 0.0),
        functools.partial(compute_cross_entropy, smoothing=trainer.training.label_smoothing or 0.0),
    )
    with open_bar(total=steps, desc=f"{trainer.name}, find the rate", unit="step") as bar:
        callback = _RangeTestCallback(rates, bar)
        _run_epochs(model, batches, callback, steps)
    assign_values(model.variables, before)
    losses = [loss for loss in callback.losses if math.isfinite(loss)]
    return LearningRateCurve(
        rates=[float(rate) for rate in rates[: len(losses)]],
        losses=losses,
        suggested=suggest_learning_rate(rates, losses),
    )


def _run_epochs(model: Any, batches: TrainSequence, callback: _RangeTestCallback, steps: int) -> None:
    """Trains as many epochs as the steps need, or until the loss diverges."""
    for epoch in range(math.ceil(steps / len(batches))):
        batches.begin(epoch)
        model.fit(
            build_keras_input(batches),
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[callback],
        )
        if model.stop_training:
            return


def suggest_learning_rate(rates: np.ndarray, losses: list[float]) -> float:
    """Suggests a learning rate to train with.

    Where the loss falls: a tenth of the rate at which it is lowest, or that of the steepest fall where this is
    smaller; a fall counts from where the loss is last at its level of before. Where it does not (a head that is
    fitted already leaves little to fall): a third of the rate from which on it rises.

    Args:
        rates: growing.
        losses: smoothed.
    """
    values = np.array(losses)
    early = values[: max(3, len(values) // 3)]
    level, noise = float(np.median(early)), 2 * float(early.std())
    lowest = int(np.argmin(values))
    if values[lowest] < level - noise and lowest >= len(early):
        begun = int(np.flatnonzero(values[:lowest] >= level - noise)[-1])
        slopes = np.gradient(values[: lowest + 1], np.log(rates[: lowest + 1]))
        return float(min(rates[lowest] / 10, rates[begun + int(np.argmin(slopes[begun:]))]))
    calm = np.flatnonzero(values <= level + noise)
    return float(rates[int(calm[-1])] / 3)


def plot_lr_curve(curve: LearningRateCurve, path: Path, title: str) -> None:
    """Plots the loss over the learning rate, and the suggestion, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses)
    axes.axvline(curve.suggested, linestyle="--", color="grey", label=f"suggested: {curve.suggested:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="smoothed loss", title=title)
    axes.set_ylim(top=min(max(curve.losses), 3 * curve.losses[0]))
    axes.legend()
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=120))
