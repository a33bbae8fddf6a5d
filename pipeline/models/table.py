"""The table of bases: one record a base, as plain data, so that naming a base never imports Keras.

Every name of a layer and of a file is the one that keras.applications gives (the tests walk them all). A block is a layer
that keras.applications names itself: layers that Keras numbers (`add_1`) change their names from one build to the next.
"""

from dataclasses import dataclass
from typing import Any

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one base.

    Args:
        name: ours.
        builder: the function of keras.applications that builds it.
        arguments: what `builder` is called with beyond weights, include_top and input_shape.
        size: the side of the pictures that it was trained on, in pixels.
        minimum: the smallest side that it takes.
        preprocessing: of pixels in [0, 255]: `tf` (x / 127.5 - 1), `torch` (ImageNet's mean and deviation), `caffe`
            (BGR, minus ImageNet's mean) or `none` (the base does it inside).
        width: channels of its last layer, and so of its pooled features.
        blocks: the layers where it may be cut, from input to output.
        folder: where its weights lie below ADDRESS.
        file: the name of its weights file without the classifier; `{rows}` stands for the side they were trained on.
        rows: the sides for which there are such files; other sizes take those of 224.
        remote: the file's name at ADDRESS where it differs.
    """

    name: str
    builder: str
    arguments: tuple[tuple[str, Any], ...] = ()
    size: int = 224
    minimum: int = 32
    preprocessing: str
    width: int
    blocks: tuple[str, ...]
    folder: str
    file: str
    rows: tuple[int, ...] = (224,)
    remote: str = ""

    def weights_file(self, size: int) -> str:
        """The name of the ImageNet weights for pictures of this side, as keras.applications keeps it."""
        return self.file.format(rows=size if size in self.rows else 224)

    def address(self, size: int) -> str:
        """The URL of `weights_file`."""
        return f"{ADDRESS}/{self.folder}/{self.remote or self.weights_file(size)}"


def _numbered(pattern: str, first: int, last: int) -> tuple[str, ...]:
    """The pattern with first to last in place of {}."""
    return tuple(pattern.format(number) for number in range(first, last + 1))


def _vgg(*convolutions: int) -> tuple[str, ...]:
    """VGG's layers; `convolutions` of each of its blocks."""
    return tuple(
        name
        for block, count in enumerate(convolutions, 1)
        for name in (*_numbered(f"block{block}_conv{{}}", 1, count), f"block{block}_pool")
    )


def _stages(pattern: str, *counts: int) -> tuple[str, ...]:
    """The blocks of ResNet50 and DenseNet121, whose stages are numbered from 2."""
    return tuple(
        name
        for stage, count in enumerate(counts, 2)
        for name in _numbered(pattern.format(stage=stage, block="{}"), 1, count)
    )


def _efficientnet(stages: str) -> tuple[str, ...]:
    """EfficientNetV2's residual sums; `2b 3bc` stands for block2b_add, block3b_add and block3c_add."""
    return tuple(f"block{stage[0]}{letter}_add" for stage in stages.split() for letter in stage[1:])


def _convnext(name: str) -> tuple[str, ...]:
    """ConvNeXt's stem and downsamplings; the sums at the ends of its blocks have no names of their own."""
    return (f"{name}_stem", *_numbered(f"{name}_downsampling_block_{{}}", 0, 2))


XCEPTION = (
    *_numbered("block{}_sepconv1_act", 3, 13),
    "block13_sepconv2_act",
    *_numbered("block14_sepconv{}_act", 1, 2),
)
"""The first activation of each block is that of the sum which ends the block before it."""
INCEPTION_RESNET = (
    *("mixed_5b", *_numbered("block35_{}_ac", 1, 10)),
    *("mixed_6a", *_numbered("block17_{}_ac", 1, 20)),
    *("mixed_7a", *_numbered("block8_{}_ac", 1, 9), "conv_7b_ac"),
)
MOBILENET = ("conv1_relu", *_numbered("conv_pw_{}_relu", 1, 13))
MOBILENET_V2 = ("expanded_conv_project_BN", *_numbered("block_{}_project_BN", 1, 16), "out_relu")
NASNET = (*_numbered("normal_concat_{}", 0, 3), *_numbered("normal_concat_{}", 5, 12))
EFFICIENTNET = {
    "b0": (224, 1280, "2b 3b 4bc 5bcde 6bcdefgh"),
    "b1": (240, 1280, "1b 2bc 3bc 4bcd 5bcdef 6bcdefghi"),
    "b2": (260, 1408, "1b 2bc 3bc 4bcd 5bcdef 6bcdefghij"),
    "b3": (300, 1536, "1b 2bc 3bc 4bcde 5bcdefg 6bcdefghijkl"),
    "s": (384, 1280, "1ab 2bcd 3bcd 4bcdef 5bcdefghi 6bcdefghijklmno"),
}
CONVNEXT = {"tiny": 768, "small": 768, "base": 1024}


def _record(name: str, builder: str, preprocessing: str, width: int, blocks: tuple[str, ...], **other: Any) -> Entry:
    """An entry whose weights lie and are called as most are, unless `other` says otherwise."""
    usual = {"folder": name, "file": f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"}
    return Entry(name=name, builder=builder, preprocessing=preprocessing, width=width, blocks=blocks, **(usual | other))


def _mobilenet(name: str, alpha: float, written: str) -> Entry:
    """MobileNet with `alpha` times the channels; its files write alpha as `written`."""
    return Entry(
        name=name,
        builder="MobileNet",
        arguments=(("alpha", alpha),),
        preprocessing="tf",
        width=int(1024 * alpha),
        blocks=MOBILENET,
        folder="mobilenet",
        file=f"mobilenet_{written}_{{rows}}_tf_no_top.h5",
        rows=(128, 160, 192, 224),
    )


def _mobilenet_v3_entry(kind: str, width: int, last: int) -> Entry:
    """MobileNetV3, `small` or `large`, with bottlenecks up to number `last`."""
    return _record(
        f"mobilenet_v3_{kind}",
        f"MobileNetV3{kind.capitalize()}",
        "none",
        width,
        ("expanded_conv_project_bn", *_numbered("expanded_conv_{}_project_bn", 1, last)),
        folder="mobilenet_v3",
        file=f"weights_mobilenet_v3_{kind}_224_1.0_float_no_top_v2.h5",
    )


RECORDS = (
    _record("xception", "Xception", "tf", 2048, XCEPTION, size=299, minimum=71),
    _record("inception_v3", "InceptionV3", "tf", 2048, _numbered("mixed{}", 0, 10), size=299, minimum=75),
    _record("inception_resnet_v2", "InceptionResNetV2", "tf", 1536, INCEPTION_RESNET, size=299, minimum=75),
    _record(
        "resnet50", "ResNet50", "caffe", 2048, _stages("conv{stage}_block{block}_out", 3, 4, 6, 3), folder="resnet"
    ),
    _record("vgg16", "VGG16", "caffe", 512, _vgg(2, 2, 3, 3, 3)),
    _record("vgg19", "VGG19", "caffe", 512, _vgg(2, 2, 4, 4, 4)),
    _record(
        *("densenet121", "DenseNet121", "torch", 1024, _stages("conv{stage}_block{block}_concat", 6, 12, 24, 16)),
        folder="densenet",
    ),
    _record(
        *("nasnet_mobile", "NASNetMobile", "tf", 1056, NASNET),
        folder="nasnet",
        file="nasnet_mobile_no_top.h5",
        remote="NASNet-mobile-no-top.h5",
    ),
    _mobilenet("mobilenet", 1.0, "1_0"),
    _mobilenet("mobilenet_025", 0.25, "2_5"),
    _record(
        *("mobilenet_v2", "MobileNetV2", "tf", 1280, MOBILENET_V2),
        file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{rows}_no_top.h5",
        rows=(96, 128, 160, 192, 224),
    ),
    _mobilenet_v3_entry("small", 576, 10),
    _mobilenet_v3_entry("large", 960, 14),
    *(
        _record(
            *(f"efficientnet_v2_{kind}", f"EfficientNetV2{kind.upper()}", "none", width, _efficientnet(stages)),
            size=size,
            folder="efficientnet_v2",
            file=f"efficientnetv2-{kind}_notop.h5",
        )
        for kind, (size, width, stages) in EFFICIENTNET.items()
    ),
    *(
        _record(
            *(f"convnext_{kind}", f"ConvNeXt{kind.capitalize()}", "none", width, _convnext(f"convnext_{kind}")),
            folder="convnext",
            file=f"convnext_{kind}_notop.h5",
        )
        for kind, width in CONVNEXT.items()
    ),
)
BASES: dict[str, Entry] = {record.name: record for record in RECORDS}
