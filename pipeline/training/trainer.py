"""The training loop: one `fit` an epoch, then the validation score, patience, and a checkpoint to resume from.

Everything random in epoch e is drawn from (seed, e): order and augmentation by `TrainSequence`, dropout by seeds set
here.
"""

import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.models.keras_input import build_keras_input
from pipeline.models.keras_private import is_seed_state, moments_of, set_batches_seen, without_loss_scaling
from pipeline.terminal import open_bar
from pipeline.training import checkpoint
from pipeline.training.checkpoint import TrainingState, assign_values, copy_values
from pipeline.training.data_loader import Source, TrainSequence
from pipeline.training.heads.logistic_regression import cross_entropy
from pipeline.training.inference import predict
from pipeline.training.optimizer import build_optimizer
from pipeline.training.soft_targets import SoftTargetsInfo, build_distillation_loss, compute_cross_entropy

log = logging.getLogger(__name__)


class ProgressCallback(keras.callbacks.Callback):
    """Advances the state bar."""

    def __init__(self, bar: Any, parts: int) -> None:
        super().__init__()
        self.bar, self.parts = bar, parts

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        if (batch + 1) % self.parts == 0:
            self.bar.update()


class EpochLogger(keras.callbacks.Callback):
    """Shows the state of one epoch and logs its line.

    Args:
        number: of the epoch, from 1.
        epochs: of all.
    """

    def __init__(self, number: int, epochs: int) -> None:
        super().__init__()
        self.number, self.epochs = number, epochs

    def on_train_begin(self, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.started = time.perf_counter()
        self.bar = open_bar(
            total=self.params["steps"],
            desc=f"epoch {self.number}/{self.epochs}",
            unit="step",
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['categorical_accuracy']:.3f}")
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """See keras.callbacks.Callback."""
        self.bar.close()
        seconds = time.perf_counter() - self.started
        loss, accuracy = logs["loss"], logs["categorical_accuracy"]
        log.info("epoch %2d  %6.1f s  loss %.3f, accuracy %.3f", self.number, seconds, loss, accuracy)


def write_tensorboard(folder: Path, epoch: int, values: Mapping[str, float]) -> None:
    """Writes an epoch's numbers for TensorBoard; only TensorFlow can."""
    import tensorflow as tf

    with tf.summary.create_file_writer(str(folder)).as_default():
        for name, value in values.items():
            tf.summary.scalar(name, value, step=epoch)


@dataclass(frozen=True, kw_only=True)
class ValidationSet:
    """The validation pictures and their metric.

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
    """Trains one network.

    Args:
        name: such as `fold 0 finetune`; begins its log lines and its state bar.
        model: a keras.Model that gives probabilities.
        batches: what it is trained on.
        validation: what it is scored on.
        training: epochs, patience, rates and the rest.
        seed: of dropout.
        file: of the checkpoint.
        fingerprint: of everything that decides the result.
        record: what every record of the history begins with.
        factors: of the learning rate, by variable path.
        from_start: the weights before the first epoch are scored too, and may turn out the best ones.
        tensorboard: folder of TensorBoard's files; None writes none.
        soft_targets: temperature and weight of the batches' soft targets; None where they have labels alone.
        stop_after: so many epochs, whose last weights are taken, without patience; None takes the best ones.
    """

    name: str
    model: Any
    batches: TrainSequence
    validation: ValidationSet
    training: Training
    seed: int
    file: Path
    fingerprint: str
    record: Mapping[str, Any] = field(default_factory=dict)
    factors: Mapping[str, float] | None = None
    from_start: bool = False
    tensorboard: Path | None = None
    soft_targets: SoftTargetsInfo | None = None
    stop_after: int | None = None

    def run(self) -> TrainingState:
        """Trains until the epochs or the patience end; the model then has the best weights."""
        stored = checkpoint.load_checkpoint(self.file, self.fingerprint)
        self._compile(stored.state.parts if stored else 1)
        state = stored.restore(self.model) if stored else TrainingState()
        if state.epoch:
            log.info("          %s goes on from epoch %d", self.name, state.epoch)
        else:
            if self.from_start:
                self._evaluate(state, -1)
            checkpoint.save_checkpoint(self.file, self.fingerprint, state, self.model)
        epochs = int(self.training.epochs or 0) if self.stop_after is None else self.stop_after
        total = epochs * len(self.batches)
        done = state.epoch * len(self.batches)
        with open_bar(total=total, initial=done, desc=self.name, unit="batch") as self._bar:
            while state.epoch < epochs and state.waited < int(self.training.patience or 0):
                self._train_epoch(state)
                checkpoint.save_checkpoint(self.file, self.fingerprint, state, self.model)
        assign_values(self.model.variables, state.best)
        return state

    def _compile(self, parts: int) -> None:
        """Compiles the model with a fresh optimizer that adds up gradients over `parts` batches."""
        self.batches.split(parts)
        steps = int(self.training.epochs or 0) * len(self.batches) // parts
        smoothing, soft_targets = self.training.label_smoothing or 0.0, self.soft_targets
        loss: Callable[[Any, Any], Any] = functools.partial(compute_cross_entropy, smoothing=smoothing)
        if soft_targets is not None:
            loss = build_distillation_loss(soft_targets.temperature, soft_targets.weight, smoothing)
        self.model.compile(build_optimizer(self.training, steps, self.factors, parts), loss)
        self.model.optimizer.build(self.model.trainable_variables)

    def _train_epoch(self, state: TrainingState) -> None:
        """Trains one epoch, scores it, and updates patience and history."""
        started = time.perf_counter()
        loss = self._fit(state)
        score, val_loss, better = self._evaluate(state, state.epoch)
        state.waited = 0 if better else state.waited + 1
        if not np.isfinite(val_loss):
            self._stop_diverged(state)
        values = {"epoch": state.epoch, "loss": loss, "val_loss": val_loss, "score": score}
        state.history.append({**self.record, **values})
        state.seconds.append(round(time.perf_counter() - started, 3))
        state.epoch += 1
        self._bar.set_postfix(loss=f"{loss:.3f}", val_loss=f"{val_loss:.3f}", score=f"{score:.4f}")
        if self.tensorboard is not None:
            write_tensorboard(self.tensorboard, state.epoch, values)

    def _evaluate(self, state: TrainingState, epoch: int) -> tuple[float, float, bool]:
        """Computes validation metric and log loss of the weights (of their averages); keeps the best weights.

        Both are NaN where predictions are not finite.
        """
        variables = self.model.trainable_variables
        current = copy_values(variables)
        assign_values(variables, copy_values(without_loss_scaling(self.model.optimizer).averages) or current)
        probabilities = predict(self.model, self.validation.source, self.validation.positions)
        if not np.isfinite(probabilities).all():
            assign_values(variables, current)
            return float("nan"), float("nan"), False
        score = self.validation.score(self.validation.labels, probabilities)
        loss = cross_entropy(probabilities, self.validation.labels)
        gain = score - state.best_score if self.validation.higher else state.best_score - score
        is_best = not state.best or gain > 0 or (gain == 0 and loss < state.best_loss)
        better = is_best or self.stop_after is not None
        if better:
            state.best = copy_values(self.model.variables)
            state.best_epoch, state.best_score, state.best_loss = epoch, score, loss
        assign_values(variables, current)
        return score, loss, better

    def _stop_diverged(self, state: TrainingState) -> None:
        """Ends training where the weights are not finite.

        Raises:
            StarshiftError: no earlier epoch predicted.
        """
        rate = self.training.learning_rate or 0.0
        if not state.best:
            raise StarshiftError(
                f"{self.name}: training diverged in its first epoch.",
                expected="predictions that are numbers",
                received=f"others, at a rate of {rate:.1e}",
                remedy=f"--set training.learning_rate={rate / 10:.0e}; or look for one by invoke run --find-lr",
            )
        log.warning("  warning: %s: training diverged in epoch %d at a rate of %.1e; the best epoch before is kept",
                    self.name, state.epoch + 1, rate)  # fmt: skip
        state.waited = max(state.waited, int(self.training.patience or 0))

    def _fit(self, state: TrainingState) -> float:
        """Trains on all batches once, on smaller ones if memory is exhausted. Returns the mean loss."""
        while True:
            self.batches.begin(state.epoch)
            reseed(self.model, self.seed, state.epoch)
            try:
                history = self.model.fit(
                    build_keras_input(self.batches),
                    initial_epoch=state.epoch,
                    epochs=state.epoch + 1,
                    shuffle=False,
                    verbose=0,
                    callbacks=[ProgressCallback(self._bar, self.batches.parts)],
                )
                return float(history.history["loss"][-1])
            except Exception as error:
                if not is_out_of_memory(error) or self.batches.batch // (2 * self.batches.parts) < 1:
                    raise
                self._halve_batches(state)

    def _halve_batches(self, state: TrainingState) -> None:
        """Goes back to the last checkpoint with batches of half the size, two a step."""
        old = without_loss_scaling(self.model.optimizer)
        stored = checkpoint.load_checkpoint(self.file, self.fingerprint)
        if stored is None:  # the model is in the middle of an epoch, and there is nothing to go back to
            raise StarshiftError(
                f"{self.name}: memory is at an end, and the checkpoint cannot be read.",
                expected=f"{self.file.name} as it was written after the last epoch",
                received="a missing or damaged file",
                remedy="the same command starts this fold anew; a smaller batch_size needs less memory",
            )
        stored.restore(self.model)
        moments, steps = copy_values(_list_optimizer_state(old)), int(old.iterations)
        state.parts = self.batches.parts * 2
        size = self.batches.batch // state.parts
        log.warning(
            "  warning: %s: out of memory; batches of %d, gradients added up over %d", self.name, size, state.parts
        )
        self._compile(state.parts)
        new = without_loss_scaling(self.model.optimizer)
        assign_values(_list_optimizer_state(new), moments)
        set_batches_seen(new, steps * state.parts)
        checkpoint.save_checkpoint(self.file, self.fingerprint, state, self.model)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a backend reports that memory is exhausted."""
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def reseed(model: Any, seed: int, epoch: int) -> None:
    """Sets the state of every seed generator in the model (dropout has one) from the seed and the epoch."""
    for number, variable in enumerate(v for v in model.variables if is_seed_state(v)):
        random = np.random.default_rng([seed, epoch, number])
        variable.assign(random.integers(0, 2**32, variable.shape, dtype=np.uint32))


def _list_optimizer_state(optimizer: Any) -> list[Any]:
    """Lists the variables that a step depends on: both moments and the averages."""
    return [*moments_of(optimizer), *optimizer.averages]
