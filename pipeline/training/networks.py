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
from pipeline.training.bn_folding import fold_batch_norms


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
    maps = network(preprocess(pixels, base.preprocessing, base.name), training=False)
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
    maps = FrozenBatchNorm(network)(preprocess(pixels, base.preprocessing, base.name))
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
