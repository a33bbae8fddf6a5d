"""The epochs: one `fit` each, then the held-out score, patience, and a checkpoint from which a killed run goes on.

Everything random in epoch e is drawn from (seed, e): order and augmentation by `TrainSequence`, dropout by seeds set
here.

How training tells of itself while it runs: bars, and TensorBoard's files where they are asked for.
"""

import importlib.util
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.models.keras_input import build_keras_input
from pipeline.models.keras_private import is_seed_state, moments_of, set_batches_seen, without_loss_scaling
from pipeline.training import checkpoint
from pipeline.training.checkpoint import TrainingState, assign_values, copy_values
from pipeline.training.data_loader import Source, TrainSequence
from pipeline.training.heads.logistic_regression import cross_entropy
from pipeline.training.inference import predict
from pipeline.training.optimizer import build_optimizer
from pipeline.training.soft_targets import SoftTargetsInfo, build_distillation_loss

log = logging.getLogger(__name__)


class ProgressCallback(keras.callbacks.Callback):
    """Moves the bar on."""

    def __init__(self, bar: Any, parts: int) -> None:
        super().__init__()
        self.bar, self.parts = bar, parts

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        if (batch + 1) % self.parts == 0:
            self.bar.update()


class EpochLogger(keras.callbacks.Callback):
    """Shows the progress of one epoch and writes its line.

    Args:
        number: of the epoch, from 1.
        epochs: of all.
    """

    def __init__(self, number: int, epochs: int) -> None:
        super().__init__()
        self.number, self.epochs = number, epochs

    def on_train_begin(self, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        words = f"epoch {self.number}/{self.epochs}"
        self.started = time.perf_counter()
        self.bar = tqdm(total=self.params["steps"], desc=words, unit="step", disable=None, leave=False)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['categorical_accuracy']:.3f}")
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.bar.close()
        seconds = time.perf_counter() - self.started
        words = f"loss {logs['loss']:.3f}, accuracy {logs['categorical_accuracy']:.3f}"
        log.info("epoch %2d  %6.1f s  %s", self.number, seconds, words)


def write_tensorboard(folder: Path, epoch: int, values: Mapping[str, float]) -> None:
    """Writes an epoch's numbers for TensorBoard, where TensorFlow is there to write them."""
    if importlib.util.find_spec("tensorflow") is None:
        return
    import tensorflow as tf

    with tf.summary.create_file_writer(str(folder)).as_default():
        for name, value in values.items():
            tf.summary.scalar(name, value, step=epoch)


@dataclass(frozen=True, kw_only=True)
class ValidationSet:
    """The held-out pictures, and what is asked of them.

    Args:
        source: of the inputs.
        positions: (n,) int.
        labels: (n,) int.
        score: the competition's metric of labels (n,) and probabilities (n, classes).
        higher: whether more of it is better.
    """

    source: Source
    positions: np.ndarray
    labels: np.ndarray
    score: Callable[[np.ndarray, np.ndarray], float]
    higher: bool


