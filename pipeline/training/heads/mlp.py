"""MLP head, the talk's: dense 256, ReLU, dropout 0.5, softmax, trained in Keras on cached features.

The number of epochs is chosen on a tenth of the training pictures, set aside; then the head is trained anew on all of
them. Neither uses the validation fold, so that its predictions are out of fold.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.errors import require
from pipeline.models.heads import Head
from pipeline.terminal import open_bar
from pipeline.training.heads.logistic_regression import FoldFeatures, compute_feature_std, cross_entropy
from pipeline.training.soft_targets import SoftTargetLoss, build_distillation_loss

UNITS = 256
DROPOUT = 0.5
EPOCHS = 60
PATIENCE = 6
BATCH_SIZE = 64
VALIDATION_BATCH_SIZE = 1024
"""Pictures set aside that are predicted at a time."""
VALIDATION_STRIDE = 10
"""One picture of so many is set aside to choose the epoch."""


def fit(folds: Sequence[FoldFeatures], classes: int, seed: int) -> tuple[list[Head], list[dict[str, Any]]]:
    """Fits one head a fold.

    Args:
        folds: the pictures of each fold.
        classes: how many there are.
        seed: of the pictures set aside, the weights, the order and the dropout.

    Returns:
        The heads, and one record an epoch of the search: fold, epoch, loss, inner_val_loss (of the pictures set
        aside, by their labels), val_loss (only where chosen: of the head trained on all pictures), chosen.
    """
    heads, history = [], []
    for fold in open_bar(folds, desc="mlp head", unit="fold"):
        head, records = _fit_fold(fold, classes, seed)
        heads.append(head)
        history += records
    return heads, history


def split_validation(fold: FoldFeatures, seed: int) -> FoldFeatures:
    """Splits the training pictures of a fold: a part of every class takes the place of the validation pictures.

    In the order of their classes, every tenth picture of a random order is set aside, with all its views.

    Args:
        fold: the pictures.
        seed: of the order.
    """
    pictures = len(fold.labels) // fold.views
    require(pictures > 1, "An MLP head sets pictures aside.", expected="2 training pictures or more", received=pictures)
    random = np.random.default_rng(seed)
    order = random.permutation(pictures)
    # A stable sort keeps the random order within each class.
    order = order[np.argsort(fold.labels[order], kind="stable")]
    aside = np.zeros(pictures, bool)
    aside[order[random.integers(min(VALIDATION_STRIDE, pictures)) :: VALIDATION_STRIDE]] = True
    rest = np.tile(~aside, fold.views)
    soft = replace(fold.soft, targets=fold.soft.targets[rest]) if fold.soft else None
    # Views of all pictures follow each other; only the first view is validated on.
    features, labels = fold.features[:pictures][aside], fold.labels[:pictures][aside]
    part = replace(fold, features=fold.features[rest], labels=fold.labels[rest], soft=soft)
    return replace(part, held_features=features, held_labels=labels)


def _fit_fold(fold: FoldFeatures, classes: int, seed: int) -> tuple[Head, list[dict[str, Any]]]:
    """Fits one fold's head."""
    seed += fold.number
    _, losses, inner_val_losses = _train_head(split_validation(fold, seed), classes, seed)
    best = int(np.argmin(inner_val_losses))
    # `best` counts from 0.
    head, _, _ = _train_head(fold, classes, seed, best + 1)
    held = cross_entropy(head.probabilities(fold.held_features), fold.held_labels)
    records = [
        {"fold": fold.number, "epoch": epoch, "loss": loss, "inner_val_loss": aside, "val_loss": "", "chosen": False}
        for epoch, (loss, aside) in enumerate(zip(losses, inner_val_losses, strict=True))
    ]
    records[best] |= {"val_loss": held, "chosen": True}
    return head, records


def _train_head(
    fold: FoldFeatures, classes: int, seed: int, epochs: int | None = None
) -> tuple[Head, list[float], list[float]]:
    """Trains the head; returns it, its losses and, without `epochs`, the validation losses, which stop the training."""
    import keras

    from pipeline.models.keras_input import ArraySequence, build_keras_input

    keras.utils.set_random_seed(seed)
    mean, spread = fold.features.mean(axis=0), compute_feature_std(fold.features)
    model = keras.Sequential(
        [
            keras.layers.Input((fold.features.shape[1],)),
            keras.layers.Dense(UNITS, activation="relu"),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    truth, held_truth = _build_targets(fold, classes)
    watched = _compile_model(model, fold.soft)
    stop = keras.callbacks.EarlyStopping(watched, mode="min", patience=PATIENCE)
    train_rows, validation_rows = (fold.features - mean) / spread, (fold.held_features - mean) / spread
    fitted = model.fit(
        build_keras_input(ArraySequence([train_rows], BATCH_SIZE, truth, seed)),
        validation_data=build_keras_input(ArraySequence([validation_rows], VALIDATION_BATCH_SIZE, held_truth))
        if epochs is None
        else None,
        shuffle=False,
        epochs=epochs or EPOCHS,
        callbacks=[stop] if epochs is None else [],
        verbose=0,
    )
    first, first_bias, last, last_bias = model.get_weights()
    folded = first / spread[:, None]
    head = Head(((folded, first_bias - mean @ folded), (last, last_bias)))
    return head, fitted.history["loss"], fitted.history.get(watched, [])


def _build_targets(fold: FoldFeatures, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Builds training and validation targets; pictures set aside have labels alone."""
    soft = fold.soft
    if soft is None:
        return fold.labels, fold.held_labels
    one_hot = np.eye(classes, dtype=np.float32)
    held = one_hot[fold.held_labels]
    return np.concatenate([one_hot[fold.labels], soft.targets], axis=1), np.concatenate([held, held], axis=1)


def _compile_model(model: Any, soft: SoftTargetLoss | None) -> str:
    """Compiles the model. Returns the name of the validation loss of the labels, which stops training."""
    import keras

    optimizer = keras.optimizers.Adam(1e-3)
    if soft is None:
        model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
        return "val_loss"
    labels_alone = build_distillation_loss(1.0, 0.0)
    # Keras names a metric after its function; the history then has `val_labels`.
    labels_alone.__name__ = "labels"
    model.compile(
        optimizer=optimizer, loss=build_distillation_loss(soft.temperature, soft.weight), metrics=[labels_alone]
    )
    return "val_labels"
