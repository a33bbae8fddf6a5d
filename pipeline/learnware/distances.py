"""How far pictures are from embeddings: sets of pictures, single ones, and embeddings from each other."""

from collections.abc import Sequence

import numpy as np

from pipeline.learnware.kernel import rbf
from pipeline.learnware.terms import Embedding

MOST = 2000
"""Of a set's pictures whose distances among themselves are computed; the others enter the rest only."""


def product(left: Embedding, right: Embedding, gamma: float) -> float:
    """The inner product of two embeddings, b1' K12 b2."""
    values = rbf(left.points.astype(np.float64), right.points.astype(np.float64), gamma)
    return float(left.weights @ values @ right.weights)


def seen_by(rows: np.ndarray, embedding: Embedding, gamma: float) -> np.ndarray:
    """The embedding's value at each picture, (n,) float64: sum_j beta_j k(z_j, x)."""
    return rbf(rows, embedding.points, gamma).astype(np.float64) @ embedding.weights


def among(rows: np.ndarray, gamma: float, seed: int = 0) -> float:
    """The mean of k(x, y) over different pictures: an unbiased estimate of the squared length of their embedding.

    So the squared distance of a set to an embedding does not depend on the number of pictures, but for its noise, and
    may be a little below zero (Gretton et al., JMLR 13, 2012, lemma 6).

    Args:
        rows: (n, width) normalised, n at least 2.
        gamma: of the kernel.
        seed: draws the pictures where they are more than MOST.
    """
    chosen = rows[np.random.default_rng(seed).permutation(len(rows))[:MOST]]
    values = rbf(chosen, chosen, gamma)
    np.fill_diagonal(values, 0)
    return float(values.sum(dtype=np.float64) / (len(chosen) * (len(chosen) - 1)))


def nearness(rows: np.ndarray, classes: Sequence[Embedding], gamma: float) -> np.ndarray:
    """How near each picture is to the nearest of a learnware's classes, (n,) float64; larger is nearer.

    The squared distance of k(x, .) and mu_c is 1 - 2 mu_c(x) + |mu_c|^2: nearest is where mu_c(x) - |mu_c|^2 / 2 is
    largest.
    """
    points = np.concatenate([one.points for one in classes])
    values = rbf(rows, points, gamma) * np.concatenate([one.weights for one in classes])
    starts = np.cumsum([0, *(len(one.points) for one in classes[:-1])])
    lengths = np.array([product(one, one, gamma) for one in classes])
    return (np.add.reduceat(values, starts, axis=1, dtype=np.float64) - lengths / 2).max(axis=1)
