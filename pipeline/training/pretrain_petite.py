"""Pretrains `petite` on drawn pictures: `invoke pretrain` makes the committed weights.

Everything is drawn and nothing is downloaded, so that the weights can be made again from the repository alone.
"""

import logging
import math
import os
import shutil
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline import paths
from pipeline.errors import require
from pipeline.files import hash_file, hash_json, read_json, write_json
from pipeline.models.base import WEIGHTS_FOLDER
from pipeline.models.keras_input import build_keras_input
from pipeline.models.petite import Petite, save_float16_weights
from pipeline.synthetic import world
from pipeline.synthetic.world import PICTURE_SIDE, load_world
from pipeline.training import checkpoint

DROPOUT = 0.1
log = logging.getLogger(__name__)


def build_classifier(
    *, classes: int, steps: int, learning_rate: float, weight_decay: float, smoothing: float, precision: str
) -> tuple[keras.Model, keras.Model]:
    """Builds petite with a linear classifier, compiled, and petite itself, which shares its random weights.

    Args:
        classes: to tell apart.
        steps: of the whole training.
        learning_rate: the highest learning rate, after a warm-up of a twentieth and before a cosine to zero.
        weight_decay: of the weights (AdamW; Loshchilov and Hutter 2019).
        smoothing: of the labels.
        precision: Keras's policy while training; the classifier is float32.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, steps, warmup_target=learning_rate, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
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


def scale_pixels(pixels: np.ndarray) -> np.ndarray:
    """Scales pixels to float32 in [-1, 1] (preprocessing `tf`), as petite expects them."""
    return np.asarray(pixels, np.float32) / 127.5 - 1


def build_crop_sequence(
    pixels: np.ndarray, labels: np.ndarray, *, classes: int, crop: int, batch_size: int, seed: int, epoch: int
) -> Any:
    """Builds an epoch of random crops in one of the eight symmetries, with random brightness and contrast.

    Args:
        pixels: (n, 128, 128, 3) uint8.
        labels: (n,) int.
        classes: how many there are.
        crop: side of the random square.
        batch_size: pictures a step.
        seed: of order and crops.
        epoch: its order and crops come from the seed and this number.

    Returns:
        A keras.utils.PyDataset of pictures (batch_size, crop, crop, 3) float32 and one-hot labels.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(labels))

    class Batches(keras.utils.PyDataset):
        """Batches that one thread makes beside the training."""

        def __len__(self) -> int:
            return math.ceil(len(labels) / batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            random = np.random.default_rng([seed, epoch, index])
            rows = order[index * batch_size : (index + 1) * batch_size]
            pictures = np.stack([_augment_crop(pixels[row], crop, random) for row in rows])
            return pictures, np.eye(classes, dtype=np.float32)[labels[rows]]

    return Batches(workers=1, max_queue_size=8)


def _augment_crop(picture: np.ndarray, crop: int, random: np.random.Generator) -> np.ndarray:
    """Augments one picture; returns (crop, crop, 3) float32 in about [-1, 1]."""
    top, left = random.integers(0, picture.shape[0] - crop + 1, 2)
    part = np.rot90(picture[top : top + crop, left : left + crop], int(random.integers(4)))
    part = part[:, ::-1] if random.random() < 0.5 else part
    return scale_pixels(part) * random.uniform(0.8, 1.2) + random.uniform(-0.15, 0.15)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How petite is pretrained.

    Args:
        pictures: of each class of the world, to train on.
        held: of each class, to score on.
        epochs: passes over the training pictures.
        crop: side of the random square that is trained on, at most 128; scored on the whole picture.
        batch_size: pictures a step.
        learning_rate: the highest learning rate, after a warm-up of a twentieth and before a cosine to zero.
        weight_decay: of the weights (AdamW; Loshchilov and Hutter 2019).
        smoothing: of the labels.
        precision: Keras's policy while training.
        seed: of the pictures, the weights and the order.
    """

    pictures: int = 320
    held: int = 20
    epochs: int = 8
    crop: int = 112
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    smoothing: float = 0.1
    precision: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        require(min(self.pictures, self.held, self.epochs, self.batch_size) > 0, "Nothing to train on.",
                expected="pictures, held, epochs and batch_size from 1 on", received=asdict(self))  # fmt: skip
        require(
            32 <= self.crop <= PICTURE_SIDE,
            "Unusable crop.",
            expected=f"32 to {PICTURE_SIDE} pixels",
            received=self.crop,
        )


def build_debug_config(recipe: PretrainConfig) -> PretrainConfig:
    """Reduces the recipe to so few pictures that it ends in seconds, and learns nothing."""
    return replace(recipe, pictures=2, held=1, epochs=1, crop=32)


def run_pretraining(recipe: PretrainConfig, *, install: bool = False) -> dict[str, Any]:
    """Pretrains, unless that is done; with `install` copies the result to the repository's weights."""
    folder = paths.home_folder() / "data" / "pretrain" / hash_json(asdict(recipe))[:8]
    result = read_json(folder / "petite.json") or pretrain(recipe, folder)
    log.info("petite    accuracy %.1f %% on %d held-out pictures of its own world (chance %.1f %%), %.0f s of training",
             100 * result["accuracy"], result["world"]["held"], 100 * result["chance"], result["seconds"])  # fmt: skip
    for name in ("petite_float16.weights.h5", "petite.json"):
        if install:
            WEIGHTS_FOLDER.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, WEIGHTS_FOLDER / name)
        log.info("wrote %s", paths.format_path((WEIGHTS_FOLDER if install else folder) / name))
    return result


