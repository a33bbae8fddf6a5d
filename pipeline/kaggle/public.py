"""Public datasets that have Keras's weights files, by the files' names. Data only, and none of it was seen by us.

Source: public notebooks that read these files from there (GitHub, searched in 2026). It has resnet50 too, but from
before Keras changed that file in 2019, so it is left out. Whoever uses a file holds it against its digest. Kaggle's own
models `keras/...` hold KerasHub's presets, which are other files.
"""

KERNELS = "weights_tf_dim_ordering_tf_kernels_notop.h5"
PUBLIC = {
    "gaborfodor/keras-pretrained-models": tuple(
        f"{name}_{KERNELS}" for name in ("xception", "inception_v3", "inception_resnet_v2", "vgg16", "vgg19")
    ),
}


def holder(name: str) -> str | None:
    """The public dataset, `owner/slug`, that has a file of this name."""
    return next((ref for ref, names in PUBLIC.items() if name in names), None)
