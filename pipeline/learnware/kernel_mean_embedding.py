"""Kernel mean embeddings of sets of pictures: distances between them, mixtures of them, and reduced ones of K points.

The kernel is k(x, y) = exp(-gamma |x - y|^2) on features of length 1. Its mean embedding mu_P = E k(x, .) tells every
two distributions apart, and |mu_P - mu_Q|^2 is the squared maximum mean discrepancy, MMD² (Gretton et al., A Kernel
Two-Sample Test, JMLR 13, 2012, lemmas 4 and 6).
"""

from collections.abc import Sequence

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.learnware.types import Embedding

SUBSAMPLE_SIZE = 1000
MIN_DISTANCE = 1e-12
"""Squared distances below it are of equal pictures."""
MAX_PICTURES = 2000
"""Of a set, whose distances among themselves are computed; the others only enter the cross terms."""
MIN_EIGENVALUE_SHARE = 1e-12
"""Directions of K with less than this share of its largest eigenvalue are rounding."""
MAX_ROUNDS = 25
MIN_IMPROVEMENT = 2e-5
"""Of the squared length of the embedding: a round that gains less is the last one."""
ARMIJO_SLOPE, MAX_HALVINGS = 0.1, 20
"""A step is taken that lowers the objective by at least this share of what the gradient promises (Armijo)."""


def normalize_features(features: np.ndarray) -> np.ndarray:
    """Returns features (n, width) as float32 rows of length 1; a row of zeros stays one.

    Raises:
        StarshiftError: another shape, or values that are not finite.
    """
    rows = np.asarray(features, np.float32)
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
        raise StarshiftError("These are no features.", expected="(n, width), finite", received=str(rows.shape))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def compute_squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns |x - y|^2 of every two rows: (n, width) and (m, width) to (n, m), never negative."""
    inner = left @ right.T
    inner *= -2
    inner += np.einsum("ij,ij->i", left, left)[:, None]
    inner += np.einsum("ij,ij->i", right, right)
    return np.maximum(inner, 0, out=inner)


def rbf_kernel(left: np.ndarray, right: np.ndarray, gamma: float) -> np.ndarray:
    """Returns the kernel of every two rows: (n, width) and (m, width) to (n, m), in (0, 1]."""
    values = compute_squared_distances(left, right)
    values *= -gamma
    return np.exp(values, out=values)


def estimate_gamma(features: np.ndarray, seed: int) -> float:
    """Estimates gamma by the median rule: 1 / (2 m), m the median of |x - y|^2 over all pairs of a subsample.

    So the kernel's width is the median distance, and two pictures that far apart have k = exp(-1/2). A kernel twice as
    narrow ranks as well, but needs more points, and mixtures are recovered half as well (benchmarks/learnware_search).
    Where most pairs are of equal pictures the median is that of the others.

    Args:
        features: (n, width), as extracted.
        seed: draws the subsample of at most 1,000.

    Raises:
        StarshiftError: fewer than two different pictures.
    """
    rows = normalize_features(features)
    rows = rows[np.random.default_rng(seed).permutation(len(rows))[:SUBSAMPLE_SIZE]].astype(np.float64)
    pairs = compute_squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    apart = pairs[pairs > MIN_DISTANCE]
    if not len(apart):
        received = f"{len(rows)}, all alike" if len(rows) > 1 else "1"
        raise StarshiftError("A kernel needs pictures that differ.", expected="two or more", received=received)
    median = float(np.median(pairs))
    return 1 / (2 * (median if median > MIN_DISTANCE else float(np.median(apart))))


def compute_inner_product(left: Embedding, right: Embedding, gamma: float) -> float:
    """Returns the inner product of two embeddings, b1' K12 b2."""
    values = rbf_kernel(left.points.astype(np.float64), right.points.astype(np.float64), gamma)
    return float(left.weights @ values @ right.weights)


def evaluate_embedding(rows: np.ndarray, embedding: Embedding, gamma: float) -> np.ndarray:
    """Evaluates the embedding at each picture, (n,) float64: sum_j beta_j k(z_j, x)."""
    return rbf_kernel(rows, embedding.points, gamma).astype(np.float64) @ embedding.weights


def compute_mean_kernel(rows: np.ndarray, gamma: float, seed: int = 0) -> float:
    """Returns the mean of k(x, y) over different pictures: an unbiased estimate of their embedding's squared length.

    So the squared distance of a set to an embedding does not depend on the number of pictures, but for its noise, and
    may be a little below zero (Gretton et al., JMLR 13, 2012, lemma 6).

    Args:
        rows: (n, width) normalised, n at least 2.
        gamma: of the kernel.
        seed: draws MAX_PICTURES where there are more.
    """
    sample = rows[np.random.default_rng(seed).permutation(len(rows))[:MAX_PICTURES]]
    values = rbf_kernel(sample, sample, gamma)
    np.fill_diagonal(values, 0)
    return float(values.sum(dtype=np.float64) / (len(sample) * (len(sample) - 1)))


def compute_nearness(rows: np.ndarray, classes: Sequence[Embedding], gamma: float) -> np.ndarray:
    """Returns how near each picture is to the nearest of a learnware's classes, (n,) float64; larger is nearer.

    The squared distance of k(x, .) and mu_c is 1 - 2 mu_c(x) + |mu_c|^2: nearest is where mu_c(x) - |mu_c|^2 / 2 is
    largest.
    """
    points = np.concatenate([one.points for one in classes])
    values = rbf_kernel(rows, points, gamma) * np.concatenate([one.weights for one in classes])
    starts = np.cumsum([0, *(len(one.points) for one in classes[:-1])])
    lengths = np.array([compute_inner_product(one, one, gamma) for one in classes])
    return (np.add.reduceat(values, starts, axis=1, dtype=np.float64) - lengths / 2).max(axis=1)


