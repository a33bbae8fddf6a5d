"""The directions that pooling by second moments turns maps into: learned once, from pictures without their labels.

They are kept under a name that says which base they are for and which pictures they were learned from. A run writes the
name into its recipe, `inception_v3@mixed7+second:NAME`, so that features depend on a picture and on what the recipe
says, and on nothing else: new pictures are only added where the recipe keeps the name.

    python -m pipeline.models.directions BASE SAMPLE      in a process of its own, which imports TensorFlow
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import DamagedFileError, open_arrays, sha256_of_json, write_atomic
from pipeline.models.bases import SECOND, Base, preprocessing_of, weights_digest
from pipeline.subprocesses import run_main, run_module

MOST = 64
"""Directions, of which 2,080 moments come."""
PICTURES = 256
"""Directions are learned from at most so many."""
BATCH = 16


def named(base: Base, pictures: Sequence[str]) -> Base:
    """The base with the name of the directions that these pictures give, learned or not.

    Args:
        base: its pooling is `second`.
        pictures: SHA-256 of each one's bytes, in the order in which they are looked at.
    """
    of = {**network_of(base), "pictures": list(pictures), "directions": MOST}
    return replace(base, pooling=f"{SECOND}:{sha256_of_json(of)[:16]}")


def network_of(base: Base) -> dict[str, Any]:
    """What gives the maps that directions are of; plain JSON values."""
    return {"base": base.name, "cut": base.cut, "weights": weights_digest(base), "size": base.size}


def place_of(base: Base) -> Path:
    """The file of a base's directions, there or not."""
    return paths.directions_folder() / f"{base.pooling.partition(':')[2]}.npz"


def known(base: Base) -> bool:
    """Whether the directions are here and whole."""
    try:
        read(base)
    except StarshiftError:
        return False
    return True


def others(base: Base) -> list[str]:
    """What else a base is called whose directions are here, learned from other pictures."""
    found = (
        replace(base, pooling=f"{SECOND}:{place.stem}") for place in sorted(paths.directions_folder().glob("*.npz"))
    )
    return [str(one) for one in found if one != base and known(one)]


def digest(base: Base) -> str:
    """SHA-256 of the directions: two machines that learn from the same pictures may differ in the last digits.

    Raises:
        StarshiftError: see `read`.
    """
    return hashlib.sha256(np.ascontiguousarray(read(base)).tobytes()).hexdigest()


def read(base: Base) -> np.ndarray:
    """What maps are turned into, (channels, directions) float32.

    Raises:
        StarshiftError: they are yet to be learned, not here, damaged, or of another network.
    """
    place = place_of(base)
    if base.pooling == SECOND:
        raise StarshiftError(
            f"Directions for the second moments of {base} are yet to be learned.",
            expected=f"{replace(base, pooling='second:NAME')}",
            received=str(base),
            remedy=f"invoke features --comp COMP --base {base} learns them and prints the name",
        )
    try:
        with open_arrays(place) as stored:
            found, network = stored["directions"], json.loads(str(stored["network"]))
    except (FileNotFoundError, DamagedFileError) as error:
        raise StarshiftError(
            f"The directions of {base} are not here.",
            expected=paths.shown(place),
            received="a damaged file" if place.exists() else "no such file",
            remedy=f"invoke features --comp COMP --base {replace(base, pooling=SECOND)} learns those of its pictures",
        ) from error
    if network != (own := network_of(base)):
        raise StarshiftError(
            f"The directions of {base} are those of another network.",
            expected=json.dumps(own),
            received=json.dumps(network),
            remedy=f"name {replace(base, pooling=SECOND)}, and its own are learned",
        )
    return np.asarray(found)


def keep(base: Base, found: np.ndarray) -> None:
    """Writes the file of a base's directions, (channels, directions) float32."""
    network = json.dumps(network_of(base))
    write_atomic(place_of(base), lambda file: np.savez(file, directions=found, network=network))


def learn(base: Base, pixels: np.ndarray) -> None:
    """Writes the file of a base's directions, in a process of its own.

    Args:
        base: from `named`.
        pixels: (n, size, size, 3) uint8, the pictures that the name says.
    """
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample.npy"
        np.save(sample, pixels)
        asked = (json.dumps(asdict(base)), str(sample))
        run_module("pipeline.models.directions", *asked, failed=f"The directions of {base} could not be learned.")


def of_maps(base: Base, pixels: np.ndarray) -> np.ndarray:
    """The principal directions of a base's maps, each position of each picture a row.

    Args:
        base: up to its cut.
        pixels: (n, size, size, 3) uint8.

    Returns:
        (channels, at most MOST) float32, the one of the most variance first; each one's largest part is positive.
    """
    import keras

    from pipeline.models.extractor import build_network, preprocess

    network = build_network(base)
    shown = keras.Input((base.size, base.size, 3), dtype="uint8", name="pixels")
    model = keras.Model(shown, network(preprocess(shown, preprocessing_of(base), base.name), training=False))
    channels = model.output_shape[-1]
    count, total, products = 0, np.zeros(channels), np.zeros((channels, channels))
    for start in range(0, len(pixels), BATCH):
        maps = np.asarray(model.predict_on_batch(pixels[start : start + BATCH]))
        rows = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
        count, total, products = count + len(rows), total + rows.sum(axis=0), products + rows.T @ rows
    mean = total / count
    _, axes = np.linalg.eigh(products / count - np.outer(mean, mean))
    chosen = axes[:, ::-1][:, :MOST]
    largest = chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])]
    return np.asarray(chosen * np.sign(largest), np.float32)


def main() -> None:
    """Runs as a command."""
    base = Base(**json.loads(sys.argv[1]))
    sample = Path(sys.argv[2])
    pixels = np.load(sample)
    sample.unlink()
    keep(base, of_maps(base, pixels))


if __name__ == "__main__":
    sys.exit(run_main(main))
