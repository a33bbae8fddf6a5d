"""How far pictures are from embeddings: sets of pictures, single ones, and embeddings from each other.

The kernel that distributions of pictures are compared by: k(x, y) = exp(-gamma |x - y|^2) on features of length 1.

Its mean embedding mu_P = E k(x, .) tells every two distributions apart, and |mu_P - mu_Q|^2 is the squared maximum mean
discrepancy (Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012, lemmas 4 and 6).

The quadratic programme of a specification and of a search: the mixture of given embeddings nearest to another.

    min over w of w' K w - 2 w' c,  w >= 0, sum of w = 1

By non-negative least squares, exactly: with columns p_i = phi_i - mu the objective is |P w|^2 plus a constant, and
for u = t w, |P u|^2 + (1 - t)^2 is least at t = 1 / (1 + |P w|^2), where it is |P w|^2 / (1 + |P w|^2): it grows with
what is to be least. So u of the free problem, scaled to the sum 1, is w (Lawson and Hanson, Solving Least Squares
Problems, 1974, chapter 23).

The reduced kernel mean embedding: K weighted points whose kernel mean is nearest to that of all pictures.

Wu, Xu, Liu, Zhou, arXiv 2001.07135, section 3: from k-means, the points (gradient descent) and the weights (a quadratic
programme on the simplex) are improved in turn. No turn makes the objective larger.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.learnware.types import Embedding

SUBSAMPLE_SIZE = 1000
MIN_DISTANCE = 1e-12
"""Squared distances below it are of equal pictures."""


def normalize_features(features: np.ndarray) -> np.ndarray:
    """Features (n, width) as float32 rows of length 1; a row of zeros stays one.

    Raises:
        StarshiftError: another shape, or values that are not finite.
    """
    rows = np.asarray(features, np.float32)
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
        raise StarshiftError("These are no features.", expected="(n, width), finite", received=str(rows.shape))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def compute_squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """|x - y|^2 of every two rows: (n, width) and (m, width) to (n, m), never negative."""
    inner = left @ right.T
    inner *= -2
    inner += np.einsum("ij,ij->i", left, left)[:, None]
    inner += np.einsum("ij,ij->i", right, right)
    return np.maximum(inner, 0, out=inner)


def rbf_kernel(left: np.ndarray, right: np.ndarray, gamma: float) -> np.ndarray:
    """The kernel of every two rows: (n, width) and (m, width) to (n, m), in (0, 1]."""
    values = compute_squared_distances(left, right)
    values *= -gamma
    return np.exp(values, out=values)


def estimate_gamma(features: np.ndarray, seed: int) -> float:
    """Gamma by the median rule: 1 / (2 m), m the median of |x - y|^2 over all pairs of a subsample's normalised rows.

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
    chosen = np.random.default_rng(seed).permutation(len(rows))[:SUBSAMPLE_SIZE]
    rows = rows[chosen].astype(np.float64)
    pairs = compute_squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    apart = pairs[pairs > MIN_DISTANCE]
    if not len(apart):
        received = f"{len(rows)}, all alike" if len(rows) > 1 else "1"
        raise StarshiftError("A kernel needs pictures that differ.", expected="two or more", received=received)
    median = float(np.median(pairs))
    return 1 / (2 * (median if median > MIN_DISTANCE else float(np.median(apart))))


MAX_PICTURES = 2000
"""Of a set's pictures whose distances among themselves are computed; the others enter the rest only."""


def compute_inner_product(left: Embedding, right: Embedding, gamma: float) -> float:
    """The inner product of two embeddings, b1' K12 b2."""
    values = rbf_kernel(left.points.astype(np.float64), right.points.astype(np.float64), gamma)
    return float(left.weights @ values @ right.weights)


def evaluate_embedding(rows: np.ndarray, embedding: Embedding, gamma: float) -> np.ndarray:
    """The embedding's value at each picture, (n,) float64: sum_j beta_j k(z_j, x)."""
    return rbf_kernel(rows, embedding.points, gamma).astype(np.float64) @ embedding.weights


def compute_mean_kernel(rows: np.ndarray, gamma: float, seed: int = 0) -> float:
    """The mean of k(x, y) over different pictures: an unbiased estimate of the squared length of their embedding.

    So the squared distance of a set to an embedding does not depend on the number of pictures, but for its noise, and
    may be a little below zero (Gretton et al., JMLR 13, 2012, lemma 6).

    Args:
        rows: (n, width) normalised, n at least 2.
        gamma: of the kernel.
        seed: draws the pictures where they are more than MOST.
    """
    chosen = rows[np.random.default_rng(seed).permutation(len(rows))[:MAX_PICTURES]]
    values = rbf_kernel(chosen, chosen, gamma)
    np.fill_diagonal(values, 0)
    return float(values.sum(dtype=np.float64) / (len(chosen) * (len(chosen) - 1)))


def compute_nearness(rows: np.ndarray, classes: Sequence[Embedding], gamma: float) -> np.ndarray:
    """How near each picture is to the nearest of a learnware's classes, (n,) float64; larger is nearer.

    The squared distance of k(x, .) and mu_c is 1 - 2 mu_c(x) + |mu_c|^2: nearest is where mu_c(x) - |mu_c|^2 / 2 is
    largest.
    """
    points = np.concatenate([one.points for one in classes])
    values = rbf_kernel(rows, points, gamma) * np.concatenate([one.weights for one in classes])
    starts = np.cumsum([0, *(len(one.points) for one in classes[:-1])])
    lengths = np.array([compute_inner_product(one, one, gamma) for one in classes])
    return (np.add.reduceat(values, starts, axis=1, dtype=np.float64) - lengths / 2).max(axis=1)


