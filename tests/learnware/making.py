"""Tiny learnwares that tests make themselves, and archives that somebody tampered with."""

import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from pipeline.learnware import archive, cached_predictions, store
from pipeline.learnware.archive import BaseSpec, ModelSignature
from pipeline.learnware.specification import fit_specification
from pipeline.learnware.types import ModelMetadata, Probe
from tests.conftest import drawn

SIDE, GAMMA = 32, 2.0
PROBE = Probe(base="petite", size=128, digest="a" * 64, preprocessing="tf")


def network(classes: int = 3, seed: int = 0):
    """A small model from uint8 pictures to probabilities."""
    import keras

    keras.utils.set_random_seed(seed)
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pixels")
    values = keras.layers.Rescaling(1 / 64, offset=-2.0)(pixels)
    values = keras.layers.Conv2D(4, 3, activation="relu")(values)
    values = keras.layers.GlobalAveragePooling2D()(values)
    return keras.Model(pixels, keras.layers.Dense(classes, activation="softmax", name="answers")(values))


def saved(model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def specification(
    name: str = "tiny", classes: tuple[str, ...] = ("a", "b", "c"), seed: int = 0, shift: float = 0.0, **words
):
    """Of 60 pictures whose features are drawn around a few centres."""
    random = np.random.default_rng(seed)
    labels = np.arange(60) % len(classes)
    centres = random.normal(size=(len(classes), 8)) + shift
    features = centres[labels] + random.normal(scale=0.2, size=(60, 8))
    semantic = ModelMetadata(
        **{
            "name": name, "task": "telling letters apart", "competition": "letters", "classes": classes,
            "metric": "accuracy", "score": 0.9, "spread": 0.01, "base": "petite", "strategy": "features",
            "data": "60 drawn letters", "pictures": 60, "licence": "MIT", "size": SIDE, "megabytes": 0.1,
            "pictures_per_second": 100.0, "parameters": 123, **words,
        }
    )  # fmt: skip
    return fit_specification(features.astype(np.float32), labels, classes, PROBE, GAMMA, semantic, points=5)


def contract(name: str = "tiny", classes: tuple[str, ...] = ("a", "b", "c"), **other) -> ModelSignature:
    part = BaseSpec(name="petite", cut=None, pooling="avg", weights="imagenet", size=SIDE)
    given = {"sizes": (SIDE,), "views": ("plain", "flip"), "strategy": "features", "bases": (part,), **other}
    return ModelSignature(name=name, classes=classes, **given)


def pictures(count: int = 4) -> np.ndarray:
    return np.stack([drawn(seed, SIDE, SIDE) for seed in range(count)])


def made(folder: Path, model: bytes, name: str = "tiny", classes: tuple[str, ...] = ("a", "b", "c"), **words):
    """A learnware of this model in a folder, and the folder's store.json."""
    one = contract(name, classes)
    from pipeline.learnware import safe_loading

    batch = pictures()
    predictions = cached_predictions.predict_probe(safe_loading.load_model(model, name), one, batch)
    store.write_store(store.Store(folder=folder, probe=PROBE, gamma=GAMMA))
    return archive.write_archive(
        folder / f"{name}.learnware",
        model=model,
        specification=specification(name, classes, **words),
        contract=one,
        pictures=batch,
        predictions=predictions,
        card=f"# {name}\n",
    )


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def rewritten(path: Path, changes: dict[str, bytes | None], *, honest: bool = True) -> Path:
    """The archive with other members (None: without it); with digests of what it has now, if `honest`."""
    found = {**contents(path), **changes}
    kept = {name: data for name, data in found.items() if data is not None}
    if honest:
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in kept.items() if name != "digests.json"}
        kept["digests.json"] = json.dumps(digests).encode()
    with zipfile.ZipFile(path, "w") as writer:
        for name, data in kept.items():
            writer.writestr(zipfile.ZipInfo(name), data)
    return path


def with_config(model: bytes, change) -> bytes:
    """The .keras file whose config.json `change` has changed in place."""
    with zipfile.ZipFile(io.BytesIO(model)) as opened:
        found = {name: opened.read(name) for name in opened.namelist()}
    config = json.loads(found["config.json"])
    found["config.json"] = json.dumps(change(config) or config).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        for name, data in found.items():
            writer.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def with_weights(model: bytes, change) -> bytes:
    """The .keras file whose weights, an open h5py.File, `change` has changed."""
    import h5py

    with zipfile.ZipFile(io.BytesIO(model)) as opened:
        found = {name: opened.read(name) for name in opened.namelist()}
    file = io.BytesIO(found["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        change(weights)
    found["model.weights.h5"] = file.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as writer:
        for name, data in found.items():
            writer.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()
