"""Pretraining of `petite` on the drawn world, from which its committed weights come: `invoke pretrain`.

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

from pipeline import paths
from pipeline.config import require
from pipeline.drawn import world
from pipeline.drawn.many import SIDE, world_set
from pipeline.files import read_json, sha256_of_file, sha256_of_json, write_json
from pipeline.models.bases import OURS
from pipeline.models.feeding import fed
from pipeline.models.halved import save_halved
from pipeline.training import checkpoint
from pipeline.training.crops import batches, scaled

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How petite is pretrained.

    Args:
        pictures: of each class of the world, to train on.
        held: of each class, to score on.
        epochs: passes over the training pictures.
        crop: side of the random square that is trained on, at most 128; scored on the whole picture.
        batch: pictures a step.
        rate: the highest learning rate, after a warm-up of a twentieth and before a cosine to zero.
        decay: of the weights (AdamW; Loshchilov and Hutter 2019).
        smoothing: of the labels.
        precision: Keras's policy while training.
        seed: of the pictures, the weights and the order.
    """

    pictures: int = 320
    held: int = 20
    epochs: int = 8
    crop: int = 112
    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.05
    smoothing: float = 0.1
    precision: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        require(min(self.pictures, self.held, self.epochs, self.batch) > 0, "Nothing to train on.",
                expected="pictures, held, epochs and batch from 1 on", received=asdict(self))  # fmt: skip
        require(32 <= self.crop <= SIDE, "Unusable crop.", expected=f"32 to {SIDE} pixels", received=self.crop)


def in_seconds(recipe: Pretraining) -> Pretraining:
    """The same recipe on so few pictures that it ends in seconds, and learns nothing."""
    return replace(recipe, pictures=2, held=1, epochs=1, crop=32)


def command(recipe: Pretraining, *, install: bool = False) -> dict[str, Any]:
    """Pretrains, or finds that it was done; with `install` puts the result among the repository's weights."""
    folder = paths.home() / "data" / "pretrain" / sha256_of_json(asdict(recipe))[:8]
    result = read_json(folder / "petite.json") or pretrain(recipe, folder)
    log.info("petite    accuracy %.1f %% on %d held-out pictures of its own world (chance %.1f %%), %.0f s of training",
             100 * result["accuracy"], result["world"]["held"], 100 * result["chance"], result["seconds"])  # fmt: skip
    for name in ("petite_float16.weights.h5", "petite.json"):
        if install:
            OURS.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, OURS / name)
        log.info("wrote %s", paths.shown((OURS if install else folder) / name))
    return result


def pretrain(recipe: Pretraining, folder: Path) -> dict[str, Any]:
    """Draws the world, trains petite on it, and writes petite_float16.weights.h5 and petite.json.

    Args:
        recipe: how.
        folder: of the results; an interrupted training goes on in it.

    Returns:
        What petite.json holds: recipe, digest of the weights, seconds, accuracy on held-out pictures of the world.
    """
    import keras

    from pipeline.training.classifier import classifier
    from pipeline.training.telling import Epoch

    cache = paths.cache_folder("drawn")
    started = time.perf_counter()
    pixels, labels = world_set(range(recipe.pictures), recipe.seed, cache)
    held, held_labels = world_set(range(10**6, 10**6 + recipe.held), recipe.seed, cache)
    log.info("drawn     %.0f s, %d + %d pictures of %d classes", time.perf_counter() - started, len(pixels), len(held),
             len(world.CLASSES))  # fmt: skip
    keras.utils.set_random_seed(recipe.seed)
    model, base = classifier(
        classes=len(world.CLASSES),
        steps=recipe.epochs * math.ceil(len(labels) / recipe.batch),
        rate=recipe.rate,
        decay=recipe.decay,
        smoothing=recipe.smoothing,
        precision=recipe.precision,
    )
    model.optimizer.build(model.trainable_variables)
    fingerprint, kept = sha256_of_json(asdict(recipe)), folder / "checkpoint.npz"
    stored = checkpoint.read(kept, fingerprint)
    progress = stored.put_into(model) if stored else checkpoint.Progress()
    while progress.epoch < recipe.epochs:
        epoch_started = time.perf_counter()
        data = batches(
            pixels,
            labels,
            classes=len(world.CLASSES),
            crop=recipe.crop,
            batch=recipe.batch,
            seed=recipe.seed,
            epoch=progress.epoch,
        )
        model.fit(fed(data), epochs=1, shuffle=False, verbose=0, callbacks=[Epoch(progress.epoch + 1, recipe.epochs)])
        progress.epoch += 1
        progress.seconds.append(time.perf_counter() - epoch_started)
        checkpoint.save(kept, fingerprint, progress, model)
    right = model.predict(scaled(held), batch_size=64, verbose=0).argmax(axis=1) == held_labels
    weights = folder / "petite_float16.weights.h5"
    save_halved(base, weights)
    result = {
        "recipe": asdict(recipe),
        "world": {"classes": len(world.CLASSES), "pictures": len(labels), "held": len(held_labels)},
        "accuracy": float(right.mean()),
        "chance": 1 / len(world.CLASSES),
        "seconds": round(sum(progress.seconds), 1),
        "cores": os.cpu_count(),
        "parameters": base.count_params(),
        "keras": keras.__version__,
        "weights": {"file": weights.name, "bytes": weights.stat().st_size, "sha256": sha256_of_file(weights)},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    write_json(folder / "petite.json", result)
    return result
