"""The linear head: the minimum that SciPy and scikit-learn find, a strength chosen on the folds, exact folding."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from sklearn.linear_model import LogisticRegression

from pipeline.models.heads import Head, softmax
from pipeline.training.heads import logistic_regression
from pipeline.training.heads.logistic_regression import minimize_lbfgs


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

    found, _ = minimize_lbfgs(rosenbrock, np.array([-1.0, 1.0], np.float32), tolerance=1e-12, iterations=300)
    assert np.allclose(found, [1, 1], atol=1e-2)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_head_is_the_one_that_scikit_learn_finds(classes, monkeypatch):
    monkeypatch.setattr(logistic_regression, "TOLERANCE", 1e-7)
    features, labels = problem(classes)
    axes = logistic_regression.PCAWhitening(features)
    objective = logistic_regression.SoftmaxRegression(axes.rows(features), labels, classes, axes.variance)
    objective.fit(1e-3)
    ours = axes.head(*objective.full()).probabilities(features)
    rows = (features - features.mean(axis=0)) / features.std(axis=0) / np.sqrt(features.shape[1])
    theirs = LogisticRegression(C=1 / (1e-3 * len(rows)), tol=1e-8, max_iter=2000).fit(rows, labels)
    assert np.abs(ours - theirs.predict_proba(rows)).max() < 5e-3


def test_the_gradient_is_the_slope_of_the_loss():
    features, labels = problem(4)
    axes = logistic_regression.PCAWhitening(features)
    objective = logistic_regression.SoftmaxRegression(axes.rows(features).astype(np.float32), labels, 4, axes.variance)

    def value(flat):
        weights, bias = flat[:-4].reshape(-1, 4), flat[-4:]
        return logistic_regression.cross_entropy(softmax(objective.rows @ weights + bias), labels) + 5e-4 * np.sum(
            weights**2
        )

    objective.fit(1e-3)
    ours = value(np.concatenate([objective.weights.ravel(), objective.bias]))
    best = scipy_minimize(value, np.zeros(objective.weights.size + 4), options={"maxiter": 60}).fun
    assert ours <= best * 1.02


def test_fewer_pictures_than_features_is_no_trouble():
    features, _ = problem(3, pictures=20, width=60)
    axes = logistic_regression.PCAWhitening(features)
    assert np.isfinite(axes.turn).all() and axes.rows(features).shape[1] <= 20


def folds_of(features: np.ndarray, labels: np.ndarray, count: int = 3) -> list[logistic_regression.FoldFeatures]:
    fold_of = np.arange(len(labels)) // len(set(labels)) % count
    return [
        logistic_regression.FoldFeatures(
            number=number,
            features=features[fold_of != number],
            labels=labels[fold_of != number],
            held_features=features[fold_of == number],
            held_labels=labels[fold_of == number],
        )
        for number in range(count)
    ]


def held_losses(heads, folds) -> list[float]:
    return [
        logistic_regression.cross_entropy(h.probabilities(f.held_features), f.held_labels)
        for h, f in zip(heads, folds, strict=True)
    ]


def test_the_strength_is_one_for_all_folds_and_the_heads_beat_chance():
    folds = folds_of(*problem(4, pictures=240))
    heads, history = logistic_regression.fit(folds, 4)
    chosen = [record for record in history if record["chosen"]]
    assert len({record["l2"] for record in chosen}) == 1 and len(heads) == len(chosen) == 3
    assert np.mean(held_losses(heads, folds)) < 0.8 * np.log(4)
    assert held_losses(heads, folds) == pytest.approx([record["val_loss"] for record in chosen], abs=1e-4)


def noisy(seed: int, classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Few pictures of many classes in wide features: a strong L2 is best, and its probabilities are too timid."""
    random = np.random.default_rng(seed)
    labels = np.arange(480) % classes
    centres = random.normal(size=(classes, 200))
    return (0.35 * centres[labels] + random.normal(size=(480, 200))).astype(np.float32), labels


