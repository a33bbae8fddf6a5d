"""Pooling by second moments: which channels answer together, where average pooling says how much each of them does.

Fine differences, of breeds or of grasses, lie in what occurs together (Lin, RoyChowdhury and Maji 2015, Bilinear CNN
Models for Fine-grained Visual Recognition, ICCV, section 2). All pairs of a thousand channels are too many, so maps are
first turned into a few principal directions (models/directions.py); and the moments' matrix root evens out what a few
strong ones would drown (Li et al. 2018, Towards Faster Training of Global Covariance Pooling Networks by Iterative
Matrix Square Root Normalization, CVPR, equations 4 to 6).
"""

from typing import Any

import numpy as np

ROUNDS, RIDGE = 9, 1e-5
"""Of the iteration; and the share of the trace that is added to the diagonal, from which the iteration ends."""


def pooled(maps: Any, directions: np.ndarray, name: str) -> Any:
    """The root of the maps' second moments, its upper triangle, of length 1.

    Args:
        maps: (n, height, width, channels), symbolic.
        directions: (channels, d) float32.
        name: begins the layers' names.

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
    flat = keras.layers.Reshape((width * width,), name=f"{name}_root")(root(moments, width))
    # The matrix is symmetric; the lower triangle would repeat the same numbers.
    upper = np.ravel_multi_index(np.triu_indices(width), (width, width))
    # Plain ints: arguments of an operation are saved as JSON, which has no NumPy integers.
    chosen = keras.ops.take(flat, [int(place) for place in upper], axis=1)
    return keras.layers.UnitNormalization(axis=1, name=f"{name}_moments")(chosen)


def root(moments: Any, width: int) -> Any:
    """The matrix root of symmetric matrices, up to a factor each, by products alone (Newton and Schulz).

    So few rounds leave moments below a ten-thousandth of the trace smaller than their roots: mostly noise.

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
    for _ in range(ROUNDS):
        step = (value if other is None else keras.ops.matmul(other, value)) * -0.5 + 1.5 * one
        value = keras.ops.matmul(value, step)
        other = step if other is None else keras.ops.matmul(step, other)
    return value
