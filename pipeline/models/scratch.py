"""The network that is trained from nothing: plain convolutions, maps that shrink and filters that grow, a dense layer.

As in the talk and in Chollet's textbook (Deep Learning with Python, 2021, chapter 8), with normalised layers, which
learn in a tenth of the epochs.
"""

from typing import Any

from pipeline.models.bases import Base

SIDE = 128
FILTERS = (32, 64, 128, 192, 256)
UNITS = 256


def scratch_base(size: int | None) -> Base:
    """Stands for the network where a base is asked for its size."""
    return Base(name="scratch", weights="none", size=size or SIDE)


def build_scratch(size: int, classes: int, dropout: float) -> Any:
    """A keras.Model from (n, size, size, 3) uint8 to probabilities (n, classes) float32.

    Args:
        size: side of the pictures in pixels, at least 32.
        classes: how many there are.
        dropout: before the last layer.
    """
    import keras

    pixels = keras.Input((size, size, 3), dtype="uint8", name=f"pixels_{size}")
    values = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(pixels)
    for number, filters in enumerate(FILTERS, 1):
        convolution = keras.layers.Conv2D(
            filters,
            3,
            strides=2 if number == 1 else 1,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"block{number}",
        )
        values = keras.layers.BatchNormalization(momentum=0.9, name=f"block{number}_normalised")(convolution(values))
        values = keras.layers.ReLU(name=f"block{number}_relu")(values)
        values = keras.layers.MaxPooling2D(padding="same", name=f"block{number}_pool")(values)
    values = keras.layers.Flatten(name="flat")(values)
    values = keras.layers.Dense(UNITS, activation="relu", name="dense")(values)
    if dropout:
        values = keras.layers.Dropout(dropout, name="dropout")(values)
    answers = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(values)
    return keras.Model(pixels, answers, name="scratch")