@dataclass(kw_only=True)
class Trainer:
    """One network's way through the epochs.

    Args:
        name: such as `fold 0 finetune`; begins its lines and its bar.
        model: a keras.Model that gives probabilities.
        batches: what it is trained on.
        held: what it is scored on.
        regime: epochs, patience, rates and the rest.
        seed: of dropout.
        file: of the checkpoint.
        fingerprint: of everything that decides the result.
        record: what every record of the history begins with.
        factors: of the rate, by variable path.
        from_start: the weights before the first epoch are scored too, and may turn out the best ones.
        board: folder of TensorBoard's files; None writes none.
        taught: temperature and weight of the batches' soft targets; None where they have labels alone.
    """

    name: str
    model: Any
    batches: TrainSequence
    held: ValidationSet
    regime: Training
    seed: int
    file: Path
    fingerprint: str
    record: Mapping[str, Any] = field(default_factory=dict)
    factors: Mapping[str, float] | None = None
    from_start: bool = False
    board: Path | None = None
    taught: SoftTargetsInfo | None = None

    def run(self) -> TrainingState:
        """Trains until the epochs or the patience are at an end; the model has the best weights then."""
        stored = checkpoint.load_checkpoint(self.file, self.fingerprint)
        self._compile(stored.progress.parts if stored else 1)
        progress = stored.put_into(self.model) if stored else TrainingState()
        if progress.epoch:
            log.info("          %s goes on from epoch %d", self.name, progress.epoch)
        else:
            if self.from_start:
                self._judge(progress, -1)
            checkpoint.save_checkpoint(self.file, self.fingerprint, progress, self.model)
        epochs = int(self.regime.epochs or 0)
        total = epochs * len(self.batches)
        done = progress.epoch * len(self.batches)
        with tqdm(total=total, initial=done, desc=self.name, unit="batch", disable=None, leave=False) as self._bar:
            while progress.epoch < epochs and progress.waited < int(self.regime.patience or 0):
                self._epoch(progress)
                checkpoint.save_checkpoint(self.file, self.fingerprint, progress, self.model)
        assign_values(self.model.variables, progress.best)
        return progress

    def _compile(self, parts: int) -> None:
        """Gives the model a fresh optimizer that adds up gradients over `parts` batches."""
        self.batches.split(parts)
        steps = int(self.regime.epochs or 0) * len(self.batches) // parts
        smoothing, taught = self.regime.label_smoothing or 0.0, self.taught
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        if taught is not None:
            loss = build_distillation_loss(taught.temperature, taught.weight, smoothing)
        self.model.compile(build_optimizer(self.regime, steps, self.factors, parts), loss)
        self.model.optimizer.build(self.model.trainable_variables)

    def _epoch(self, progress: TrainingState) -> None:
        """One epoch, its score, and what follows from it."""
        started = time.perf_counter()
        loss = self._fit(progress)
        score, held_loss, better = self._judge(progress, progress.epoch)
        progress.waited = 0 if better else progress.waited + 1
        if not np.isfinite(held_loss):
            self._diverged(progress)
        values = {"epoch": progress.epoch, "loss": loss, "held_loss": held_loss, "score": score}
        progress.history.append({**self.record, **values})
        progress.seconds.append(round(time.perf_counter() - started, 3))
        progress.epoch += 1
        self._bar.set_postfix(loss=f"{loss:.3f}", held_loss=f"{held_loss:.3f}", score=f"{score:.4f}")
        if self.board is not None:
            write_tensorboard(self.board, progress.epoch, values)

    def _judge(self, progress: TrainingState, epoch: int) -> tuple[float, float, bool]:
        """The held-out metric and log loss of the weights (of their averages), kept where they are the best so far.

        Both are NaN where the predictions are no numbers any more.
        """
        variables = self.model.trainable_variables
        current = copy_values(variables)
        assign_values(variables, copy_values(without_loss_scaling(self.model.optimizer).averages) or current)
        probabilities = predict(self.model, self.held.source, self.held.positions)
        if not np.isfinite(probabilities).all():
            assign_values(variables, current)
            return float("nan"), float("nan"), False
        score = self.held.score(self.held.labels, probabilities)
        loss = cross_entropy(probabilities, self.held.labels)
        gain = score - progress.best_score if self.held.higher else progress.best_score - score
        better = not progress.best or gain > 0 or (gain == 0 and loss < progress.best_loss)
        if better:
            progress.best = copy_values(self.model.variables)
            progress.best_epoch, progress.best_score, progress.best_loss = epoch, score, loss
        assign_values(variables, current)
        return score, loss, better

    def _diverged(self, progress: TrainingState) -> None:
        """Ends the epochs where the weights are no numbers any more.

        Raises:
            StarshiftError: there are no earlier ones that predicted.
        """
        rate = self.regime.rate or 0.0
        if not progress.best:
            raise StarshiftError(
                f"{self.name}: training diverged in its first epoch.",
                expected="predictions that are numbers",
                received=f"others, at a rate of {rate:.1e}",
                remedy=f"training=Training(rate={rate / 10:.0e}) in the recipe; invoke run --find-lr looks for one",
            )
        log.warning("  warning: %s: training diverged in epoch %d at a rate of %.1e; the best epoch before is kept",
                    self.name, progress.epoch + 1, rate)  # fmt: skip
        progress.waited = max(progress.waited, int(self.regime.patience or 0))

    def _fit(self, progress: TrainingState) -> float:
        """Passes over the batches once; where memory ends, again with smaller ones. Returns the mean loss."""
        while True:
            self.batches.begin(progress.epoch)
            reseed(self.model, self.seed, progress.epoch)
            try:
                fitted = self.model.fit(
                    build_keras_input(self.batches),
                    initial_epoch=progress.epoch,
                    epochs=progress.epoch + 1,
                    shuffle=False,
                    verbose=0,
                    callbacks=[ProgressCallback(self._bar, self.batches.parts)],
                )
                return float(fitted.history["loss"][-1])
            except Exception as error:
                if not is_out_of_memory(error) or self.batches.batch // (2 * self.batches.parts) < 1:
                    raise
                self._halve(progress)

    def _halve(self, progress: TrainingState) -> None:
        """Goes back to the last checkpoint with batches of half the size, two to a step."""
        old = without_loss_scaling(self.model.optimizer)
        stored = checkpoint.load_checkpoint(self.file, self.fingerprint)
        if stored is None:  # the model is in the middle of an epoch, and there is nothing to go back to
            raise StarshiftError(
                f"{self.name}: memory is at an end, and the checkpoint cannot be read.",
                expected=f"{self.file.name} as it was written after the last epoch",
                received="a missing or damaged file",
                remedy="the same command starts this fold anew; a smaller batch needs less memory",
            )
        stored.put_into(self.model)
        moments, steps = copy_values(_list_optimizer_state(old)), int(old.iterations)
        progress.parts = self.batches.parts * 2
        size = self.batches.batch // progress.parts
        log.warning(
            "  warning: %s: out of memory; batches of %d, gradients added up over %d", self.name, size, progress.parts
        )
        self._compile(progress.parts)
        new = without_loss_scaling(self.model.optimizer)
        assign_values(_list_optimizer_state(new), moments)
        set_batches_seen(new, steps * progress.parts)
        checkpoint.save_checkpoint(self.file, self.fingerprint, progress, self.model)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a backend has said that memory is at an end."""
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def reseed(model: Any, seed: int, epoch: int) -> None:
    """Sets the state of every seed generator in the model (dropout has one) from the seed and the epoch."""
    for number, variable in enumerate(v for v in model.variables if is_seed_state(v)):
        random = np.random.default_rng([seed, epoch, number])
        variable.assign(random.integers(0, 2**32, variable.shape, dtype=np.uint32))


def _list_optimizer_state(optimizer: Any) -> list[Any]:
    """The variables that a step depends on: both moments and the averages."""
    return [*moments_of(optimizer), *optimizer.averages]
