"""Collects all uses of private Keras attributes, so that a new Keras is checked in one place.

Checked with Keras 3.13.2 (Kaggle's image) and 3.15.1, by tests/models/test_keras_private.py. Graphs need
none of them: `operations` of a network, and `input` and `output` of each, are public.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import softmax


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


@contextlib.contextmanager
def record_attention(network: Any) -> Iterator[list[np.ndarray]]:
    """Records the attention (n, queries, keys) float32 of each layer of attention, averaged over heads, call by call.

    The network must be called eagerly inside.
    """
    # MultiHeadAttention returns its scores only to who calls it, which here is a block of KerasHub; KerasHub's
    # DINOV3Attention (0.26.0 to 0.29.1) does not return them at all.
    from keras import layers, ops

    recorded: list[np.ndarray] = []

    def wrap(layer: Any, name: str, scale: float) -> None:
        original = getattr(layer, name)

        def recording(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            pair = result if name == "_apply_rotary" else arguments[:2]
            query, key = (ops.convert_to_numpy(one).astype(np.float32) for one in pair)
            recorded.append(softmax(np.einsum("nqhd,nkhd->nhqk", query, key) * scale, axis=-1).mean(axis=1))
            return result

        patched.enter_context(_replace_attribute(layer, name, recording))

    with contextlib.ExitStack() as patched:
        for layer in network._flatten_layers():
            if isinstance(layer, layers.MultiHeadAttention):
                wrap(layer, "_compute_attention", layer._inverse_sqrt_key_dim)
            elif type(layer).__name__ == "DINOV3Attention":
                wrap(layer, "_apply_rotary", layer.scale)
        yield recorded


@contextlib.contextmanager
def _replace_attribute(layer: Any, name: str, value: Any) -> Iterator[None]:
    """Replaces a method of one layer inside; Keras would track what is assigned plainly."""
    object.__setattr__(layer, name, value)
    try:
        yield
    finally:
        object.__delattr__(layer, name)
