"""Collects all uses of private Keras attributes, so that a new Keras is checked in one place.

Checked with Keras 3.13.2 (Kaggle's image) and 3.15.1, by tests/models/test_keras_private.py. Graphs need
none of them: `operations` of a network, and `input` and `output` of each, are public.
"""

from typing import Any


def moments_of(optimizer: Any) -> list[Any]:
    """Returns the variables of both moments of a built keras.optimizers.Adam, first moments first."""
    # Public `optimizer.variables` holds them among others, told apart only by parts of their names.
    return [*optimizer._momentums, *optimizer._velocities]


def index_of(optimizer: Any, variable: Any) -> int:
    """Returns the index of a variable among those that an optimizer was built with."""
    # Adam.update_step looks up its moments this way. A table of our own would need the key that Keras uses, which is
    # private, too, and differs between backends.
    return int(optimizer._get_variable_index(variable))


def set_batches_seen(optimizer: Any, batches: int) -> None:
    """Sets how many batches an optimizer has seen."""
    # Public `iterations` counts steps: with gradient accumulation it is a quotient, which cannot be assigned.
    optimizer._iterations.assign(batches)


def without_loss_scaling(optimizer: Any) -> Any:
    """Returns the optimizer that was given to `compile`."""
    # Under mixed_float16, `compile` wraps the optimizer in a LossScaleOptimizer, whose attribute is not documented.
    return getattr(optimizer, "inner_optimizer", optimizer)


def is_seed_state(variable: Any) -> bool:
    """Returns whether a variable is the state of a keras.random.SeedGenerator, as dropout has one."""
    # A model lists the states among its variables; nothing but the name tells them apart.
    return str(variable.path).endswith("seed_generator_state")