def test_a_scale_makes_a_strong_l2_s_timid_probabilities_right_and_lets_it_win():
    features, labels = noisy(0)
    folds = folds_of(features, labels)
    heads, history = logistic_regression.fit(folds, 12)
    plain, plain_history = logistic_regression.fit(folds, 12, scale=1.0)
    (strength,) = {record["l2"] for record in history if record["chosen"]}
    (other,) = {record["l2"] for record in plain_history if record["chosen"]}
    assert strength > other, "timid, and a better classifier"
    assert all(record["scale"] > 1.2 for record in history if record["chosen"])
    assert np.mean(held_losses(heads, folds)) < np.mean(held_losses(plain, folds)) - 0.015


def test_no_held_out_prediction_has_a_say_in_its_own_scale():
    features, labels = noisy(1)
    folds = folds_of(features, labels)
    turned = [replace(folds[0], held_labels=(folds[0].held_labels + 1) % 12), *folds[1:]]
    scales = [
        [record["scale"] for record in logistic_regression.fit(some, 12, 1e-3)[1]] for some in (folds, turned)
    ]  # fmt: skip
    assert scales[0][0] == scales[1][0], "the first fold's, from the other two"
    assert scales[0][1] > 1.2 * scales[1][1], "what the first fold's labels say counts for the others"


def test_one_fold_alone_has_a_scale_of_one_and_a_given_scale_is_taken():
    folds = folds_of(*noisy(2))
    assert {record["scale"] for record in logistic_regression.fit(folds[:1], 12)[1]} == {1.0}
    (head,), _ = logistic_regression.fit(folds[:1], 12, 1e-2, 1.0)
    (given,), _ = logistic_regression.fit(folds[:1], 12, 1e-2, 2.0)
    seen = folds[0].held_features[:5]
    squared = head.probabilities(seen) ** 2
    assert given.probabilities(seen) == pytest.approx(squared / squared.sum(axis=1, keepdims=True), abs=1e-3)


def test_few_pictures_that_are_all_told_right_do_not_ask_for_certainty():
    def fitted(pictures: int) -> logistic_regression.FittedHead:
        logits = np.tile(np.array([[1.0, -1.0]], np.float32), (pictures, 1))
        return logistic_regression.FittedHead(head=None, logits=logits, labels=np.zeros(pictures, int), iterations=1)

    assert logistic_regression.fit_scale([fitted(6)]) < 1.8
    assert logistic_regression.fit_scale([fitted(500)]) > 2.5
    assert logistic_regression.fit_scale([fitted(3), fitted(3)]) == logistic_regression.fit_scale([fitted(6)])


def test_a_heads_probabilities_sum_to_one_even_for_huge_logits():
    head = Head(((np.array([[500.0, -500.0]], np.float32), np.zeros(2, np.float32)),))
    assert np.allclose(head.probabilities(np.array([[3.0], [-3.0]], np.float32)), [[1, 0], [0, 1]])


def test_a_feature_that_is_seen_in_the_first_fold_s_own_pictures_alone_does_not_spoil_the_other_folds():
    random = np.random.default_rng(0)
    labels, fold_of = np.arange(210) % 3, np.arange(210) // 3 % 7
    features = 2 * random.normal(size=(3, 10))[labels] + random.normal(size=(210, 10))
    features[:, -1] = 0.5 * (fold_of == 0)
    features = features.astype(np.float32)
    folds = [
        logistic_regression.FoldFeatures(
            number=number, features=features[fold_of != number], labels=labels[fold_of != number],
            held_features=features[fold_of == number], held_labels=labels[fold_of == number],
        )
        for number in range(7)
    ]  # fmt: skip
    heads, _ = logistic_regression.fit(folds, 3)
    held = zip(heads, folds, strict=True)
    assert (
        max(logistic_regression.cross_entropy(head.probabilities(f.held_features), f.held_labels) for head, f in held)
        < 0.5
    )
