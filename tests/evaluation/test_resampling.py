"""How sure one score is, by drawing its pictures again."""

import numpy as np
import pytest

from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import bootstrap_difference, bootstrap_score, wilson_interval


def accuracy(truth, values):
    return metrics.score("accuracy", truth, values)


def log_loss(truth, probabilities):
    return metrics.score("log_loss", truth, probabilities)


def probabilities(certainty, truth):
    first = np.where(truth == 0, certainty, 1 - certainty)
    return np.stack([first, 1 - first], axis=1)


def guesses(count):
    truth = np.arange(count) % 2
    values = np.eye(2)[np.where(np.random.default_rng(0).random(count) < 0.8, truth, 1 - truth)]
    return truth, values


def test_an_accuracys_interval_is_about_the_analytic_one_and_narrows_with_pictures():
    truth, values = guesses(900)
    found = bootstrap_score(accuracy, truth, values, np.random.default_rng(0))
    known = wilson_interval(int(accuracy(truth, values) * 900), 900)
    assert found.low == pytest.approx(known.low, abs=0.01) and found.high == pytest.approx(known.high, abs=0.01)
    few = bootstrap_score(accuracy, *guesses(100), np.random.default_rng(0))
    assert few.high - few.low > 2 * (found.high - found.low)


def test_a_rare_class_never_goes_missing():
    truth = np.array([0] * 50 + [1])
    values = np.tile([0.9, 0.1], (51, 1))

    def auc(classes, probabilities):
        return metrics.score("auc", classes, probabilities)  # raises where a class is missing

    assert bootstrap_score(auc, truth, values, np.random.default_rng(0)).estimate == 0.5


def test_a_bootstrap_finds_a_real_difference_flips_with_the_sides_and_calls_none_noise():
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 120)
    weak, strong = (probabilities(random.uniform(low, low + 0.2, 120), truth) for low in (0.5, 0.75))
    there = bootstrap_difference(log_loss, truth, weak, strong, np.random.default_rng(0), samples=100)
    back = bootstrap_difference(log_loss, truth, strong, weak, np.random.default_rng(0), samples=100)
    assert there.high < 0 and there.low <= there.estimate <= there.high
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))
    assert bootstrap_difference(log_loss, truth, weak, weak, np.random.default_rng(0), samples=20).holds_zero


def test_draws_that_are_all_alike_say_nothing_of_the_spread():
    truth, right = np.arange(20) % 2, np.eye(2)[np.arange(20) % 2]
    assert not bootstrap_score(accuracy, truth, right, np.random.default_rng(0)).is_bounded
    assert bootstrap_difference(accuracy, truth, 1 - right, right, np.random.default_rng(0)).within_noise


def test_draws_without_a_value_are_left_out():
    truth, values = guesses(60)
    random = np.random.default_rng(0)

    def sometimes(classes, probabilities):
        return accuracy(classes, probabilities) if random.random() < 0.9 else np.nan

    assert bootstrap_score(sometimes, truth, values, np.random.default_rng(1)).is_bounded
