"""The kernel, the distance of weighted points, and the median rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StarshiftError
from pipeline.learnware import kernel_mean_embedding
from pipeline.learnware.kernel_mean_embedding import compute_mean_kernel, compute_nearness, evaluate_embedding
from pipeline.learnware.types import Embedding
from tests.learnware.discrepancy import mmd


def weighted(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    weights = random.random(count)
    return random.normal(size=(count, width)), weights / weights.sum()


def k(x: np.ndarray, y: np.ndarray, gamma: float) -> float:
    return float(np.exp(-gamma * sum((a - b) ** 2 for a, b in zip(x, y, strict=True))))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.floats(0.05, 3), st.integers(0, 10**6))
def test_the_distance_of_weighted_points_is_the_explicit_double_sum(one, other, width, gamma, seed):
    (x, a), (y, b) = weighted(one, width, seed), weighted(other, width, seed + 1)
    expected = sum(a[i] * a[j] * k(x[i], x[j], gamma) for i in range(one) for j in range(one))
    expected -= 2 * sum(a[i] * b[j] * k(x[i], y[j], gamma) for i in range(one) for j in range(other))
    expected += sum(b[i] * b[j] * k(y[i], y[j], gamma) for i in range(other) for j in range(other))
    assert mmd(x, a, y, b, gamma) == pytest.approx(expected, abs=1e-12)
    assert mmd(y, b, x, a, gamma) == pytest.approx(expected, abs=1e-12)
    assert expected > -1e-12


def test_a_distribution_is_at_no_distance_from_itself_in_other_points_and_weights():
    points, weights = weighted(5, 3, 0)
    doubled, halves = np.concatenate([points, points]), np.concatenate([weights, weights]) / 2
    assert mmd(points, weights, doubled, halves, 0.7) == pytest.approx(0, abs=1e-12)


def test_the_estimate_from_a_sample_is_unbiased():
    random = np.random.default_rng(0)
    population = random.normal(size=(400, 3)).astype(np.float32)
    embedding = Embedding(points=population, weights=np.full(400, 1 / 400, np.float32), pictures=400)
    own = float(kernel_mean_embedding.rbf_kernel(population, population, 0.5).mean())
    estimates = []
    for _ in range(400):
        drawn = population[random.integers(0, 400, 5)]
        estimates.append(compute_mean_kernel(drawn, 0.5) - 2 * evaluate_embedding(drawn, embedding, 0.5).mean() + own)
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates)) < 4 * error
    assert 8 * error < 0.1  # the biased estimate would be off by (1 - own) / 5, more than 0.1
    assert (1 - own) / 5 > 0.1


def test_a_picture_is_nearest_to_the_class_whose_embedding_is():
    random = np.random.default_rng(1)
    classes = [
        Embedding(points=random.normal(size=(n, 4)).astype(np.float32), weights=np.full(n, 1 / n), pictures=9)
        for n in (1, 3, 2)
    ]
    rows = random.normal(size=(6, 4)).astype(np.float32)
    one = np.ones(1)
    expected = [max((1 - mmd(row[None], one, c.points, c.weights, 0.4)) / 2 for c in classes) for row in rows]
    np.testing.assert_allclose(compute_nearness(rows, classes, 0.4), expected, atol=1e-6)


def test_gamma_puts_two_pictures_at_the_median_distance_one_width_apart():
    features = np.random.default_rng(2).normal(size=(60, 8))
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    pairs = [((rows[i] - rows[j]) ** 2).sum() for i in range(60) for j in range(i)]
    assert kernel_mean_embedding.estimate_gamma(features * 7, 0) == pytest.approx(1 / (2 * np.median(pairs)), rel=1e-5)


def test_gamma_of_equal_pictures_is_refused():
    with pytest.raises(StarshiftError, match="pictures that differ"):
        kernel_mean_embedding.estimate_gamma(np.ones((4, 3)), 0)


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(StarshiftError, match="no features"):
        kernel_mean_embedding.normalize_features(np.array([[1.0, np.nan]]))


def test_where_most_pictures_are_alike_gamma_is_that_of_those_that_differ():
    features = np.random.default_rng(0).normal(size=(3, 40))
    found = kernel_mean_embedding.estimate_gamma(np.concatenate([np.tile(features[:1], (9, 1)), features[1:]]), 0)
    assert 0.1 < found < 10
