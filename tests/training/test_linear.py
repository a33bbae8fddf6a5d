"""The linear head: the minimum that SciPy and scikit-learn find, a strength chosen on the folds, exact folding."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from sklearn.linear_model import LogisticRegression

from pipeline.models.heads import Head, softmax
from pipeline.training import linear
from pipeline.training.lbfgs import minimize


def problem(classes, pictures=200, width=12, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    centres = random.normal(size=(classes, width))
    return (centres[labels] + random.normal(size=(pictures, width)) * 1.5).astype(np.float32), labels


def test_lbfgs_finds_the_minimum_that_scipy_finds():
    def rosenbrock(x):
        value = float(100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)
        slope = [-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)]
        return value, np.array(slope, np.float32)

    found, _ = minimize(rosenbrock, np.array([-1.0, 1.0], np.float32), tolerance=1e-12, iterations=300)
    assert np.allclose(found, [1, 1], atol=1e-2)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_head_is_the_one_that_scikit_learn_finds(classes, monkeypatch):
    monkeypatch.setattr(linear, "TOLERANCE", 1e-7)
    features, labels = problem(classes)
    axes = linear.Axes(features)
    objective = linear.Softmax(axes.rows(features), labels, classes, axes.variance)
    objective.fit(1e-3)
    ours = axes.head(*objective.full()).probabilities(features)
    rows = (features - features.mean(axis=0)) / features.std(axis=0) / np.sqrt(features.shape[1])
    theirs = LogisticRegression(C=1 / (1e-3 * len(rows)), tol=1e-8, max_iter=2000).fit(rows, labels)
    assert np.abs(ours - theirs.predict_proba(rows)).max() < 5e-3


def test_the_gradient_is_the_slope_of_the_loss():
    features, labels = problem(4)
    axes = linear.Axes(features)
    objective = linear.Softmax(axes.rows(features).astype(np.float32), labels, 4, axes.variance)

    def value(flat):
        weights, bias = flat[:-4].reshape(-1, 4), flat[-4:]
        return linear.cross_entropy(softmax(objective.rows @ weights + bias), labels) + 5e-4 * np.sum(weights**2)

    objective.fit(1e-3)
    ours = value(np.concatenate([objective.weights.ravel(), objective.bias]))
    best = scipy_minimize(value, np.zeros(objective.weights.size + 4), options={"maxiter": 60}).fun
    assert ours <= best * 1.02


def test_fewer_pictures_than_features_is_no_trouble():
    features, _ = problem(3, pictures=20, width=60)
    axes = linear.Axes(features)
    assert np.isfinite(axes.turn).all() and axes.rows(features).shape[1] <= 20


def test_the_strength_is_one_for_all_folds_and_the_heads_beat_chance():
    features, labels = problem(4, pictures=240)
    fold_of = np.arange(240) // 4 % 3
    folds = [
        linear.Fold(
            number=number,
            features=features[fold_of != number],
            labels=labels[fold_of != number],
            held_features=features[fold_of == number],
            held_labels=labels[fold_of == number],
        )
        for number in range(3)
    ]
    heads, history = linear.fit(folds, 4)
    assert len({record["strength"] for record in history if record["chosen"]}) == 1 and len(heads) == 3
    held = [
        linear.cross_entropy(h.probabilities(f.held_features), f.held_labels) for h, f in zip(heads, folds, strict=True)
    ]
    assert np.mean(held) < 0.8 * np.log(4)


def test_a_heads_probabilities_sum_to_one_even_for_huge_logits():
    head = Head(((np.array([[500.0, -500.0]], np.float32), np.zeros(2, np.float32)),))
    assert np.allclose(head.probabilities(np.array([[3.0], [-3.0]], np.float32)), [[1, 0], [0, 1]])
