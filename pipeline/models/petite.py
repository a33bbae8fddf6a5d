"""Builds Petite: our own small residual network, pretrained on synthetic pictures.

Residual blocks (He et al. 2016, Deep Residual Learning for Image Recognition, figure 2), then a wider end of separable
ones. It is a base like those of keras.applications; its weights are in the repository.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import write_atomic
from pipeline.models.base import WEIGHTS_FOLDER

WEIGHTS_FILE = WEIGHTS_FOLDER / "petite_float16.weights.h5"
STAGES = ((32, 2), (64, 2), (112, 2))
"""Filters and number of residual blocks, each stage at half the side of the one before."""
LAST_STAGE = (224, 3)
"""Filters and number of separable blocks of the last stage, at the side of the one before."""


def Petite(  # noqa: N802 - named as keras.applications names its builders
    *,
    include_top: bool = False,
    weights: str | None = "imagenet",
    input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
) -> Any:
    """Builds the network without a classifier: (n, side, side, 3) scaled to [-1, 1] -> (n, side / 16, side / 16, 224).

    Args:
        include_top: must be False; here for the signature of keras.applications.
        weights: None is random; anything else loads the repository's own.
        input_shape: side at least 32.

    Raises:
        ValueError: include_top.
    """
    import keras

    if include_top:
        raise ValueError("Petite has no classifier; include_top must be False")
    pixels = keras.Input(input_shape, name="petite_input")
    values = keras.layers.Conv2D(24, 3, 2, padding="same", use_bias=False, name="stem_conv")(pixels)
    values = keras.layers.ReLU(name="stem_out")(_add_batch_norm(values, "stem"))
    for stage, (filters, blocks) in enumerate(STAGES, 1):
        for block in range(1, blocks + 1):
            values = _add_residual_block(values, filters, 2 if block == 1 else 1, f"stage{stage}_block{block}")
    filters, blocks = LAST_STAGE
    values = keras.layers.Conv2D(filters, 1, use_bias=False, name="end_conv")(values)
    values = keras.layers.ReLU(name="end_relu")(_add_batch_norm(values, "end"))
    for block in range(1, blocks + 1):
        values = _add_separable_block(values, filters, f"end_block{block}")
    model = keras.Model(pixels, values, name="petite")
    if weights is not None:
        model.load_weights(WEIGHTS_FILE)
    return model


def _add_batch_norm(values: Any, name: str) -> Any:
    import keras

    return keras.layers.BatchNormalization(momentum=0.98, name=f"{name}_bn")(values)


def _add_residual_block(values: Any, filters: int, strides: int, name: str) -> Any:
    """Adds two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""
    import keras

    shortcut = values
    if strides != 1 or values.shape[-1] != filters:
        shortcut = keras.layers.Conv2D(filters, 1, strides, use_bias=False, name=f"{name}_shortcut")(values)
        shortcut = _add_batch_norm(shortcut, f"{name}_shortcut")
    values = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"{name}_conv1")(values)
    values = keras.layers.ReLU(name=f"{name}_relu")(_add_batch_norm(values, f"{name}_1"))
    values = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(values)
    values = keras.layers.Add(name=f"{name}_add")([shortcut, _add_batch_norm(values, f"{name}_2")])
    return keras.layers.ReLU(name=f"{name}_out")(values)


def _add_separable_block(values: Any, filters: int, name: str) -> Any:
    """Adds a 3 x 3 convolution per channel, then 1 x 1 over the channels, beside the identity."""
    import keras

    shortcut = values
    values = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(values)
    values = keras.layers.ReLU(name=f"{name}_relu")(_add_batch_norm(values, f"{name}_1"))
    values = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(values)
    values = keras.layers.Add(name=f"{name}_add")([shortcut, _add_batch_norm(values, f"{name}_2")])
    return keras.layers.ReLU(name=f"{name}_out")(values)


def save_float16_weights(network: Any, path: Path) -> None:
    """Saves a network's weights in Keras's format with float16 numbers, at half the size, atomically.

    Args:
        network: a Keras model.
        path: ends with .weights.h5.
    """
    import h5py

    halved = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "full.weights.h5"
        network.save_weights(full)
        with h5py.File(full) as source, h5py.File(halved, "w") as target:
            target.attrs.update(source.attrs)

            def copy(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    is_float32 = item.dtype == np.float32
                    copied = target.create_dataset(name, data=item[()].astype(np.float16) if is_float32 else item[()])
                else:
                    copied = target.require_group(name)
                copied.attrs.update(item.attrs)

            source.visititems(copy)
    write_atomic(path, lambda file: file.write(halved.getvalue()))
