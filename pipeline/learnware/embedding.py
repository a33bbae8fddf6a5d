"""The reduced kernel mean embedding: K weighted points whose kernel mean is nearest to that of all pictures.

Wu, Xu, Liu, Zhou, arXiv 2001.07135, section 3: from k-means, the points (gradient descent) and the weights (a quadratic
programme on the simplex) are improved in turn. No turn makes the objective larger.
"""

import numpy as np

from pipeline.learnware.kernel import rbf
from pipeline.learnware.simplex import nearest_mixture
from pipeline.learnware.terms import Embedding

ROUNDS = 25
ENOUGH = 2e-5
"""Of the squared length of the embedding: a round that gains less is the last one."""
SLOPE, HALVINGS = 0.1, 20
"""A step is taken that lowers the objective by at least this share of what the gradient promises (Armijo)."""


def gradient(points: np.ndarray, weights: np.ndarray, rows: np.ndarray, gamma: float) -> np.ndarray:
    """The gradient (K, width) of `objective` in the points.

    -4 gamma beta_i [sum_j beta_j k(z_i, z_j)(z_i - z_j) - 1/N sum_n k(z_i, x_n)(z_i - x_n)]

    Args:
        points: z, (K, width).
        weights: beta, (K,).
        rows: x, (N, width).
        gamma: of the kernel.
    """
    return _gradient(points, weights, rows, rbf(points, rows, gamma), gamma)


def _gradient(points: np.ndarray, weights: np.ndarray, rows: np.ndarray, seen: np.ndarray, gamma: float) -> np.ndarray:
    """`gradient`, where k(z, x) (K, N) is known. By sum_j a_ij (z_i - z_j) = (sum_j a_ij) z_i - sum_j a_ij z_j."""
    own = rbf(points, points, gamma) * weights
    among = own.sum(axis=1, keepdims=True) * points - own @ points
    data = seen.mean(axis=1, keepdims=True) * points - seen @ rows / len(rows)
    return -4 * gamma * weights[:, None] * (among - data)


def objective(points: np.ndarray, weights: np.ndarray, rows: np.ndarray, gamma: float) -> float:
    """The squared distance of the two embeddings, without the term of the rows alone, which no choice changes."""
    return _objective(points, weights, rbf(points, rows, gamma), gamma)


def _objective(points: np.ndarray, weights: np.ndarray, seen: np.ndarray, gamma: float) -> float:
    exact = points.astype(np.float64)
    return float(weights @ rbf(exact, exact, gamma) @ weights - 2 * weights @ seen.mean(axis=1, dtype=np.float64))


def reduced(rows: np.ndarray, gamma: float, points: int, seed: int, rounds: int = ROUNDS) -> Embedding:
    """The reduced embedding of pictures.

    Args:
        rows: (N, width) float32, normalised.
        gamma: of the kernel.
        points: K; not more than there are rows.
        seed: of k-means.
        rounds: at most.
    """
    z = _centres(rows, min(points, len(rows)), seed)
    seen = rbf(z, rows, gamma)
    weights, value = _weights(z, seen, gamma), np.inf
    step = len(z) / (4 * gamma)  # where all weights are equal, each point goes to the mean that its gradient speaks of
    for _ in range(rounds):
        before = value
        z, seen, step = _descend(z, weights, rows, seen, gamma, step)
        weights = _weights(z, seen, gamma)
        value = _objective(z, weights, seen, gamma)
        if before - value < ENOUGH * abs(value):
            break
    return Embedding(points=z, weights=weights.astype(np.float32), pictures=len(rows))


def _centres(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The points to start from, (count, width) float32: k-means from k-means++."""
    if count == 1:
        return rows.mean(axis=0, keepdims=True)
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(count, batch_size=1024, max_iter=5, n_init=1, random_state=seed)
    return means.fit(rows).cluster_centers_.astype(np.float32)


def _weights(points: np.ndarray, seen: np.ndarray, gamma: float) -> np.ndarray:
    """The best weights (K,) float64 for these points."""
    exact = points.astype(np.float64)
    return nearest_mixture(rbf(exact, exact, gamma), seen.mean(axis=1, dtype=np.float64))


def _descend(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, seen: np.ndarray, gamma: float, step: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """One step down the gradient, halved until the objective falls enough. Returns z, k(z, x) and the next step."""
    value = _objective(points, weights, seen, gamma)
    slope = _gradient(points, weights, rows, seen, gamma)
    promised = SLOPE * float((slope.astype(np.float64) ** 2).sum())
    for halved in range(HALVINGS):
        moved = (points - step * slope).astype(np.float32)
        looked = rbf(moved, rows, gamma)
        if _objective(moved, weights, looked, gamma) <= value - step * promised:
            return moved, looked, step if halved else 2 * step
        step /= 2
    return points, seen, step
