"""How far a task's own pictures are from its embedding: measured with one half of them, on sets drawn from the other.

The half-way embeddings are made for this alone; those of a specification are made of all pictures, and are nearer.
"""

import numpy as np

from pipeline.learnware.distances import MOST, nearness, product, seen_by
from pipeline.learnware.embedding import reduced
from pipeline.learnware.kernel import rbf
from pipeline.learnware.terms import Embedding, Typical

SIZES = (2, 5, 10, 20, 50, 100, 200, 500)
DRAWS = 200
PART = 4
"""A set is a quarter of the pictures at most: larger ones would be too much alike."""
QUANTILES = np.linspace(0, 1, 101)
CLASS_POINTS, PICTURES_A_POINT = 10, 10
"""A class has a point for every ten pictures, ten at most: no point is a picture."""
CLASS_ROUNDS = 8
LEAST = 16
"""Pictures that a task must have: halves of fewer tell nothing."""


def classwise(rows: np.ndarray, labels: np.ndarray, gamma: float, seed: int) -> dict[int, Embedding]:
    """The embedding of each class that has pictures, by its number."""
    found = {}
    for number in np.unique(labels):
        own = rows[labels == number]
        points = int(np.clip(len(own) // PICTURES_A_POINT, 1, CLASS_POINTS))
        found[int(number)] = reduced(own, gamma, points, seed, CLASS_ROUNDS)
    return found


def measured(rows: np.ndarray, labels: np.ndarray, gamma: float, points: int, seed: int) -> Typical:
    """Distances within a task.

    Args:
        rows: (n, width) float32, normalised, n at least LEAST.
        labels: (n,) int.
        gamma: of the kernel.
        points: of the embedding.
        seed: draws the halves and the sets.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows))
    fitted, held = order[: len(order) // 2], order[len(order) // 2 :]
    classes = classwise(rows[fitted], labels[fitted], gamma, seed)
    single = nearness(rows[held], list(classes.values()), gamma)
    whole = reduced(rows[fitted], gamma, points, seed)
    pool = rows[held[:MOST]]
    sizes = tuple(size for size in SIZES if size <= max(SIZES[0], len(pool) // PART))
    kernel = rbf(pool, pool, gamma)
    np.fill_diagonal(kernel, 0)
    seen, length = seen_by(pool, whole, gamma), product(whole, whole, gamma)
    distances = [_of_sets(kernel, seen, size, random) + length for size in sizes]
    return Typical(
        sizes=sizes,
        distances=np.quantile(distances, QUANTILES, axis=1).T.astype(np.float32),
        single=np.quantile(single, QUANTILES).astype(np.float32),
    )


def _of_sets(kernel: np.ndarray, seen: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """The unbiased squared MMD (DRAWS,) of sets drawn from a pool to an embedding, less the embedding's own length.

    Args:
        kernel: k of every two pictures of the pool, zero on the diagonal.
        seen: the embedding's value at each picture of the pool.
        size: pictures in a set.
        random: draws them.
    """
    drawn = random.random((DRAWS, len(seen))).argpartition(size - 1, axis=1)[:, :size]
    member = np.zeros((DRAWS, len(seen)), np.float32)
    np.put_along_axis(member, drawn, 1, axis=1)
    own = ((member @ kernel) * member).sum(axis=1, dtype=np.float64) / (size * (size - 1))
    return own - 2 * (member @ seen) / size
