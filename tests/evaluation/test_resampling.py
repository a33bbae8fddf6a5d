"""How sure one score is, by drawing its pictures again."""

import numpy as np
import pytest

from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import bootstrap_score, wilson_interval


def accuracy(truth, values):
    return metrics.score("accuracy", truth, values)


def guesses(count):
    truth = np.arange(count) % 2
    values = np.eye(2)[np.where(np.random.default_rng(0).random(count) < 0.8, truth, 1 - truth)]
    return truth, values


def test_an_accuracys_interval_is_about_the_analytic_one_and_narrows_with_pictures():
    truth, values = guesses(900)
    found = bootstrap_score(accuracy, truth, values, np.random.default_rng(0), samples=200)
    known = wilson_interval(int(accuracy(truth, values) * 900), 900)
    assert found.low == pytest.approx(known.low, abs=0.01) and found.high == pytest.approx(known.high, abs=0.01)
    few = bootstrap_score(accuracy, *guesses(100), np.random.default_rng(0), samples=200)
    assert few.high - few.low > 2 * (found.high - found.low)


def test_a_rare_class_never_goes_missing():
    truth = np.array([0] * 50 + [1])
    values = np.tile([0.9, 0.1], (51, 1))

    def auc(classes, probabilities):
        return metrics.score("auc", classes, probabilities)  # raises where a class is missing

    assert bootstrap_score(auc, truth, values, np.random.default_rng(0), samples=200).estimate == 0.5


def test_draws_that_are_all_alike_say_nothing_of_the_spread():
    truth, right = np.arange(20) % 2, np.eye(2)[np.arange(20) % 2]
    assert not bootstrap_score(accuracy, truth, right, np.random.default_rng(0), samples=200).is_bounded


def test_draws_without_a_value_are_left_out():
    truth, values = guesses(60)
    random = np.random.default_rng(0)

    def sometimes(classes, probabilities):
        return accuracy(classes, probabilities) if random.random() < 0.9 else np.nan

    assert bootstrap_score(sometimes, truth, values, np.random.default_rng(1), samples=200).is_bounded
