"""AdamW with a learning rate for every depth and an average of the weights; the learning rate schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from pipeline.config import Training
from pipeline.models import keras_private


class LayerwiseAdamW(keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter 2019) whose rate is multiplied by a factor for each variable.

    Args:
        learning_rate: a number or a schedule.
        factors: of the learning rate, by the variable's path; 1 where it is not named.
        weight_decay: of kernels; vectors (biases, gamma, beta) do not decay.
        momentum: of the average of the weights, 0 for none; it begins as (1 + t) / (10 + t).
        parts: batches over which gradients are averaged before a step.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        factors: Mapping[str, float] | None = None,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        parts: int = 1,
    ) -> None:
        super().__init__(learning_rate, gradient_accumulation_steps=parts if parts > 1 else None)
        self.factors, self.kernel_decay, self.momentum = dict(factors or {}), weight_decay, momentum
        self.averages: list[Any] = []
        self.rates: list[float] = []

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the moments and the averages; these begin at the weights."""
        if self.built:
            return
        super().build(variables)
        self.rates = [self.factors.get(variable.path, 1.0) for variable in variables]
        if self.momentum:
            self.averages = [self.add_variable_from_reference(v, name="average") for v in variables]
            for average, variable in zip(self.averages, variables, strict=True):
                average.assign(keras.ops.copy(variable))  # JAX gives away both buffers in a step, so not one twice

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        place = keras_private.index_of(self, variable)
        rate = keras.ops.cast(learning_rate, variable.dtype) * self.rates[place]
        if self.kernel_decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * rate * self.kernel_decay)
        super().update_step(gradient, variable, rate)
        if self.momentum:
            average = self.averages[place]
            step = keras.ops.cast(self.iterations, variable.dtype)
            momentum = keras.ops.minimum(self.momentum, (1 + step) / (10 + step))
            self.assign(average, average * momentum + variable * (1 - momentum))


def build_schedule(training: Training, steps: int) -> Any:
    """Builds the schedule: up from 0 in the warm-up, then a half cosine down to 0 (SGDR, 2017) or constant."""
    rate, warmup = float(training.learning_rate or 0.0), round(float(training.warmup or 0.0) * steps)
    end = 1.0 if training.schedule == "constant" else 0.0
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, max(1, steps), alpha=end)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), alpha=end, warmup_target=rate, warmup_steps=warmup
    )


def build_optimizer(
    training: Training, steps: int, factors: Mapping[str, float] | None = None, parts: int = 1
) -> LayerwiseAdamW:
    """Builds the optimizer of a training."""
    return LayerwiseAdamW(
        build_schedule(training, steps),
        factors=factors,
        weight_decay=training.weight_decay or 0.0,
        momentum=training.ema or 0.0,
        parts=parts,
    )
