"""The ridge path: each strength as if fitted by itself, folds kept apart, directions that lose what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from pipeline.training.heads import ridge


def problem(pictures=90, width=12, classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(pictures) % classes)
    centres = random.normal(size=(classes, width))
    rows = centres[labels] + random.normal(size=(pictures, width)) * random.uniform(0.2, 2, width)
    return rows.astype(np.float32), labels, np.arange(pictures) // 7 % 5


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 50), st.sampled_from([2, 5]))
def test_every_strength_of_the_path_is_what_fitting_it_by_itself_gives(seed, width, classes):
    """Up to 50 directions of 72 pictures: with as many directions as pictures float32 is off by more."""
    rows, labels, fold_of = problem(width=width, classes=classes, seed=seed)
    products = ridge.GramMatrices(rows, labels, fold_of, classes)
    found = products.held_out(np.arange(width), ridge.L2_VALUES[:8])
    targets = np.eye(classes)[labels]
    for strength, scores in zip(ridge.L2_VALUES, found, strict=False):
        for fold in range(5):
            own = fold_of == fold
            alone = Ridge(alpha=strength * np.sum(~own)).fit(rows[~own].astype(np.float64), targets[~own])
            np.testing.assert_allclose(scores[own], alone.predict(rows[own]), atol=4e-3)


def test_a_combination_takes_its_blocks_of_the_products():
    rows, labels, fold_of = problem()
    some = np.array([1, 4, 5, 9])
    whole = ridge.GramMatrices(rows, labels, fold_of, 3).held_out(some, [1e-2])
    alone = ridge.GramMatrices(np.ascontiguousarray(rows[:, some]), labels, fold_of, 3).held_out(np.arange(4), [1e-2])
    np.testing.assert_allclose(whole, alone, atol=1e-5)


def test_labels_of_held_out_pictures_do_not_touch_their_scores():
    rows, labels, fold_of = problem()
    wrong = np.where(fold_of == 2, (labels + 1) % 3, labels)
    right, other = (
        ridge.GramMatrices(rows, each, fold_of, 3).held_out(np.arange(12), [1e-2]) for each in (labels, wrong)
    )
    np.testing.assert_allclose(right[:, fold_of == 2], other[:, fold_of == 2], atol=1e-5)
    assert np.abs(right - other)[:, fold_of != 2].max() > 0.05


def test_weights_and_scores_are_the_same_classifier():
    rows, labels, fold_of = problem()
    path = ridge.GramMatrices(rows, labels, fold_of, 3).path(0, np.arange(12))
    weights, bias = path.weights(1e-2)
    np.testing.assert_allclose(rows @ weights + bias, path.scores(rows, [1e-2])[0], atol=1e-5)


@pytest.mark.parametrize("pictures", [90, 20])
def test_all_directions_are_the_standardised_features_turned(pictures):
    features = problem(pictures=pictures, width=30)[0] * 7 + 3
    found = ridge.compute_principal_components(features, 1000)
    plain = (features - features.mean(axis=0)) / features.std(axis=0)
    np.testing.assert_allclose(found.rows @ found.rows.T, plain @ plain.T, atol=2e-2)
    assert found.width == 30 and found.kept == pytest.approx(1)


def test_the_first_directions_hold_the_most_variance():
    features = problem(width=30)[0]
    found = ridge.compute_principal_components(features, 4)
    variance = found.rows.var(axis=0)
    assert found.rows.shape == (90, 4) and np.all(np.diff(variance) < 0)
    assert found.kept == pytest.approx(variance.sum() / 30, rel=1e-3) and found.kept < 0.9


def test_as_many_directions_are_kept_as_the_budget_allows():
    widths, folds = [40, 10, 25], 5
    for budget in (5e4, 3e5, 1e9):
        most = ridge.find_max_components(widths, folds, budget)

        def cost(directions):
            cut = [min(width, directions) for width in widths]
            sides = [sum(c for k, c in enumerate(cut) if number >> k & 1) for number in range(8)]
            return folds * sum(side**3 for side in sides)

        assert cost(most) <= budget and (most == 40 or cost(most + 1) > budget)
    assert most == 40


def test_features_that_never_vary_lose_nothing():
    found = ridge.compute_principal_components(np.ones((10, 4), np.float32), 3)
    assert found.kept == 1 and not found.rows.any()
