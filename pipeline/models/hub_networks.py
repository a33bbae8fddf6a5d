"""Builds the network of a KerasHub preset out of its backbone's layers, so that it can be cut and trained by block.

Blocks lie inside one `encoder` layer of the backbone. Here each layer is copied as an operation of its own:
`normalization_rescale`, `embedding`, `block1` ... (`stage1` ... of HGNetV2) and `norm`.
"""

import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.models import hub_presets
from pipeline.models.base import Base
from pipeline.models.build import preprocess

ANY_SIZE = ("DINOV2Backbone", "DINOV3Backbone", "SwinTransformerBackbone", "HGNetV2Backbone")
"""Backbones that KerasHub builds for any size; of the others positions are interpolated here."""


@dataclass(frozen=True)
class Part:
    """A part of a network.

    Args:
        name: of its layer here.
        layer: of the backbone.
        options: what the layer is called with besides the values.
        changes: of the layer's configuration.
        shape: of its output for one picture, where KerasHub's layer does not know it, or tells a wrong one (checked
            with 0.29.1: PatchMerging, SigLIPVisionEmbedding).
    """

    name: str
    layer: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()


def build_hub_network(base: Base) -> Any:
    """Builds a functional keras.Model: pictures (n, size, size, 3) of 0 to 255 -> tokens or maps, in inference mode.

    Args:
        base: its cut is not looked at.

    Raises:
        StarshiftError: KerasHub or the preset is not here, or the preset is damaged.
    """
    import keras

    hub_presets.require_keras_hub()
    folder = hub_presets.find_preset_folder(base.name)
    weights = hub_presets.find_weights_file(base.name)
    if not (folder / hub_presets.CONFIG).is_file() or not (base.random or weights.is_file()):
        hub_presets.fetch_preset(base.name, weights)
        folder = hub_presets.find_preset_folder(base.name)
    backbone = load_backbone(base, folder)
    pictures = keras.Input((base.size, base.size, 3), name="pictures")
    values = _normalize(pictures, folder)
    for part in _list_parts(backbone, base.size):
        values = _apply_copy(part, values)
    if type(backbone).__name__ == "SigLIPBackbone":
        pooled = _apply_copy(Part("head", backbone.vision_encoder.head), values)
        first = keras.layers.Reshape((1, pooled.shape[-1]), name="class_token")(pooled)
        values = keras.layers.Concatenate(axis=1, name="tokens")([first, values])
    return keras.Model(pictures, values, name=base.layer_name)


def load_backbone(base: Base, folder: Path) -> Any:
    """Loads the backbone of a preset's folder, with its weights or random ones.

    Raises:
        StarshiftError: the preset is damaged, or this version of KerasHub does not have its class.
    """
    import keras
    import keras_hub

    family = hub_presets.read_config(folder)["class_name"]
    shape = {"image_shape": (base.size, base.size, 3)} if family in ANY_SIZE else {}
    if base.random:
        keras.utils.set_random_seed(base.random_seed)
    try:
        return keras_hub.models.Backbone.from_preset(str(folder), load_weights=not base.random, **shape)
    except (ValueError, OSError, KeyError, TypeError) as error:
        since = hub_presets.FAMILIES[family].since
        newer = f"a {family} is in KerasHub from {since} on; {hub_presets.INSTALL_COMMAND}; or " if since else ""
        raise StarshiftError(
            f"The preset in {folder} cannot be loaded for {base.size} px.",
            expected=f"a whole {family} as save_to_preset of KerasHub writes it",
            received=f"{next(iter(str(error).splitlines()), type(error).__name__)[:300]} "
            f"(KerasHub {keras_hub.__version__})",
            remedy=f"{newer}download the preset again, or use another size",
        ) from error


def _normalize(pictures: Any, folder: Path) -> Any:
    """Scales pixels as a preset's converter does; as its family where its folder has none."""
    import keras

    path = folder / hub_presets.CONVERTER
    if not path.is_file():
        family = hub_presets.read_config(folder)["class_name"]
        return preprocess(pictures, hub_presets.FAMILIES[family].normalization, "normalization")
    # Not built as a layer: KerasHub's converter wants tensorflow-text.
    try:
        values = json.loads(path.read_bytes())["config"]
        scale, offset = (np.asarray(values.get(key) or 0.0, float) for key in ("scale", "offset"))
        scale = scale if scale.any() else np.ones_like(scale)
        if "variance" in values:  # older files: (scale x - mean) / deviation
            deviation = np.sqrt(values["variance"])
            scale, offset = scale / deviation, -np.asarray(values["mean"], float) / deviation
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise hub_presets.build_damage_error(folder, f"{path.name} cannot be read ({error})") from error
    # Plain floats: the configuration of a layer is saved as JSON.
    scale, offset = scale.tolist(), offset.tolist()
    return keras.layers.Rescaling(scale, offset=offset, name="normalization_rescale")(pictures)


