"""Petite: a small residual network of our own, pretrained on drawn pictures, whose weights are in the repository.

Residual blocks (He et al. 2016, Deep Residual Learning for Image Recognition, figure 2), then a wider end of separable
ones. It takes part in everything that keras.applications' bases do.
"""

from typing import Any

from pipeline.models.bases import OURS

WEIGHTS = OURS / "petite_float16.weights.h5"
STAGES = ((32, 2), (64, 2), (112, 2))
"""Filters and number of residual blocks, each stage at half the side of the one before."""
END = (224, 3)
"""Filters and number of separable blocks of the last stage, at the side of the one before."""


def Petite(  # noqa: N802 - named as keras.applications names its builders
    *,
    include_top: bool = False,
    weights: str | None = "imagenet",
    input_shape: tuple[int | None, int | None, int] = (128, 128, 3),
) -> Any:
    """The network without a classifier: (n, side, side, 3) scaled to [-1, 1] -> (n, side / 16, side / 16, 224).

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
    values = keras.layers.ReLU(name="stem_out")(_normalised(values, "stem"))
    for stage, (filters, blocks) in enumerate(STAGES, 1):
        for block in range(1, blocks + 1):
            values = _residual(values, filters, 2 if block == 1 else 1, f"stage{stage}_block{block}")
    filters, blocks = END
    values = keras.layers.Conv2D(filters, 1, use_bias=False, name="end_conv")(values)
    values = keras.layers.ReLU(name="end_relu")(_normalised(values, "end"))
    for block in range(1, blocks + 1):
        values = _separable(values, filters, f"end_block{block}")
    model = keras.Model(pixels, values, name="petite")
    if weights is not None:
        model.load_weights(WEIGHTS)
    return model


def _normalised(values: Any, name: str) -> Any:
    import keras

    return keras.layers.BatchNormalization(momentum=0.98, name=f"{name}_bn")(values)


def _residual(values: Any, filters: int, strides: int, name: str) -> Any:
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""
    import keras

    shortcut = values
    if strides != 1 or values.shape[-1] != filters:
        shortcut = keras.layers.Conv2D(filters, 1, strides, use_bias=False, name=f"{name}_shortcut")(values)
        shortcut = _normalised(shortcut, f"{name}_shortcut")
    values = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"{name}_conv1")(values)
    values = keras.layers.ReLU(name=f"{name}_relu")(_normalised(values, f"{name}_1"))
    values = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(values)
    values = keras.layers.Add(name=f"{name}_add")([shortcut, _normalised(values, f"{name}_2")])
    return keras.layers.ReLU(name=f"{name}_out")(values)


def _separable(values: Any, filters: int, name: str) -> Any:
    """A 3 x 3 convolution a channel, then 1 x 1 over the channels, beside the identity."""
    import keras

    shortcut = values
    values = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(values)
    values = keras.layers.ReLU(name=f"{name}_relu")(_normalised(values, f"{name}_1"))
    values = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(values)
    values = keras.layers.Add(name=f"{name}_add")([shortcut, _normalised(values, f"{name}_2")])
    return keras.layers.ReLU(name=f"{name}_out")(values)
