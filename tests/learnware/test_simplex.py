"""The quadratic programme on the simplex: the conditions of Karush, Kuhn and Tucker, and brute force."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.learnware.kernel_mean_embedding import fit_mixture_weights


def problem(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    phi, mu = random.normal(size=(count, width)), random.normal(size=width) * random.uniform(0, 3)
    return phi @ phi.T, phi @ mu


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 10**6))
def test_no_weight_can_be_moved_to_where_it_is_worth_more(count, width, seed):
    inner, cross = problem(count, width, seed)
    weights = fit_mixture_weights(inner, cross)
    assert (weights >= 0).all()
    assert abs(weights.sum() - 1) < 1e-12
    slope = 2 * (inner @ weights - cross)
    least = slope.min()
    assert (slope[weights > 1e-9] - least).max() < 1e-6 * (1 + np.abs(slope).max())


def test_nothing_on_a_fine_grid_is_better():
    for seed in range(5):
        inner, cross = problem(3, 4, seed)
        grid = [np.array([a, b, 40 - a - b]) / 40 for a, b in itertools.product(range(41), repeat=2) if a + b <= 40]
        values = [w @ inner @ w - 2 * w @ cross for w in grid]
        found = fit_mixture_weights(inner, cross)
        assert found @ inner @ found - 2 * found @ cross <= min(values) + 1e-12


def test_a_mixture_is_found_again():
    inner, _ = problem(5, 9, 0)
    wanted = np.array([0.5, 0, 0.3, 0.2, 0])
    np.testing.assert_allclose(fit_mixture_weights(inner, inner @ wanted), wanted, atol=1e-6)


def test_two_equal_embeddings_share_a_weight():
    inner = np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 1.0]])
    weights = fit_mixture_weights(inner, inner @ np.array([0.7, 0, 0.3]))
    np.testing.assert_allclose([weights[0] + weights[1], weights[2]], [0.7, 0.3], atol=1e-9)