def _apply_copy(part: Part, values: Any) -> Any:
    """Applies a copy of a layer, with its weights: the layer itself is part of the backbone's graph."""
    config = {**_read_config(part.layer), **part.changes, "name": part.name}
    copy = type(part.layer).from_config(dict(config))
    if type(copy).__module__.startswith("keras_hub."):
        copy.get_config = lambda: config
    if part.shape:
        copy.compute_output_shape = lambda input_shape, **_: (input_shape[0], *part.shape)
    values = copy(values, **part.options)
    for variable, source in zip(copy.variables, part.layer.variables, strict=True):
        if variable.name != "position_ids":
            variable.assign(_interpolate_positions(np.asarray(source), variable.shape))
    if hasattr(copy, "interpolated_position_embeddings"):
        copy.position_embeddings.assign(copy.interpolated_position_embeddings)
    return values


def _read_config(layer: Any) -> dict[str, Any]:
    """Returns the configuration of a layer, of exactly the arguments that its class takes.

    KerasHub saves backbones, not layers: some list what they computed, others leave arguments out (checked with 0.26.0
    and 0.29.1).
    """
    saved = layer.get_config()
    if not type(layer).__module__.startswith("keras_hub."):
        return dict(saved)
    config = {name: saved[name] for name in ("trainable", "dtype")}
    for name in inspect.signature(type(layer).__init__).parameters:
        value = saved.get(name, getattr(layer, name, None))
        if name in saved or isinstance(value, (int, float, str, tuple, list)):
            config[name] = value
    return config


def _list_parts(backbone: Any, size: int) -> list[Part]:
    """Lists the parts of a backbone from the picture upwards."""
    family = type(backbone).__name__
    if family == "SwinTransformerBackbone":
        return list(_list_swin_parts(backbone))
    if family == "HGNetV2Backbone":
        stages = enumerate(backbone.encoder_layer.stages_list, 1)
        return [Part("embedding", backbone.embedder_layer), *(Part(f"stage{n}", stage) for n, stage in stages)]
    shape: tuple[int, ...] = ()
    options: dict[str, Any] = {}
    changes: dict[str, Any] = {"image_size": (size, size)}
    if family == "ViTBackbone":
        encoder = backbone.get_layer("vit_encoder")
        embedding, norm = backbone.get_layer("vit_patching_and_embedding"), encoder.layer_norm
        blocks = encoder.encoder_layers
    elif family == "SigLIPBackbone":
        encoder, changes = backbone.vision_encoder, {"image_size": size}
        shape = ((size // encoder.patch_size) ** 2, encoder.hidden_dim)
        embedding, blocks, norm = encoder.embedding, encoder.encoder_layers, encoder.post_layer_norm
    else:
        embedding, blocks, norm = backbone.embeddings, backbone.encoder.layers, backbone.layernorm
        # KerasHub saves DINOv2's positions at the size of their training: a saved network would not be the trained one.
        changes = {"position_embedding_shape": (size, size)} if family == "DINOV2Backbone" else {}
    if family == "DINOV3Backbone":
        # They depend on the size alone. As constants they leave every block a bottleneck.
        rotations = backbone.rope_embedding(np.zeros((1, size, size, 3), np.float32))
        options = {"position_embeddings": tuple(np.asarray(one, np.float32) for one in rotations)}
        options["num_prefix_tokens"] = 1 + backbone.num_register_tokens
    parts = [Part(f"block{number}", block, options) for number, block in enumerate(blocks, 1)]
    return [Part("embedding", embedding, {}, changes, shape), *parts, Part("norm", norm)]


def _list_swin_parts(backbone: Any) -> Iterator[Part]:
    """Yields the parts of a Swin Transformer: the blocks of all stages, and what merges patches between two stages."""
    import keras

    yield Part("embedding", backbone.patch_embedding.proj)
    yield Part("patches", keras.layers.Reshape((-1, backbone.embed_dim)))
    if backbone.patch_embedding.norm:
        yield Part("embedding_norm", backbone.patch_embedding.norm)
    changes = {"window_size": backbone.window_size, "qkv_bias": backbone.qkv_bias}
    numbers = itertools.count(1)
    for stage_number, stage in enumerate(backbone.stages, 1):
        for block in stage.blocks:
            yield Part(f"block{next(numbers)}", block, {}, changes)
        if stage.downsample is not None:
            height, width = stage.input_resolution
            shape = (-(-height // 2) * -(-width // 2), 2 * stage.dim)
            yield Part(f"merging{stage_number}", stage.downsample, {"H": height, "W": width}, shape=shape)
    yield Part("norm", backbone.norm)


def _interpolate_positions(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolates positions (..., tokens, width) of one square grid to another; a class token's stays."""
    import keras

    if values.shape == tuple(shape):
        return values
    rows, tokens = values.reshape(-1, values.shape[-1]), int(np.prod(shape[:-1]))
    before, after = int(len(rows) ** 0.5), int(tokens**0.5)
    first = len(rows) - before**2
    grid = rows[first:].reshape(1, before, before, -1)
    resized = keras.ops.image.resize(grid, (after, after), interpolation="bicubic", antialias=after < before)
    return np.concatenate([rows[:first], np.asarray(resized).reshape(after**2, -1)]).reshape(shape)