def _train_epochs(
    recipe: PretrainConfig, model: keras.Model, pixels: np.ndarray, labels: np.ndarray, path: Path
) -> checkpoint.TrainingState:
    """Trains the epochs that the checkpoint at this path lacks, and saves it after each."""
    from pipeline.training.trainer import EpochLogger

    fingerprint = hash_json(asdict(recipe))
    stored = checkpoint.load_checkpoint(path, fingerprint)
    state = stored.restore(model) if stored else checkpoint.TrainingState()
    while state.epoch < recipe.epochs:
        started = time.perf_counter()
        data = build_crop_sequence(
            pixels,
            labels,
            classes=len(world.CLASSES),
            crop=recipe.crop,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            epoch=state.epoch,
        )
        callbacks = [EpochLogger(state.epoch + 1, recipe.epochs)]
        model.fit(build_keras_input(data), epochs=1, shuffle=False, verbose=0, callbacks=callbacks)
        state.epoch += 1
        state.seconds.append(time.perf_counter() - started)
        checkpoint.save_checkpoint(path, fingerprint, state, model)
    return state


def pretrain(recipe: PretrainConfig, folder: Path) -> dict[str, Any]:
    """Draws the world, trains petite on it, and writes petite_float16.weights.h5 and petite.json.

    Args:
        recipe: of the pretraining.
        folder: of the results; an interrupted training goes on in it.

    Returns:
        What petite.json holds: recipe, digest of the weights, seconds, accuracy on held-out pictures of the world.
    """
    cache = paths.cache_folder("drawn")
    started = time.perf_counter()
    pixels, labels = load_world(range(recipe.pictures), recipe.seed, cache)
    held, held_labels = load_world(range(10**6, 10**6 + recipe.held), recipe.seed, cache)
    log.info("drawn     %.0f s, %d + %d pictures of %d classes", time.perf_counter() - started, len(pixels), len(held),
             len(world.CLASSES))  # fmt: skip
    keras.utils.set_random_seed(recipe.seed)
    model, base = build_classifier(
        classes=len(world.CLASSES),
        steps=recipe.epochs * math.ceil(len(labels) / recipe.batch_size),
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        smoothing=recipe.smoothing,
        precision=recipe.precision,
    )
    model.optimizer.build(model.trainable_variables)
    state = _train_epochs(recipe, model, pixels, labels, folder / "checkpoint.npz")
    right = model.predict(scale_pixels(held), batch_size=64, verbose=0).argmax(axis=1) == held_labels
    weights = folder / "petite_float16.weights.h5"
    save_float16_weights(base, weights)
    result = {
        "recipe": asdict(recipe),
        "world": {"classes": len(world.CLASSES), "pictures": len(labels), "held": len(held_labels)},
        "accuracy": float(right.mean()),
        "chance": 1 / len(world.CLASSES),
        "seconds": round(sum(state.seconds), 1),
        "cores": os.cpu_count(),
        "parameters": base.count_params(),
        "keras": keras.__version__,
        "weights": {"file": weights.name, "bytes": weights.stat().st_size, "sha256": hash_file(weights)},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    write_json(folder / "petite.json", result)
    return result
