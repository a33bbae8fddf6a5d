"""What embeddings and mixtures make small, as the paper writes it; the product has quicker ways to parts of it."""

import numpy as np

from pipeline.learnware.kernel_mean_embedding import rbf_kernel


def mmd(
    left: np.ndarray, left_weights: np.ndarray, right: np.ndarray, right_weights: np.ndarray, gamma: float
) -> float:
    """Squared maximum mean discrepancy of two sets of weighted points.

    b1' K11 b1 - 2 b1' K12 b2 + b2' K22 b2 (arXiv 2001.07135, equation 3), in double precision.

    Args:
        left: (n, width).
        left_weights: (n,).
        right: (m, width).
        right_weights: (m,).
        gamma: of the kernel.
    """
    left, right = left.astype(np.float64), right.astype(np.float64)
    own = left_weights @ rbf_kernel(left, left, gamma) @ left_weights
    other = right_weights @ rbf_kernel(right, right, gamma) @ right_weights
    return float(own - 2 * left_weights @ rbf_kernel(left, right, gamma) @ right_weights + other)
