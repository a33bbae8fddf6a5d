"""The talk's head: dense 256, ReLU, dropout 0.5, softmax, trained in Keras on cached features."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.models.heads import Head
from pipeline.training.linear import Fold, cross_entropy

UNITS = 256
DROPOUT = 0.5
EPOCHS = 60
PATIENCE = 6
BATCH = 64


def fit(folds: Sequence[Fold], classes: int, seed: int) -> tuple[list[Head], list[dict[str, Any]]]:
    """One head a fold, each stopped where its held-out loss was lowest.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.
        seed: of the weights, the order and the dropout.

    Returns:
        The heads, and one record an epoch: fold, epoch, loss, held_loss, chosen.
    """
    heads, history = [], []
    for fold in folds:
        head, records = _fit_one(fold, classes, seed)
        heads.append(head)
        history += records
    return heads, history


def _fit_one(fold: Fold, classes: int, seed: int) -> tuple[Head, list[dict[str, Any]]]:
    """One fold's head."""
    import keras

    keras.utils.set_random_seed(seed + fold.number)
    mean, deviation = fold.features.mean(axis=0), np.maximum(fold.features.std(axis=0), 1e-6)
    model = keras.Sequential(
        [
            keras.layers.Input((fold.features.shape[1],)),
            keras.layers.Dense(UNITS, activation="relu"),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    fitted = model.fit(
        (fold.features - mean) / deviation,
        fold.labels,
        validation_data=((fold.held_features - mean) / deviation, fold.held_labels),
        batch_size=BATCH,
        epochs=EPOCHS,
        callbacks=[stop],
        verbose=0,
    )
    first, first_bias, last, last_bias = model.get_weights()
    folded = first / deviation[:, None]
    head = Head(((folded, first_bias - mean @ folded), (last, last_bias)))
    losses = zip(fitted.history["loss"], fitted.history["val_loss"], strict=True)
    best = int(np.argmin(fitted.history["val_loss"]))
    records = [
        {"fold": fold.number, "epoch": epoch, "loss": loss, "held_loss": held, "chosen": epoch == best}
        for epoch, (loss, held) in enumerate(losses)
    ]
    records[best]["held_loss"] = cross_entropy(head.probabilities(fold.held_features), fold.held_labels)
    return head, records
