"""Pictures of nothing: noise, gratings and checks in random colours, as a probe sees them. Of no task."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.learnware import probe
from pipeline.models.base import parse_base

TEXTURES = 240


def texture(number: int, side: int, random: np.random.Generator) -> np.ndarray:
    """Noise, a grating or checks in two colours, (side, side, 3) uint8."""
    colours = random.integers(0, 256, (2, 1, 1, 3))
    y, x = np.mgrid[0:side, 0:side]
    if number % 3 == 0:
        grain = int(random.choice([1, 2, 4, 8, 16]))
        coarse = random.integers(0, 256, (side // grain + 1, side // grain + 1, 3))
        return coarse.repeat(grain, 0).repeat(grain, 1)[:side, :side].astype(np.uint8)
    if number % 3 == 1:
        angle, pace = random.uniform(0, np.pi), random.uniform(0.05, 0.8)
        share = 0.5 + 0.5 * np.sin(pace * (x * np.cos(angle) + y * np.sin(angle)))
    else:
        field = random.integers(4, 40)
        share = ((x // field + y // field) % 2).astype(float)
    return (colours[0] + share[..., None] * (colours[1] - colours[0])).astype(np.uint8)


def textures(base: str, size: int) -> np.ndarray:
    """What the probe gives for drawn textures, by the same way as for a folder of pictures."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(TEXTURES):
            Image.fromarray(texture(number, size, random)).save(Path(folder) / f"{number}.png")
        return probe.extract_folder_features(Path(folder), parse_base(base, size)).features
