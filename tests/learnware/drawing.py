"""Tasks that tests draw: clouds of features around a direction of their own, and their specifications."""

import numpy as np

from pipeline.learnware.specification import fit_specification
from pipeline.learnware.types import ModelMetadata, Probe, Specification

PROBE = Probe(base="petite", size=64, digest="ab" * 32, preprocessing="tf")
GAMMA, WIDTH = 1.0, 12


def features(direction: int, count: int, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Features (count, WIDTH) around an axis, their classes to its two sides, and their labels."""
    random = np.random.default_rng([seed, direction])
    labels = np.arange(count) % classes
    centres = 3 * np.eye(WIDTH)[direction] + np.where(labels[:, None] == 0, 1.0, -1.0) * np.eye(WIDTH)[direction + 1]
    return centres + random.normal(0, 0.5, (count, WIDTH)), labels


def words(name: str, classes: tuple[str, ...] = ("left", "right")) -> ModelMetadata:
    """What a learnware is for, in made-up values."""
    return ModelMetadata(
        name=name, task=f"sides of {name}", competition=name, classes=classes, metric="accuracy", score=0.9,
        spread=None, base="petite", strategy="features", data="drawn", pictures=400, licence="MIT", size=64,
        megabytes=1.5, pictures_per_second=None, parameters=1000,
    )  # fmt: skip


def specified(name: str, direction: int, classes: tuple[str, ...] = ("left", "right")) -> Specification:
    """The specification of a drawn task."""
    values, labels = features(direction, 400, 0)
    return fit_specification(values, labels, classes, PROBE, GAMMA, words(name, classes), points=20)
