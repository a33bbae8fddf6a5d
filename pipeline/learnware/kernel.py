"""The kernel that distributions of pictures are compared by: k(x, y) = exp(-gamma |x - y|^2) on features of length 1.

Its mean embedding mu_P = E k(x, .) tells every two distributions apart, and |mu_P - mu_Q|^2 is the squared maximum mean
discrepancy (Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012, lemmas 4 and 6).
"""

import numpy as np

from pipeline.errors import StarshiftError

SUBSAMPLE = 1000
ROUNDING = 1e-12
"""Squared distances below it are of equal pictures."""


def normalised(features: np.ndarray) -> np.ndarray:
    """Features (n, width) as float32 rows of length 1; a row of zeros stays one.

    Raises:
        StarshiftError: another shape, or values that are not finite.
    """
    rows = np.asarray(features, np.float32)
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
        raise StarshiftError("These are no features.", expected="(n, width), finite", received=str(rows.shape))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """|x - y|^2 of every two rows: (n, width) and (m, width) to (n, m), never negative."""
    inner = left @ right.T
    inner *= -2
    inner += np.einsum("ij,ij->i", left, left)[:, None]
    inner += np.einsum("ij,ij->i", right, right)
    return np.maximum(inner, 0, out=inner)


def rbf(left: np.ndarray, right: np.ndarray, gamma: float) -> np.ndarray:
    """The kernel of every two rows: (n, width) and (m, width) to (n, m), in (0, 1]."""
    values = squared_distances(left, right)
    values *= -gamma
    return np.exp(values, out=values)


def median_gamma(features: np.ndarray, seed: int) -> float:
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
    rows = normalised(features)
    chosen = np.random.default_rng(seed).permutation(len(rows))[:SUBSAMPLE]
    rows = rows[chosen].astype(np.float64)
    pairs = squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    apart = pairs[pairs > ROUNDING]
    if not len(apart):
        received = f"{len(rows)}, all alike" if len(rows) > 1 else "1"
        raise StarshiftError("A kernel needs pictures that differ.", expected="two or more", received=received)
    median = float(np.median(pairs))
    return 1 / (2 * (median if median > ROUNDING else float(np.median(apart))))
