"""Builds the networks that are trained, and the live models that share their layers and are saved.

A base stays in inference mode, frozen or not. Keras 3.15 does not hold to `training=False` of a nested model once `fit`
sets training to True for the model around it (statistics of BatchNorm move); `FrozenBatchNorm` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipeline.models import cuts
from pipeline.models.base import Base
from pipeline.models.build import pool_maps, preprocess
from pipeline.models.heads import Head


class FoldedConvBN(keras.layers.Layer):
    """A convolution and the BatchNorm after it in inference mode, as one convolution.

    Args:
        convolution: a Conv2D or DepthwiseConv2D without activation; its kernel and bias are trained as before.
        norm: the BatchNormalization that alone follows it; gamma and beta are trained, the statistics stay.
    """

    def __init__(self, convolution: Any, norm: Any) -> None:
        super().__init__(name=f"folded_{convolution.name}", dtype=convolution.dtype_policy)
        self.convolution, self.norm = convolution, norm

    def call(self, inputs: Any) -> Any:
        """Computes the maps (n, height, width, channels) of both layers."""
        layer, norm = self.convolution, self.norm
        # BatchNorm variables stay float32 under any policy; in bfloat16, 1 + epsilon would round to 1. Cast below.
        scale = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
        scale = scale * norm.gamma if norm.scale else scale
        offset = -norm.moving_mean if layer.bias is None else layer.bias - norm.moving_mean
        offset = offset * scale + norm.beta if norm.center else offset * scale
        scale, offset = (keras.ops.cast(values, self.compute_dtype) for values in (scale, offset))
        if is_pointwise(layer):
            return _apply_pointwise(inputs, layer.kernel * scale, offset)
        wider = _apply_depthwise if isinstance(layer, keras.layers.DepthwiseConv2D) else _apply_convolution
        return keras.ops.add(offset, wider(layer, inputs, scale))  # in this order it is not taken for a bias

    def compute_output_shape(self, shape: Any) -> Any:
        """See keras.layers.Layer."""
        return self.convolution.compute_output_shape(shape)


def is_pointwise(layer: Any) -> bool:
    """Whether a convolution is 1x1, of stride 1 and not grouped."""
    # Exact type: a subclass may compute something else.
    plain = type(layer) is keras.layers.Conv2D and layer.groups == 1
    return plain and tuple(layer.kernel_size) == (1, 1) and tuple(layer.strides) == (1, 1)


def _apply_pointwise(inputs: Any, kernel: Any, offset: Any) -> Any:
    """Applies a kernel (1, 1, inputs, channels) as one matrix product."""
    _, _, width, channels = kernel.shape
    count, rows, columns, _ = keras.ops.shape(inputs)
    pixels = keras.ops.reshape(inputs, (-1, width))
    maps = keras.ops.add(keras.ops.matmul(pixels, keras.ops.reshape(kernel, (width, channels))), offset)
    return keras.ops.reshape(maps, (count, rows, columns, channels))


def _apply_convolution(layer: Any, inputs: Any, scale: Any) -> Any:
    """Applies the convolution with its kernel times a scale (channels,)."""
    return layer.convolution_op(inputs, layer.kernel * scale)


def _apply_depthwise(layer: Any, inputs: Any, scale: Any) -> Any:
    """Applies the depthwise convolution with its kernel times a scale (channels,)."""
    return keras.ops.depthwise_conv(
        inputs,
        layer.kernel * keras.ops.reshape(scale, layer.kernel.shape[2:]),
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )


def find_foldable_norms(network: Any) -> dict[str, Any]:
    """Finds the BatchNormalization to fold into each convolution, by the convolution's name.

    Args:
        network: a functional keras.Model.
    """
    # `input` of a nested functional model is its own input, not the tensor it is called on. No base of the table
    # nests one (Keras 3.13.2 and 3.15.1; those of ConvNeXt are Sequential, whose `input` is the tensor).
    users: dict[int, list[Any]] = {}
    for operation in network.operations:
        for tensor in keras.tree.flatten(operation.input):
            users.setdefault(id(tensor), []).append(operation)
    outputs = {id(tensor) for tensor in network.outputs}
    norms = {}
    for layer in network.layers:
        if type(layer) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D):
            continue
        after = users.get(id(layer.output), [])
        plain = layer.activation is keras.activations.linear and layer.data_format == "channels_last"
        # Any other consumer would see the maps after BatchNorm instead of before.
        alone = len(after) == 1 and id(layer.output) not in outputs
        if plain and alone and isinstance(after[0], keras.layers.BatchNormalization):
            norms[layer.name] = after[0]
    return norms


def fold_batch_norms(network: Any) -> Any:
    """Copies a network in inference mode with its BatchNorms folded; all variables are the network's own.

    Args:
        network: a functional keras.Model.
    """
    norms = find_foldable_norms(network)
    folded = {norm.name for norm in norms.values()}

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        # Folded already did the work of this BatchNorm. Layer names are unique within a network.
        if layer.name in folded:
            return arguments[0]
        if layer.name in norms:
            return FoldedConvBN(layer, norms[layer.name])(arguments[0])
        return layer(*arguments, **options)

    # Returning the layer itself shares its variables instead of copying them.
    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)


class FrozenBatchNorm(keras.layers.Layer):
    """A network that stays in inference mode inside any model; its weights may be trained.

    Args:
        network: a functional keras.Model; its BatchNorms are folded into its convolutions.
    """

    def __init__(self, network: Any) -> None:
        super().__init__(name=f"still_{network.name}")
        self.network = fold_batch_norms(network)

    def call(self, inputs: Any) -> Any:
        """Applies the network."""
        # Passed inside the call of a layer. Passed where a nested model is called symbolically, `fit` overrides it and
        # the statistics of BatchNorm move (checked with Keras 3.13.2 and 3.15.1).
        return self.network(inputs, training=False)

    def compute_output_shape(self, shape: Any) -> Any:
        """See keras.layers.Layer."""
        return self.network.compute_output_shape(shape)


def build_head_layers(head: Head, name: str = "head") -> list[Any]:
    """Builds Keras layers with the head's weights: ReLU between them, softmax at the end.

    Args:
        head: weights and biases.
        name: prefix of the layers' names, unique within a model.
    """
    layers = []
    for number, (weights, bias) in enumerate(head.layers):
        last = number == len(head.layers) - 1
        # float32 even under mixed precision: probabilities near 0 and 1 need its digits.
        layer = keras.layers.Dense(
            len(bias), activation="softmax" if last else "relu", dtype="float32", name=f"{name}_dense{number}"
        )
        layer.build((None, len(weights)))
        layer.set_weights([weights, bias])
        layers.append(layer)
    return layers


def build_random_head(width: int, classes: int, units: int, seed: int) -> Head:
    """Draws a head before training, with one hidden layer of `units` (Glorot and Bengio 2010)."""
    random, layers = np.random.default_rng(seed), []
    for before, after in ((width, units), (units, classes)):
        limit = np.sqrt(6 / (before + after))
        weights = random.uniform(-limit, limit, (before, after)).astype(np.float32)
        layers.append((weights, np.zeros(after, np.float32)))
    return Head(tuple(layers))


@dataclass(frozen=True)
class Standardizer:
    """Mean and deviation of features, each (width,) float32, by which they are standardised before the head."""

    mean: np.ndarray
    deviation: np.ndarray

    def layer(self) -> Any:
        """Builds the standardisation as a layer."""
        # Plain floats: the configuration of a layer is saved as JSON.
        offset = [float(value) for value in -self.mean / self.deviation]
        return keras.layers.Rescaling([float(v) for v in 1 / self.deviation], offset=offset, name="standardised")

    def folded(self, head: Sequence[Any]) -> Head:
        """Folds the standardisation into the head of these layers."""
        pairs = [tuple(layer.get_weights()) for layer in head]
        weights, bias = pairs[0]
        first = weights / self.deviation[:, None]
        return Head(((first, bias - self.mean @ first), *pairs[1:]))

    def unfolded(self, head: Sequence[Any]) -> Head:
        """Takes the standardisation out of the head of these layers, into which it was folded."""
        (first, bias), *others = (tuple(layer.get_weights()) for layer in head)
        return Head(((first * self.deviation[:, None], bias + self.mean @ first), *others))


def apply_head(values: Any, head: Sequence[Any], dropout: float = 0.0, scale: Standardizer | None = None) -> Any:
    """Applies a head to features, with dropout before its last layer; gives probabilities."""
    values = scale.layer()(values) if scale else values
    for layer in head[:-1]:
        values = layer(values)
    if dropout:
        values = keras.layers.Dropout(dropout, name="head_dropout")(values)
    return head[-1](values)


def build_live_model(base: Base, network: Any, head: Sequence[Any]) -> Any:
    """Builds the model that is saved: uint8 pictures (n, size, size, 3) -> probabilities (n, classes).

    Args:
        base: preprocessing, pooling and size.
        network: the whole base.
        head: from `build_head_layers`.
    """
    pixels = keras.Input((base.size, base.size, 3), dtype="uint8", name=f"pixels_{base.size}")
    # Without FrozenBatchNorm: a saved model must load where our layer classes are unknown.
    maps = network(preprocess(pixels, base.preprocessing, base.layer_name), training=False)
    return keras.Model(pixels, apply_head(pool_maps(maps, base), head), name="starshift")


def build_pixel_model(
    base: Base,
    network: Any,
    head: Sequence[Any],
    dropout: float,
    *,
    free: bool = False,
    scale: Standardizer | None = None,
) -> Any:
    """Builds the same model for training: the network in inference mode, and dropout in the head.

    Args:
        base: as in `build_live_model`.
        network: as in `build_live_model`.
        head: as in `build_live_model`.
        dropout: before the last layer.
        free: takes pictures of any size.
        scale: of the features, where the head wants them standardised.
    """
    side = None if free else base.size
    pixels = keras.Input((side, side, 3), dtype="uint8", name="pixels")
    maps = FrozenBatchNorm(network)(preprocess(pixels, base.preprocessing, base.layer_name))
    return keras.Model(pixels, apply_head(pool_maps(maps, base), head, dropout, scale), name="training")


def build_cut_model(base: Base, upper: Any, head: Sequence[Any], dropout: float) -> Any:
    """Builds the model that is trained on activations at the cut (n, height, width, channels) float16.

    Args:
        base: pooling.
        upper: the part above the cut, from `cuts.build_upper_part`.
        head: from `build_head_layers`.
        dropout: before the last layer.
    """
    # Activations are cached as float16; widening them here halves what is copied to the device.
    activations = keras.Input(upper.input_shape[1:], dtype="float16", name="activations")
    values = keras.layers.Activation("linear", dtype="float32", name="widened")(activations)
    return keras.Model(
        activations, apply_head(pool_maps(FrozenBatchNorm(upper)(values), base), head, dropout), name="training"
    )


def build_feature_model(head: Sequence[Any], dropout: float, scale: Standardizer) -> Any:
    """Builds the model that is trained on cached features (n, width) float32: the head."""
    features = keras.Input((len(scale.mean),), name="features")
    return keras.Model(features, apply_head(features, head, dropout, scale), name="training")


def freeze_up_to(network: Any, cut: str | None) -> None:
    """Freezes the layers of a network up to a cut and lets those above it be trained; None trains all."""
    # Sets every layer, too, whatever was frozen before.
    network.trainable = True
    if cut is None:
        return
    names = [layer.name for layer in cuts.list_layers(network)]
    above = set(names[names.index(cut) + 1 :])
    for layer in network.layers:
        layer.trainable = layer.name in above
