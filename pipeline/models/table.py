"""The table of bases: one record each, data only, so that the cache can be asked without importing TensorFlow."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Entry:
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


def _adds(pattern: str, count: int, with_add: set[int]) -> tuple[str, ...]:
    """Block outputs: the sum where a block has one, else its projection."""
    return tuple(
        pattern.format(number) + ("_add" if number in with_add else "_project_BN") for number in range(1, count)
    )


KERNELS = "weights_tf_dim_ordering_tf_kernels"
VGG = tuple(f"block{number}_pool" for number in range(1, 6))
RESNET50 = tuple(f"conv{s}_block{b}_out" for s, n in ((2, 3), (3, 4), (4, 6), (5, 3)) for b in range(1, n + 1))
MOBILENET = tuple(f"conv_pw_{number}_relu" for number in range(1, 14))
V3_LARGE = tuple(
    name.replace("_project_BN", "_project_bn") for name in _adds("expanded_conv_{}", 15, {2, 4, 5, 7, 8, 9, 11, 13, 14})
)
V3_SMALL = tuple(
    name.replace("_project_BN", "_project_bn") for name in _adds("expanded_conv_{}", 11, {2, 4, 5, 7, 9, 10})
)


def _efficient(number: str, size: int, width: int, last: str) -> Entry:
    """EfficientNetV2; `last` has the letter of the last block of stages 2 to the end."""
    name = number.lower()
    blocks = tuple(f"block{stage}{letter}_add" for stage, letter in enumerate(last, 2))
    return Entry(
        builder=f"EfficientNetV2{number}",
        size=size,
        preprocessing="none",
        width=width,
        blocks=blocks,
        weights=f"efficientnetv2-{name}_notop.h5",
        trained_sizes=(size,),
    )


def _convnext(kind: str, width: int) -> Entry:
    """ConvNeXt, cut where a stage begins."""
    name = f"convnext_{kind.lower()}"
    return Entry(
        builder=f"ConvNeXt{kind}",
        preprocessing="none",
        width=width,
        blocks=tuple(f"{name}_downsampling_block_{stage}" for stage in range(3)),
        weights=f"{name}_notop.h5",
    )


BASES: dict[str, Entry] = {
    "xception": Entry(
        builder="Xception",
        size=299,
        preprocessing="tf",
        width=2048,
        blocks=tuple(f"block{number}_sepconv1_act" for number in range(3, 14)),
        weights=f"xception_{KERNELS}_notop.h5",
    ),
    "inception_v3": Entry(
        builder="InceptionV3",
        size=299,
        preprocessing="tf",
        width=2048,
        blocks=tuple(f"mixed{number}" for number in range(11)),
        weights=f"inception_v3_{KERNELS}_notop.h5",
    ),
    "resnet50": Entry(
        builder="ResNet50", preprocessing="caffe", width=2048, blocks=RESNET50, weights=f"resnet50_{KERNELS}_notop.h5"
    ),
    "vgg16": Entry(builder="VGG16", preprocessing="caffe", width=512, blocks=VGG, weights=f"vgg16_{KERNELS}_notop.h5"),
    "vgg19": Entry(builder="VGG19", preprocessing="caffe", width=512, blocks=VGG, weights=f"vgg19_{KERNELS}_notop.h5"),
    "mobilenet": Entry(
        builder="MobileNet",
        preprocessing="tf",
        width=1024,
        blocks=MOBILENET,
        weights="mobilenet_1_0_{size}_tf_no_top.h5",
        trained_sizes=(128, 160, 192, 224),
    ),
    "mobilenet_025": Entry(
        builder="MobileNet",
        arguments={"alpha": 0.25},
        preprocessing="tf",
        width=256,
        blocks=MOBILENET,
        weights="mobilenet_2_5_{size}_tf_no_top.h5",
        trained_sizes=(128, 160, 192, 224),
    ),
    "mobilenet_v2": Entry(
        builder="MobileNetV2",
        preprocessing="tf",
        width=1280,
        blocks=_adds("block_{}", 17, {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}),
        weights=f"mobilenet_v2_{KERNELS}_1.0_{{size}}_no_top.h5",
        trained_sizes=(96, 128, 160, 192, 224),
    ),
    "mobilenet_v3_small": Entry(
        builder="MobileNetV3Small",
        preprocessing="none",
        width=576,
        blocks=V3_SMALL,
        weights="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ),
    "mobilenet_v3_large": Entry(
        builder="MobileNetV3Large",
        preprocessing="none",
        width=960,
        blocks=V3_LARGE,
        weights="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    "inception_resnet_v2": Entry(
        builder="InceptionResNetV2",
        size=299,
        preprocessing="tf",
        width=1536,
        blocks=("mixed_5b", "block35_10_ac", "mixed_6a", "block17_20_ac", "mixed_7a", "block8_9_ac"),
        weights=f"inception_resnet_v2_{KERNELS}_notop.h5",
    ),
    "densenet121": Entry(
        builder="DenseNet121",
        preprocessing="torch",
        width=1024,
        blocks=("pool2_pool", "pool3_pool", "pool4_pool", "conv5_block16_concat"),
        weights=f"densenet121_{KERNELS}_notop.h5",
    ),
    "nasnet_mobile": Entry(
        builder="NASNetMobile",
        preprocessing="tf",
        width=1056,
        blocks=tuple(f"normal_concat_{number}" for number in (0, 1, 2, 3, 5, 6, 7, 8, 10, 11)),
        weights="nasnet_mobile_no_top.h5",
    ),
    "efficientnet_v2_b0": _efficient("B0", 224, 1280, "bbceh"),
    "efficientnet_v2_b1": _efficient("B1", 240, 1280, "ccdfi"),
    "efficientnet_v2_b2": _efficient("B2", 260, 1408, "ccdfj"),
    "efficientnet_v2_b3": _efficient("B3", 300, 1536, "ccegl"),
    "efficientnet_v2_s": _efficient("S", 384, 1280, "ddfio"),
    "convnext_tiny": _convnext("Tiny", 768),
    "convnext_small": _convnext("Small", 768),
    "convnext_base": _convnext("Base", 1024),
    "petite": Entry(
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
