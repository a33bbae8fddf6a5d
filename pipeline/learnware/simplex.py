"""The quadratic programme of a specification and of a search: the mixture of given embeddings nearest to another.

    min over w of w' K w - 2 w' c,  w >= 0, sum of w = 1

By non-negative least squares, exactly: with columns p_i = phi_i - mu the objective is |P w|^2 plus a constant, and
for u = t w, |P u|^2 + (1 - t)^2 is least at t = 1 / (1 + |P w|^2), where it is |P w|^2 / (1 + |P w|^2): it grows with
what is to be least. So u of the free problem, scaled to the sum 1, is w (Lawson and Hanson, Solving Least Squares
Problems, 1974, chapter 23).
"""

import numpy as np

SMALLEST = 1e-12
"""Directions of K with less than this share of its largest eigenvalue are rounding."""


def nearest_mixture(inner: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """The weights (K,) float64 on the simplex that bring sum w_i phi_i nearest to mu.

    Args:
        inner: K, (K, K), inner products of the phi_i; positive semidefinite.
        cross: c, (K,), inner products of phi_i and mu.
    """
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(np.asarray(inner, np.float64))
    kept = values > SMALLEST * max(values[-1], SMALLEST)
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
    phi = roots[:, None] * vectors.T
    mu = vectors.T @ np.asarray(cross, np.float64) / roots
    stacked = np.vstack([phi - mu[:, None], np.ones(len(cross))])
    found, _ = nnls(stacked, np.eye(len(stacked))[-1], maxiter=30 * len(cross))
    return found / found.sum()