MIN_EIGENVALUE_SHARE = 1e-12
"""Directions of K with less than this share of its largest eigenvalue are rounding."""


def fit_mixture_weights(inner: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """The weights (K,) float64 on the simplex that bring sum w_i phi_i nearest to mu.

    Args:
        inner: K, (K, K), inner products of the phi_i; positive semidefinite.
        cross: c, (K,), inner products of phi_i and mu.
    """
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(np.asarray(inner, np.float64))
    kept = values > MIN_EIGENVALUE_SHARE * max(values[-1], MIN_EIGENVALUE_SHARE)
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
    phi = roots[:, None] * vectors.T
    mu = vectors.T @ np.asarray(cross, np.float64) / roots
    stacked = np.vstack([phi - mu[:, None], np.ones(len(cross))])
    found, _ = nnls(stacked, np.eye(len(stacked))[-1], maxiter=30 * len(cross))
    return found / found.sum()


MAX_ROUNDS = 25
MIN_IMPROVEMENT = 2e-5
"""Of the squared length of the embedding: a round that gains less is the last one."""
ARMIJO_SLOPE, MAX_HALVINGS = 0.1, 20
"""A step is taken that lowers the objective by at least this share of what the gradient promises (Armijo)."""


def compute_gradient(points: np.ndarray, weights: np.ndarray, rows: np.ndarray, gamma: float) -> np.ndarray:
    """The gradient (K, width) of `compute_objective` in the points.

    -4 gamma beta_i [sum_j beta_j k(z_i, z_j)(z_i - z_j) - 1/N sum_n k(z_i, x_n)(z_i - x_n)]

    Args:
        points: z, (K, width).
        weights: beta, (K,).
        rows: x, (N, width).
        gamma: of the kernel.
    """
    return _compute_gradient(points, weights, rows, rbf_kernel(points, rows, gamma), gamma)


def _compute_gradient(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, seen: np.ndarray, gamma: float
) -> np.ndarray:
    """`compute_gradient`, where k(z, x) (K, N) is known: sum_j a_ij (z_i - z_j) = (sum_j a_ij) z_i - sum_j a_ij z_j."""
    own = rbf_kernel(points, points, gamma) * weights
    among = own.sum(axis=1, keepdims=True) * points - own @ points
    data = seen.mean(axis=1, keepdims=True) * points - seen @ rows / len(rows)
    return -4 * gamma * weights[:, None] * (among - data)


def compute_objective(points: np.ndarray, weights: np.ndarray, rows: np.ndarray, gamma: float) -> float:
    """The squared distance of the two embeddings, without the term of the rows alone, which no choice changes."""
    return _compute_objective(points, weights, rbf_kernel(points, rows, gamma), gamma)


def _compute_objective(points: np.ndarray, weights: np.ndarray, seen: np.ndarray, gamma: float) -> float:
    exact = points.astype(np.float64)
    return float(
        weights @ rbf_kernel(exact, exact, gamma) @ weights - 2 * weights @ seen.mean(axis=1, dtype=np.float64)
    )


def fit_embedding(rows: np.ndarray, gamma: float, points: int, seed: int, rounds: int = MAX_ROUNDS) -> Embedding:
    """The reduced embedding of pictures.

    Args:
        rows: (N, width) float32, normalised.
        gamma: of the kernel.
        points: K; not more than there are rows.
        seed: of k-means.
        rounds: at most.
    """
    z = _find_centres(rows, min(points, len(rows)), seed)
    seen = rbf_kernel(z, rows, gamma)
    weights, value = _fit_weights(z, seen, gamma), np.inf
    step = len(z) / (4 * gamma)  # where all weights are equal, each point goes to the mean that its gradient speaks of
    for _ in range(rounds):
        before = value
        z, seen, step = _descend(z, weights, rows, seen, gamma, step)
        weights = _fit_weights(z, seen, gamma)
        value = _compute_objective(z, weights, seen, gamma)
        if before - value < MIN_IMPROVEMENT * abs(value):
            break
    return Embedding(points=z, weights=weights.astype(np.float32), pictures=len(rows))


def _find_centres(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The points to start from, (count, width) float32: k-means from k-means++."""
    if count == 1:
        return rows.mean(axis=0, keepdims=True)
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(count, batch_size=1024, max_iter=5, n_init=1, random_state=seed)
    return means.fit(rows).cluster_centers_.astype(np.float32)


def _fit_weights(points: np.ndarray, seen: np.ndarray, gamma: float) -> np.ndarray:
    """The best weights (K,) float64 for these points."""
    exact = points.astype(np.float64)
    return fit_mixture_weights(rbf_kernel(exact, exact, gamma), seen.mean(axis=1, dtype=np.float64))


def _descend(
    points: np.ndarray, weights: np.ndarray, rows: np.ndarray, seen: np.ndarray, gamma: float, step: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """One step down the gradient, halved until the objective falls enough. Returns z, k(z, x) and the next step."""
    value = _compute_objective(points, weights, seen, gamma)
    slope = _compute_gradient(points, weights, rows, seen, gamma)
    promised = ARMIJO_SLOPE * float((slope.astype(np.float64) ** 2).sum())
    for halved in range(MAX_HALVINGS):
        moved = (points - step * slope).astype(np.float32)
        looked = rbf_kernel(moved, rows, gamma)
        if _compute_objective(moved, weights, looked, gamma) <= value - step * promised:
            return moved, looked, step if halved else 2 * step
        step /= 2
    return points, seen, step
