"""Folds BatchNorm into the convolution before it for training: the same function, faster steps.

In inference mode BatchNorm is y = s (x - mean) + beta with s = gamma / sqrt(variance + epsilon), one number a channel.
So s times the kernel, a few thousand numbers, stands in for s times the maps, millions of them, forward and in the
gradient (Jacob et al. 2018, arXiv 1712.05877, section 3.2). The layers keep their variables and only share them.

A convolution of one pixel (most of the work in MobileNets and ResNets) is written as the matrix product that it is, and
the offset after a wider one as a sum that TensorFlow does not take for a bias: oneDNN's joint gradient of a kernel and
its bias takes twice as long on a processor as the two by themselves (python -m benchmarks.bias_gradient).
"""

from typing import Any

import keras


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
