"""Pools a base's maps by second moments, in principal directions that are learned once.

Fine differences, of breeds or of grasses, lie in which channels occur together (Lin, RoyChowdhury and Maji 2015,
Bilinear CNN Models for Fine-grained Visual Recognition, ICCV, section 2). All pairs of a thousand channels are too
many, so maps are first projected on a few principal directions; the matrix root of the moments evens out strong
directions (Li et al. 2018, Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square
Root Normalization, CVPR, equations 4 to 6).

Directions are stored under a name that is a digest of the base and of the pictures they were learned from. A run writes
it into its recipe, `inception_v3@mixed7+second:NAME`, so that features depend on a picture and the recipe alone.

    python -m pipeline.models.pooling BASE SAMPLE      in a subprocess, which imports TensorFlow
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
from pipeline.files import DamagedFileError, hash_json, open_arrays, write_atomic
from pipeline.models.base import SECOND_MOMENTS, Base, compute_weights_digest
from pipeline.subprocesses import run_main, run_module

MAX_DIRECTIONS = 64
"""Which give 2,080 moments."""
MAX_PICTURES = 256
"""From which directions are learned."""
BATCH_SIZE = 16
SQRT_ITERATIONS, RIDGE = 9, 1e-5
"""Of the iteration; and the share of the trace that is added to the diagonal, from which the iteration ends."""


def name_directions(base: Base, pictures: Sequence[str]) -> Base:
    """Returns the base with the name of the directions of these pictures, learned or not.

    Args:
        base: its pooling is `second`.
        pictures: SHA-256 of each one's bytes, in the order in which they are processed.
    """
    spec = {**describe_network(base), "pictures": list(pictures), "directions": MAX_DIRECTIONS}
    return replace(base, pooling=f"{SECOND_MOMENTS}:{hash_json(spec)[:16]}")


def describe_network(base: Base) -> dict[str, Any]:
    """Returns what the maps depend on, except the picture; plain JSON values."""
    return {"base": base.identity, "cut": base.cut, "weights": compute_weights_digest(base), "size": base.size}


def find_directions_path(base: Base) -> Path:
    """Returns the path of a base's directions, which may not exist."""
    return paths.directions_folder() / f"{base.pooling.partition(':')[2]}.npz"


def has_directions(base: Base) -> bool:
    """Returns whether the directions exist and are whole."""
    try:
        read_directions(base)
    except StarshiftError:
        return False
    return True


def list_alternatives(base: Base) -> list[str]:
    """Lists names of the same base with directions of other pictures that exist here."""
    names = [path.stem for path in sorted(paths.directions_folder().glob("*.npz"))]
    others = [replace(base, pooling=f"{SECOND_MOMENTS}:{name}") for name in names]
    return [str(other) for other in others if other != base and has_directions(other)]


def compute_directions_digest(base: Base) -> str:
    """Returns the SHA-256 of the directions: two machines that learn from the same pictures differ in the last digits.

    Raises:
        StarshiftError: see `read_directions`.
    """
    return hashlib.sha256(np.ascontiguousarray(read_directions(base)).tobytes()).hexdigest()


def read_directions(base: Base) -> np.ndarray:
    """Reads the directions (channels, directions) float32 that maps are projected on.

    Raises:
        StarshiftError: they are not learned yet, missing, damaged, or of another network.
    """
    path = find_directions_path(base)
    if base.pooling == SECOND_MOMENTS:
        raise StarshiftError(
            f"Directions for the second moments of {base} are yet to be learned.",
            expected=f"{replace(base, pooling='second:NAME')}",
            received=str(base),
            remedy=f"invoke features --comp COMP --base {base} learns them and prints the name",
        )
    try:
        with open_arrays(path) as stored:
            directions, network = stored["directions"], json.loads(str(stored["network"]))
    except (FileNotFoundError, DamagedFileError) as error:
        raise StarshiftError(
            f"The directions of {base} are not here.",
            expected=paths.format_path(path),
            received="a damaged file" if path.exists() else "no such file",
            remedy=f"invoke features --comp COMP --base {replace(base, pooling=SECOND_MOMENTS)} learns those of its"
            " pictures",
        ) from error
    if network != (expected := describe_network(base)):
        raise StarshiftError(
            f"The directions of {base} are those of another network.",
            expected=json.dumps(expected),
            received=json.dumps(network),
            remedy=f"name {replace(base, pooling=SECOND_MOMENTS)}, and its own are learned",
        )
    return np.asarray(directions)


def write_directions(base: Base, directions: np.ndarray) -> None:
    """Writes a base's directions, (channels, directions) float32."""
    network = json.dumps(describe_network(base))
    write_atomic(find_directions_path(base), lambda file: np.savez(file, directions=directions, network=network))