def fit_mixture_weights(inner: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Returns the weights (K,) float64 on the simplex that bring sum w_i phi_i nearest to mu: least w' K w - 2 w' c.

    Solved exactly by non-negative least squares: with columns p_i = phi_i - mu the objective is |P w|^2 plus a
    constant, and for u = t w, |P u|^2 + (1 - t)^2 is least at t = 1 / (1 + |P w|^2), where it is
    |P w|^2 / (1 + |P w|^2): it grows with the objective. So u of the free problem, scaled to the sum 1, is w (Lawson
    and Hanson, Solving Least Squares Problems, 1974, chapter 23).

    Args:
        inner: K, (K, K), inner products of the phi_i; positive semidefinite.
        cross: c, (K,), inner products of phi_i and mu.
    """
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(np.asarray(inner, np.float64))
    significant = values > MIN_EIGENVALUE_SHARE * max(values[-1], MIN_EIGENVALUE_SHARE)
    roots, vectors = np.sqrt(values[significant]), vectors[:, significant]
    phi = roots[:, None] * vectors.T
    mu = vectors.T @ np.asarray(cross, np.float64) / roots
    stacked = np.vstack([phi - mu[:, None], np.ones(len(cross))])
    weights, _ = nnls(stacked, np.eye(len(stacked))[-1], maxiter=30 * len(cross))
    return weights / weights.sum()


def compute_gradient(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, kernel: np.ndarray, gamma: float
) -> np.ndarray:
    """Returns the gradient (K, width) of `compute_objective` in the points.

    -4 gamma beta_i [sum_j beta_j k(z_i, z_j)(z_i - z_j) - 1/N sum_n k(z_i, x_n)(z_i - x_n)],
    where sum_j a_ij (z_i - z_j) = (sum_j a_ij) z_i - sum_j a_ij z_j.

    Args:
        points: z, (K, width).
        weights: beta, (K,).
        rows: x, (N, width).
        kernel: k(z, x), (K, N).
        gamma: of the kernel.
    """
    own = rbf_kernel(points, points, gamma) * weights
    among = own.sum(axis=1, keepdims=True) * points - own @ points
    data = kernel.mean(axis=1, keepdims=True) * points - kernel @ rows / len(rows)
    return -4 * gamma * weights[:, None] * (among - data)


def compute_objective(points: np.ndarray, weights: np.ndarray, kernel: np.ndarray, gamma: float) -> float:
    """Returns the squared distance of two embeddings, less the term of the rows alone, which no choice changes.

    Args:
        points: z, (K, width).
        weights: beta, (K,).
        kernel: k(z, x), (K, N).
        gamma: of the kernel.
    """
    exact = points.astype(np.float64)
    own = weights @ rbf_kernel(exact, exact, gamma) @ weights
    return float(own - 2 * weights @ kernel.mean(axis=1, dtype=np.float64))


def fit_embedding(rows: np.ndarray, gamma: float, points: int, seed: int, rounds: int = MAX_ROUNDS) -> Embedding:
    """Fits a reduced embedding: K weighted points whose kernel mean is nearest to that of all pictures.

    From k-means on, the points (gradient descent) and the weights (a quadratic programme on the simplex) are improved
    in turn (Wu, Xu, Liu, Zhou, arXiv 2001.07135, section 3). No round makes the objective larger.

    Args:
        rows: (N, width) float32, normalised.
        gamma: of the kernel.
        points: K; not more than there are rows.
        seed: of k-means.
        rounds: at most.
    """
    z = _find_centres(rows, min(points, len(rows)), seed)
    kernel = rbf_kernel(z, rows, gamma)
    weights, value = _fit_weights(z, kernel, gamma), np.inf
    step = len(z) / (4 * gamma)  # with equal weights, it takes each point to the mean that its gradient points to
    for _ in range(rounds):
        before = value
        z, kernel, step = _descend(z, weights, rows, kernel, gamma, step)
        weights = _fit_weights(z, kernel, gamma)
        value = compute_objective(z, weights, kernel, gamma)
        if before - value < MIN_IMPROVEMENT * abs(value):
            break
    return Embedding(points=z, weights=weights.astype(np.float32), pictures=len(rows))


def _find_centres(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the points to start from, (count, width) float32: k-means from k-means++."""
    if count == 1:
        return rows.mean(axis=0, keepdims=True)
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(count, batch_size=1024, max_iter=5, n_init=1, random_state=seed)
    return means.fit(rows).cluster_centers_.astype(np.float32)


def _fit_weights(points: np.ndarray, kernel: np.ndarray, gamma: float) -> np.ndarray:
    """Returns the best weights (K,) float64 for these points."""
    exact = points.astype(np.float64)
    return fit_mixture_weights(rbf_kernel(exact, exact, gamma), kernel.mean(axis=1, dtype=np.float64))


def _descend(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, kernel: np.ndarray, gamma: float, step: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Takes a step down the gradient, halved until the objective falls enough. Returns z, k(z, x) and the next step."""
    value = compute_objective(points, weights, kernel, gamma)
    gradient = compute_gradient(points, weights, rows, kernel, gamma)
    slope = ARMIJO_SLOPE * float((gradient.astype(np.float64) ** 2).sum())
    for halvings in range(MAX_HALVINGS):
        moved = (points - step * gradient).astype(np.float32)
        moved_kernel = rbf_kernel(moved, rows, gamma)
        if compute_objective(moved, weights, moved_kernel, gamma) <= value - step * slope:
            return moved, moved_kernel, step if halvings else 2 * step
        step /= 2
    return points, kernel, step
