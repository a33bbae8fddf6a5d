"""Builds the small network of the strategies `scratch` and `augmented`.

As in the talk and in Chollet's textbook (Deep Learning with Python, 2021, chapter 8), with normalised layers, which
learn in a tenth of the epochs, and the mean over the last map, which is invariant to where in the picture an object is.
"""

from typing import Any

LARGE_SIZE = 96
FILTERS = {True: (32, 64, 128, 192, 256), False: (16, 32, 64, 96)}
"""Filters for pictures of LARGE_SIZE pixels or more, whose first layer has stride 2, and for smaller ones."""


def build_small_cnn(size: int, classes: int, dropout: float) -> Any:
    """Builds a keras.Model from (n, size, size, 3) uint8 to probabilities (n, classes) float32.

    Args:
        size: side of the pictures in pixels, at least 32.
        classes: their number.
        dropout: before the last layer.
    """
    import keras

    pixels = keras.Input((size, size, 3), dtype="uint8", name=f"pixels_{size}")
    values = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(pixels)
    large = size >= LARGE_SIZE
    for number, filters in enumerate(FILTERS[large], 1):
        if number > 1:
            values = keras.layers.MaxPooling2D(padding="same", name=f"block{number}_pool")(values)
        convolution = keras.layers.Conv2D(
            filters,
            3,
            strides=2 if large and number == 1 else 1,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"block{number}",
        )
        values = keras.layers.BatchNormalization(momentum=0.9, name=f"block{number}_normalised")(convolution(values))
        values = keras.layers.ReLU(name=f"block{number}_relu")(values)
    values = keras.layers.GlobalAveragePooling2D(name="mean")(values)
    if dropout:
        values = keras.layers.Dropout(dropout, name="dropout")(values)
    outputs = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(values)
    return keras.Model(pixels, outputs, name="scratch")
