"""The table of bases: one record each, data only, so that the cache can be asked without importing TensorFlow."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BaseInfo:
    """A network of keras.applications, or our own.

    Args:
        builder: its name there, or in pipeline/models/petite.py.
        arguments: passed to the builder.
        size: its own input side in pixels.
        preprocessing: `tf` (x / 127.5 - 1), `torch` (ImageNet mean and deviation), `caffe` (BGR less the mean) or
            `none` (inside the network).
        width: of the pooled features of the whole base.
        blocks: layers it may be cut at, from the picture upwards.
        weights: name of Keras's weights file; `{size}` is the nearest trained size.
        trained_sizes: the sizes that have weights of their own; others take the last.
        ours: drawn, trained and kept in this repository, rather than by keras.applications.
    """

    builder: str
    arguments: dict[str, Any] = field(default_factory=dict)
    size: int = 224
    preprocessing: str
    width: int
    blocks: tuple[str, ...]
    weights: str
    trained_sizes: tuple[int, ...] = (224,)
    ours: bool = False


def _build_block_names(pattern: str, count: int, with_add: set[int]) -> tuple[str, ...]:
    """Block outputs: the sum where a block has one, else its projection."""
    return tuple(
        pattern.format(number) + ("_add" if number in with_add else "_project_BN") for number in range(1, count)
    )


WEIGHTS_STEM = "weights_tf_dim_ordering_tf_kernels"
VGG_BLOCKS = tuple(f"block{number}_pool" for number in range(1, 6))
RESNET50_BLOCKS = tuple(f"conv{s}_block{b}_out" for s, n in ((2, 3), (3, 4), (4, 6), (5, 3)) for b in range(1, n + 1))
MOBILENET_BLOCKS = tuple(f"conv_pw_{number}_relu" for number in range(1, 14))
MOBILENET_V3_LARGE_BLOCKS = tuple(
    name.replace("_project_BN", "_project_bn")
    for name in _build_block_names("expanded_conv_{}", 15, {2, 4, 5, 7, 8, 9, 11, 13, 14})
)
MOBILENET_V3_SMALL_BLOCKS = tuple(
    name.replace("_project_BN", "_project_bn")
    for name in _build_block_names("expanded_conv_{}", 11, {2, 4, 5, 7, 9, 10})
)


def _describe_efficientnet(number: str, size: int, width: int, last: str) -> BaseInfo:
    """EfficientNetV2; `last` has the letter of the last block of stages 2 to the end."""
    name = number.lower()
    blocks = tuple(f"block{stage}{letter}_add" for stage, letter in enumerate(last, 2))
    return BaseInfo(
        builder=f"EfficientNetV2{number}",
        size=size,
        preprocessing="none",
        width=width,
        blocks=blocks,
        weights=f"efficientnetv2-{name}_notop.h5",
        trained_sizes=(size,),
    )


def _describe_convnext(kind: str, width: int) -> BaseInfo:
    """ConvNeXt, cut where a stage begins."""
    name = f"convnext_{kind.lower()}"
    return BaseInfo(
        builder=f"ConvNeXt{kind}",
        preprocessing="none",
        width=width,
        blocks=tuple(f"{name}_downsampling_block_{stage}" for stage in range(3)),
        weights=f"{name}_notop.h5",
    )


BASES: dict[str, BaseInfo] = {
    "xception": BaseInfo(
        builder="Xception",
        size=299,
        preprocessing="tf",
        width=2048,
        blocks=tuple(f"block{number}_sepconv1_act" for number in range(3, 14)),
        weights=f"xception_{WEIGHTS_STEM}_notop.h5",
    ),
    "inception_v3": BaseInfo(
        builder="InceptionV3",
        size=299,
        preprocessing="tf",
        width=2048,
        blocks=tuple(f"mixed{number}" for number in range(11)),
        weights=f"inception_v3_{WEIGHTS_STEM}_notop.h5",
    ),
    "resnet50": BaseInfo(
        builder="ResNet50",
        preprocessing="caffe",
        width=2048,
        blocks=RESNET50_BLOCKS,
        weights=f"resnet50_{WEIGHTS_STEM}_notop.h5",
    ),
    "vgg16": BaseInfo(
        builder="VGG16", preprocessing="caffe", width=512, blocks=VGG_BLOCKS, weights=f"vgg16_{WEIGHTS_STEM}_notop.h5"
    ),
    "vgg19": BaseInfo(
        builder="VGG19", preprocessing="caffe", width=512, blocks=VGG_BLOCKS, weights=f"vgg19_{WEIGHTS_STEM}_notop.h5"
    ),
    "mobilenet": BaseInfo(
        builder="MobileNet",
        preprocessing="tf",
        width=1024,
        blocks=MOBILENET_BLOCKS,
        weights="mobilenet_1_0_{size}_tf_no_top.h5",
        trained_sizes=(128, 160, 192, 224),
    ),
    "mobilenet_025": BaseInfo(
        builder="MobileNet",
        arguments={"alpha": 0.25},
        preprocessing="tf",
        width=256,
        blocks=MOBILENET_BLOCKS,
        weights="mobilenet_2_5_{size}_tf_no_top.h5",
        trained_sizes=(128, 160, 192, 224),
    ),
    "mobilenet_v2": BaseInfo(
        builder="MobileNetV2",
        preprocessing="tf",
        width=1280,
        blocks=_build_block_names("block_{}", 17, {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}),
        weights=f"mobilenet_v2_{WEIGHTS_STEM}_1.0_{{size}}_no_top.h5",
        trained_sizes=(96, 128, 160, 192, 224),
    ),
    "mobilenet_v3_small": BaseInfo(
        builder="MobileNetV3Small",
        preprocessing="none",
        width=576,
        blocks=MOBILENET_V3_SMALL_BLOCKS,
        weights="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ),
    "mobilenet_v3_large": BaseInfo(
        builder="MobileNetV3Large",
        preprocessing="none",
        width=960,
        blocks=MOBILENET_V3_LARGE_BLOCKS,
        weights="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    "inception_resnet_v2": BaseInfo(
        builder="InceptionResNetV2",
        size=299,
        preprocessing="tf",
        width=1536,
        blocks=("mixed_5b", "block35_10_ac", "mixed_6a", "block17_20_ac", "mixed_7a", "block8_9_ac"),
        weights=f"inception_resnet_v2_{WEIGHTS_STEM}_notop.h5",
    ),
    "densenet121": BaseInfo(
        builder="DenseNet121",
        preprocessing="torch",
        width=1024,
        blocks=("pool2_pool", "pool3_pool", "pool4_pool", "conv5_block16_concat"),
        weights=f"densenet121_{WEIGHTS_STEM}_notop.h5",
    ),
    "nasnet_mobile": BaseInfo(
        builder="NASNetMobile",
        preprocessing="tf",
        width=1056,
        blocks=tuple(f"normal_concat_{number}" for number in (0, 1, 2, 3, 5, 6, 7, 8, 10, 11)),
        weights="nasnet_mobile_no_top.h5",
    ),
    "efficientnet_v2_b0": _describe_efficientnet("B0", 224, 1280, "bbceh"),
    "efficientnet_v2_b1": _describe_efficientnet("B1", 240, 1280, "ccdfi"),
    "efficientnet_v2_b2": _describe_efficientnet("B2", 260, 1408, "ccdfj"),
    "efficientnet_v2_b3": _describe_efficientnet("B3", 300, 1536, "ccegl"),
    "efficientnet_v2_s": _describe_efficientnet("S", 384, 1280, "ddfio"),
    "convnext_tiny": _describe_convnext("Tiny", 768),
    "convnext_small": _describe_convnext("Small", 768),
    "convnext_base": _describe_convnext("Base", 1024),
    "petite": BaseInfo(
        builder="Petite",
        size=128,
        preprocessing="tf",
        width=224,
        blocks=(
            *(f"stage{stage}_block{block}_out" for stage in (1, 2, 3) for block in (1, 2)),
            *(f"end_block{block}_out" for block in (1, 2, 3)),
        ),
        weights="petite_float16.weights.h5",
        trained_sizes=(128,),
        ours=True,
    ),
}
