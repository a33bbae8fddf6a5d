"""Tiny random presets of KerasHub, saved as folders: 32 px and two blocks."""

import json
from pathlib import Path
from typing import Any

SIDE = 32
TRANSFORMER = {"image_shape": (SIDE, SIDE, 3), "num_layers": 2, "hidden_dim": 16, "num_heads": 2}
FAMILIES = ("dinov2", "registers", "dinov3", "vit", "siglip", "swin", "hgnetv2")


def build_backbone(family: str, seed: int = 0) -> Any:
    """A backbone whose weights are all random: what begins at zero is drawn, too."""
    import keras
    import keras_hub.models as hub
    import numpy as np

    keras.utils.set_random_seed(seed)
    dino = {**TRANSFORMER, "patch_size": 8, "intermediate_dim": 32}
    if family in ("dinov2", "registers"):
        backbone = hub.DINOV2Backbone(
            **dino, position_embedding_shape=(48, 48), num_register_tokens=4 if family == "registers" else 0
        )
    elif family == "dinov3":
        backbone = hub.DINOV3Backbone(**dino, num_register_tokens=4)
    elif family == "vit":
        backbone = hub.ViTBackbone(**TRANSFORMER, patch_size=8, mlp_dim=32)
    elif family == "siglip":
        vision = hub.SigLIPVisionEncoder(**dino)
        text = hub.SigLIPTextEncoder(
            vocabulary_size=8, embedding_dim=16, hidden_dim=16, num_layers=1, num_heads=2, intermediate_dim=32,
            max_sequence_length=4,
        )  # fmt: skip
        backbone = hub.SigLIPBackbone(vision, text)
    elif family == "swin":
        backbone = hub.SwinTransformerBackbone(
            image_shape=(SIDE, SIDE, 3), embed_dim=8, depths=(1, 2), num_heads=(1, 2), window_size=4
        )
    else:
        backbone = hub.HGNetV2Backbone(
            depths=[1, 1], embedding_size=8, hidden_sizes=[16, 24], stem_channels=[3, 8, 8], hidden_act="relu",
            use_learnable_affine_block=False, image_shape=(SIDE, SIDE, 3),
            stackwise_stage_filters=[(8, 8, 16, 1, 1, 3), (16, 8, 24, 1, 1, 3)],
            apply_downsample=[False, True], use_lightweight_conv_block=[False, True],
        )  # fmt: skip
    random = np.random.default_rng(seed)
    for variable in backbone.trainable_variables:
        variable.assign(variable + random.normal(scale=0.1, size=variable.shape))
    return backbone


def save_preset(folder: Path, family: str = "dinov2", *, converter: bool = True, seed: int = 0) -> Path:
    """Saves a tiny preset, with or without what scales its pixels."""
    build_backbone(family, seed).save_to_preset(str(folder))
    if converter:
        config = {"image_size": [SIDE, SIDE], "scale": 1 / 64, "offset": [-1.0, -2.0, -3.0]}
        (folder / "image_converter.json").write_text(json.dumps({"class_name": "ImageConverter", "config": config}))
    return folder