def learn_directions(base: Base, pixels: np.ndarray) -> None:
    """Learns and writes a base's directions, in a subprocess.

    Args:
        base: from `name_directions`.
        pixels: (n, size, size, 3) uint8, the pictures of the name.
    """
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample.npy"
        np.save(sample, pixels)
        arguments = (json.dumps(asdict(base)), str(sample))
        run_module("pipeline.models.pooling", *arguments, failed=f"The directions of {base} could not be learned.")


def compute_directions(base: Base, pixels: np.ndarray) -> np.ndarray:
    """Computes the principal directions of a base's maps, each position of each picture a row.

    Args:
        base: up to its cut.
        pixels: (n, size, size, 3) uint8.

    Returns:
        (channels, at most MAX_DIRECTIONS) float32, of decreasing variance; each one's largest part is positive.
    """
    import keras

    from pipeline.models.build import build_network, preprocess

    network = build_network(base)
    inputs = keras.Input((base.size, base.size, 3), dtype="uint8", name="pixels")
    model = keras.Model(inputs, network(preprocess(inputs, base.preprocessing, base.layer_name), training=False))
    channels = model.output_shape[-1]
    count, total, products = 0, np.zeros(channels), np.zeros((channels, channels))
    for start in range(0, len(pixels), BATCH_SIZE):
        maps = np.asarray(model.predict_on_batch(pixels[start : start + BATCH_SIZE]))
        rows = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
        count, total, products = count + len(rows), total + rows.sum(axis=0), products + rows.T @ rows
    mean = total / count
    _, axes = np.linalg.eigh(products / count - np.outer(mean, mean))
    chosen = axes[:, ::-1][:, :MAX_DIRECTIONS]
    largest = chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])]
    return np.asarray(chosen * np.sign(largest), np.float32)


def pool_second_moments(maps: Any, directions: np.ndarray, name: str) -> Any:
    """Computes the upper triangle of the root of the maps' second moments, scaled to length 1.

    Args:
        maps: (n, height, width, channels), symbolic.
        directions: (channels, d) float32.
        name: prefix of the layers' names.

    Returns:
        (n, d (d + 1) / 2), symbolic.
    """
    import keras

    channels, width = directions.shape
    # A convolution saves the directions with the weights of the model, and every engine runs it.
    turn = keras.layers.Conv2D(width, 1, use_bias=False, trainable=False, name=f"{name}_directions")
    turn.build((None, None, None, channels))
    turn.set_weights([directions[None, None]])
    rows = keras.layers.Reshape((-1, width), name=f"{name}_positions")(turn(maps))
    moments = keras.ops.matmul(keras.ops.transpose(rows, (0, 2, 1)), rows)
    flat = keras.layers.Reshape((width * width,), name=f"{name}_root")(compute_matrix_sqrt(moments, width))
    # The matrix is symmetric; the lower triangle would repeat the same numbers.
    upper = np.ravel_multi_index(np.triu_indices(width), (width, width))
    # Plain ints: arguments of an operation are saved as JSON, which has no NumPy integers.
    chosen = keras.ops.take(flat, [int(place) for place in upper], axis=1)
    return keras.layers.UnitNormalization(axis=1, name=f"{name}_moments")(chosen)


def compute_matrix_sqrt(moments: Any, width: int) -> Any:
    """Computes the root of symmetric matrices, up to a factor each, by products alone (Newton and Schulz).

    So few iterations leave moments below a ten-thousandth of the trace smaller than their roots: mostly noise.

    Args:
        moments: (n, width, width), positive semidefinite.
        width: of a matrix.
    """
    import keras

    one = np.eye(width, dtype=np.float32)[None]
    # Divided by the trace, no eigenvalue exceeds 1, and the iteration converges.
    trace = keras.ops.sum(moments * one, axis=(1, 2), keepdims=True)
    # 1e-12: after a ReLU, maps may be 0 everywhere.
    value = moments / (trace + 1e-12) + RIDGE * one
    other = None
    for _ in range(SQRT_ITERATIONS):
        step = (value if other is None else keras.ops.matmul(other, value)) * -0.5 + 1.5 * one
        value = keras.ops.matmul(value, step)
        other = step if other is None else keras.ops.matmul(step, other)
    return value


def main() -> None:
    """Runs as a command."""
    base = Base(**json.loads(sys.argv[1]))
    sample = Path(sys.argv[2])
    pixels = np.load(sample)
    sample.unlink()
    write_directions(base, compute_directions(base, pixels))


if __name__ == "__main__":
    sys.exit(run_main(main))
