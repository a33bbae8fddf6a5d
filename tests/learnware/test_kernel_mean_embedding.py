"""The reduced embedding: its gradient, its descent, and how near it comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.learnware import kernel_mean_embedding
from tests.learnware.discrepancy import mmd


def rows_of(count: int, width: int, seed: int, centre: float = 0) -> np.ndarray:
    return kernel_mean_embedding.normalize_features(np.random.default_rng(seed).normal(centre, 1, (count, width)))


def objective(points, weights, rows, gamma):
    return kernel_mean_embedding.compute_objective(
        points, weights, kernel_mean_embedding.rbf_kernel(points, rows, gamma), gamma
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 8), st.floats(0.1, 3), st.integers(0, 10**6))
def test_the_gradient_is_that_of_finite_differences(count, width, pictures, gamma, seed):
    random = np.random.default_rng(seed)
    points, rows = random.normal(size=(count, width)), random.normal(size=(pictures, width))
    weights = random.dirichlet(np.ones(count))
    gradient = kernel_mean_embedding.compute_gradient(
        points, weights, rows, kernel_mean_embedding.rbf_kernel(points, rows, gamma), gamma
    )
    step = 1e-5
    for place in np.ndindex(points.shape):
        moved = np.zeros_like(points)
        moved[place] = step
        ahead = objective(points + moved, weights, rows, gamma)
        behind = objective(points - moved, weights, rows, gamma)
        assert gradient[place] == pytest.approx((ahead - behind) / (2 * step), abs=1e-7)


def test_the_gradient_is_the_formula_of_the_paper():
    random = np.random.default_rng(5)
    z, x, beta, gamma = random.normal(size=(3, 2)), random.normal(size=(4, 2)), np.array([0.5, 0.2, 0.3]), 0.6

    def k(a, b):
        return np.exp(-gamma * ((a - b) ** 2).sum())

    expected = [
        -4 * gamma * beta[i] * (
            sum(beta[j] * k(z[i], z[j]) * (z[i] - z[j]) for j in range(3))
            - sum(k(z[i], x[n]) * (z[i] - x[n]) for n in range(4)) / 4
        )
        for i in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(
        kernel_mean_embedding.compute_gradient(z, beta, x, kernel_mean_embedding.rbf_kernel(z, x, gamma), gamma),
        expected,
        atol=1e-12,
    )


def test_more_rounds_never_come_to_a_larger_objective_and_the_first_gain():
    rows = rows_of(300, 12, 0)
    values = []
    for rounds in range(6):
        found = kernel_mean_embedding.fit_embedding(rows, 1.0, 8, 0, rounds)
        values.append(objective(found.points, found.weights, rows, 1.0))
    assert (np.diff(values) <= 1e-7).all()
    assert values[-1] < values[0] - 1e-4


def test_a_step_that_is_too_long_is_halved_until_the_objective_falls():
    rows = rows_of(50, 4, 1)
    points, weights = rows[:3].copy(), np.array([0.2, 0.3, 0.5])
    before = objective(points, weights, rows, 1.0)
    seen = kernel_mean_embedding.rbf_kernel(points, rows, 1.0)
    moved, _, step = kernel_mean_embedding._descend(points, weights, rows, seen, 1.0, 1e4)
    assert objective(moved, weights, rows, 1.0) < before
    assert step < 1e4


def test_few_points_come_nearer_than_as_many_pictures():
    rows = rows_of(400, 6, 2)
    found = kernel_mean_embedding.fit_embedding(rows, 1.0, 10, 0)
    every, own = np.full(400, 1 / 400), kernel_mean_embedding.rbf_kernel(rows, rows, 1.0).mean()
    drawn = [mmd(rows[start : start + 10], np.full(10, 0.1), rows, every, 1.0) for start in range(0, 400, 10)]
    distance = mmd(found.points, found.weights, rows, every, 1.0)
    assert distance < min(drawn) / 2
    assert distance == pytest.approx(objective(found.points, found.weights, rows, 1.0) + own, abs=1e-5)


def test_weights_are_on_the_simplex_and_points_are_not_more_than_pictures():
    found = kernel_mean_embedding.fit_embedding(rows_of(7, 3, 3), 1.0, 50, 0)
    assert len(found.points) == 7
    assert (found.weights >= 0).all()
    assert found.weights.sum() == pytest.approx(1, abs=1e-6)


def test_pictures_that_are_all_equal_make_no_trouble():
    rows = np.repeat(rows_of(1, 3, 4), 20, axis=0)
    found = kernel_mean_embedding.fit_embedding(rows, 1.0, 4, 0)
    assert mmd(found.points, found.weights, rows[:1], np.ones(1), 1.0) == pytest.approx(0, abs=1e-6)


def test_the_same_seed_gives_the_same_embedding():
    first, second = (kernel_mean_embedding.fit_embedding(rows_of(90, 5, 5), 1.0, 6, 3) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.weights, second.weights)
