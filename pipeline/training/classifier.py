"""Petite under a linear classifier, as it is pretrained."""

from typing import Any

import keras

from pipeline.models.petite import Petite

DROPOUT = 0.1


def classifier(
    *, classes: int, steps: int, rate: float, decay: float, smoothing: float, precision: str
) -> tuple[keras.Model, keras.Model]:
    """Petite with a linear classifier, compiled; and petite itself, which shares its weights. Random weights.

    Args:
        classes: to tell apart.
        steps: of the whole training.
        rate: the highest learning rate, after a warm-up of a twentieth and before a cosine to zero.
        decay: of the weights (AdamW; Loshchilov and Hutter 2019).
        smoothing: of the labels.
        precision: Keras's policy while training; the classifier is float32.
    """
    schedule = keras.optimizers.schedules.CosineDecay(rate / 20, steps, warmup_target=rate, warmup_steps=steps // 20)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    previous = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        base: Any = Petite(weights=None, input_shape=(None, None, 3))
        values = keras.layers.GlobalAveragePooling2D()(base.output)
        values = keras.layers.Dense(classes, dtype="float32")(keras.layers.Dropout(DROPOUT)(values))
    finally:
        keras.mixed_precision.set_dtype_policy(previous)
    model = keras.Model(base.input, values)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    model.compile(optimizer, loss, metrics=["categorical_accuracy"], jit_compile=False)
    return model, base
