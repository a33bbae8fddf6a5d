"""Fingerprints of bases: what a loaded network gives for one drawn picture, compared at every load.

Wrong weights of the right shapes raise no error in Keras. The fingerprints of published weights are in
fingerprints.json; those of other weights, sizes and cuts are remembered at their first use, so that a library that
computes something else is noticed, too.

    python -m pipeline.models.fingerprints BASE      prints the line of fingerprints.json for the weights that are here
"""

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import hash_json, read_json, write_json
from pipeline.models.base import Base, compute_weights_digest, find_weights_path, parse_base

PUBLISHED_FILE = Path(__file__).with_suffix(".json")
NUMBERS = 16
"""Of a fingerprint: enough to tell networks apart, few enough to be read."""
TOLERANCE = 0.02
"""Relative difference. Processors and libraries differ by up to 1e-4, the TF32 of a GPU by 1e-3, networks by 0.3."""


def draw_picture(size: int) -> np.ndarray:
    """Draws the picture, (1, size, size, 3) uint8: gradients and a disc, by integers alone, equal on every machine."""
    y, x = np.mgrid[:size, :size]
    disc = (2 * x - size) ** 2 + (2 * y - size) ** 2 < (size * size) // 3
    channels = (255 * x // size, 255 * y // size, 255 * ((x * y) % size) // size)
    picture = np.stack([np.where(disc, 255 - channel, channel) for channel in channels], axis=-1)
    return picture[None].astype(np.uint8)


def compute_fingerprint(network: Any, base: Base) -> np.ndarray:
    """Computes the fingerprint (NUMBERS,) float32 of a loaded network: Walsh sums of its average-pooled maps."""
    import keras

    from pipeline.models.build import preprocess

    pixels = preprocess(keras.ops.convert_to_tensor(draw_picture(base.size)), base.preprocessing, base.layer_name)
    maps = keras.ops.convert_to_numpy(network(pixels, training=False))
    channels = maps.reshape(-1, maps.shape[-1]).mean(axis=0)
    # Every number depends on every channel, with a sign: the parity of the bits that its place and the channel share.
    shared = np.bitwise_count(np.arange(1, NUMBERS + 1)[:, None] & np.arange(len(channels)))
    return np.asarray((1 - 2.0 * (shared % 2)) @ channels, np.float32)


@cache
def read_published() -> dict[str, list[float]]:
    """Reads the fingerprints of published weights, by `name:size` of the whole base."""
    return dict(json.loads(PUBLISHED_FILE.read_text()))


def check_fingerprint(network: Any, base: Base) -> None:
    """Compares a loaded network with its stored fingerprint; remembers that of its first use.

    Random weights have none; under a policy of half precision nothing is compared.

    Args:
        network: from its input to the cut.
        base: name, cut, weights, size.

    Raises:
        StarshiftError: the features differ.
    """
    import keras

    if base.random or keras.config.dtype_policy().name != "float32":
        return
    received = compute_fingerprint(network, base)
    path = find_record_path(base)
    if base.published:
        _check_published(received, base)
    record = read_json(path)
    if isinstance(record, dict) and "fingerprint" in record:
        source = f"remembered from its first use, with Keras {record['keras']}"
        _require_equal(received, record["fingerprint"], base, source, f"to accept the new features: rm {path}, --force")
    else:
        write_json(path, {"base": str(base), "fingerprint": received.tolist(), "keras": keras.version()})


def _check_published(received: np.ndarray, base: Base) -> None:
    """Compares published weights with fingerprints.json; the whole base at its trained size speaks for its cuts."""
    from pipeline.models.build import build_network

    whole = replace(base, cut=None, pooling="avg", size=base.trained_size)
    stored = read_published().get(f"{whole.name}:{whole.size}")
    if stored is None:
        return
    if replace(base, pooling="avg") == whole:
        _require_equal(received, stored, base, "of the published weights", "put a whole file of those there")
    elif not find_record_path(whole).exists():
        build_network(whole)


def find_record_path(base: Base) -> Path:
    """Returns the path of the fingerprint that is remembered for a base; it need not exist."""
    key = {"base": base.name, "cut": base.cut, "size": base.size, "weights": compute_weights_digest(base)}
    return paths.cache_folder("engines") / f"fingerprint-{hash_json(key)[:16]}.json"


def _require_equal(received: np.ndarray, stored: list[float], base: Base, source: str, remedy: str) -> None:
    expected = np.asarray(stored, np.float64)
    difference = float(np.linalg.norm(received - expected) / np.linalg.norm(expected))
    if not difference <= TOLERANCE:  # NaN differs
        raise StarshiftError(
            f"The weights of {base} give other features than they should.",
            expected=f"the fingerprint {expected[:3].round(4).tolist()} ..., {source}",
            received=f"{received[:3].round(4).tolist()} ..., {difference:.0%} away, from {find_weights_path(base)}",
            remedy=remedy,
        )


def main() -> None:
    """Prints the fingerprint of a base's published weights."""
    from pipeline.models.build import build_network

    base = parse_base(sys.argv[1])
    values = compute_fingerprint(build_network(base), base)
    print(json.dumps({f"{base.name}:{base.size}": [round(float(value), 6) for value in values]}))


if __name__ == "__main__":
    main()
