"""Combinations of runs: who gets weight, who gets none, and that weights are the best there are."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipeline.ensemble import log_linear, methods
from pipeline.ensemble.log_linear import LogLinear, softmax
from pipeline.ensemble.methods import WeightedAverage
from pipeline.evaluation import metrics
from pipeline.evaluation.nested_cv import FunctionProcedure, MemberPredictions, OOFPredictions

METRICS = ("auc", "accuracy")


def drawn(random: np.random.Generator, pictures: int, classes: int, sharpness: float = 3.0):
    """Probabilities, and labels that come up as often as these say."""
    truth = softmax(sharpness * random.normal(size=(pictures, classes)))
    labels = (truth.cumsum(axis=1) > random.random((pictures, 1))).argmax(axis=1)
    return truth, labels


def noisy(random: np.random.Generator, truth: np.ndarray, noise: float) -> np.ndarray:
    return softmax(np.log(truth) + noise * random.normal(size=truth.shape))


def held_of(members: list[np.ndarray], labels: np.ndarray, metric: str) -> OOFPredictions:
    part = MemberPredictions(np.stack(members).astype(np.float32))
    return OOFPredictions(part=part, labels=labels, fold_of=np.arange(len(labels)) % 5, metric=metric)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
@pytest.mark.parametrize(
    "name", ["best single", "weights", "geometric weights", "signed weights", "stacked linear", "greedy selection"]
)
def test_a_random_run_beside_a_good_one_gets_no_weight(name, metric):
    random = np.random.default_rng(2)
    truth, labels = drawn(random, 1500, 6)
    held = held_of([truth, random.dirichlet(np.ones(6), 1500)], labels, metric)
    weights = methods.METHODS[name](held).record()["weights"]
    assert weights[1] == 0 and weights[0] == pytest.approx(1, abs=0.1)


def test_what_a_random_run_seems_to_add_by_chance_is_rarely_believed():
    kept = 0
    for seed in range(12):
        random = np.random.default_rng(seed)
        truth, labels = drawn(random, 300, 4)
        held = held_of([truth, *random.dirichlet(np.ones(4), (2, 300))], labels, "log_loss")
        kept += int(np.count_nonzero(methods.fit_weighted_mean(held).weights[1:]))
        kept += int(np.count_nonzero(methods.fit_geometric_weights(held).weights[1:]))
    assert kept <= 5, "of 48 weights a third or so fits some noise"


@pytest.mark.parametrize(
    "name",
    ["mean", "geometric mean", "weights", "geometric weights", "signed weights", "greedy selection", "stacked linear"],
)
def test_two_good_runs_together_are_better_than_either_on_folds_that_were_not_seen(name):
    random = np.random.default_rng(1)
    truth, labels = drawn(random, 1500, 6)
    held = held_of([noisy(random, truth, 1.5), noisy(random, truth, 1.5)], labels, "log_loss")
    alone = min(held.score(values) for values in held.part.predictions)
    assert held.score(FunctionProcedure(held, name, methods.METHODS[name]).out_of(held.folds)) < alone - 0.05


def test_a_run_that_tells_another_ones_mistake_is_worth_something_with_a_negative_weight_only():
    random = np.random.default_rng(3)
    truth, labels = drawn(random, 1500, 6)
    mistake = 1.5 * random.normal(size=truth.shape)
    held = held_of([softmax(np.log(truth) + mistake), softmax(mistake)], labels, "log_loss")
    signed = FunctionProcedure(held, "signed", methods.METHODS["signed weights"]).out_of(held.folds)
    weights = methods.METHODS["signed weights"](held).record()["weights"]
    assert weights[0] > 0.8 and weights[1] < -0.8
    assert methods.METHODS["geometric weights"](held).record()["weights"][1] == 0
    assert held.score(signed) < held.score(truth) + 0.01 < held.score(held.part.predictions[0]) - 0.3


@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_weights_on_logarithms_are_where_no_step_lowers_the_loss(l2):
    random = np.random.default_rng(4)
    truth, labels = drawn(random, 400, 5)
    values = log_linear.compute_logs(np.stack([noisy(random, truth, noise) for noise in (0.5, 1.0, 2.0)]))
    found = log_linear.fit_weights(values, labels, l2=l2)

    def loss(weights: np.ndarray) -> float:
        chosen = softmax(np.tensordot(weights, values, 1))[np.arange(400), labels]
        return float(-np.log(chosen).mean() + l2 / 2 * weights @ weights)

    assert found.loss == pytest.approx(loss(found.weights), abs=1e-6)
    for step in 0.02 * random.normal(size=(20, 3)):
        up, down = loss(found.weights + step), loss(found.weights - step)
        assert min(up, down) > found.loss
        assert up + down - 2 * found.loss == pytest.approx(step @ found.hessian @ step, rel=0.03)


@given(seed=st.integers(0, 10_000), noise=st.floats(0.2, 3))
@settings(max_examples=25, deadline=None)
def test_weights_are_the_best_of_a_grid(seed, noise):
    random = np.random.default_rng(seed)
    truth, labels = drawn(random, 200, 3)
    held = held_of([noisy(random, truth, 1.0), noisy(random, truth, noise)], labels, "log_loss")

    def loss(weight: float) -> float:
        return held.score(WeightedAverage(np.array([weight, 1 - weight])).predict(held.part))

    found = methods.fit_weighted_mean(held).weights
    assert found.sum() == pytest.approx(1) and (found >= 0).all()
    assert loss(found[0]) <= min(loss(weight) for weight in np.linspace(0, 1, 41)) + 1 / 200 + 1e-6


def test_ranks_do_not_care_for_a_member_s_scale():
    random = np.random.default_rng(5)
    truth, labels = drawn(random, 400, 2)
    other = noisy(random, truth, 1.0)
    squeezed = 0.25 + other / 2
    one, two = (held_of([truth, each], labels, "auc") for each in (other, squeezed))
    fitted = [methods.fit_rank_mean(held).predict(held.part) for held in (one, two)]
    assert np.allclose(fitted[0], fitted[1], atol=1e-6) and np.allclose(fitted[0].sum(axis=1), 1)
    assert one.score(fitted[0]) > 0.9
    alone = methods.fit_rank_mean(one).predict(one.part.take(np.array([7])))
    assert np.allclose(alone[0], fitted[0][7]), (
        "a rank depends on the run, not on which pictures are predicted together"
    )


def test_greedy_selection_follows_the_metric():
    random = np.random.default_rng(0)
    truth, labels = drawn(random, 600, 2)
    ordered = np.stack([0.4 - 0.02 * labels, 0.6 + 0.02 * labels], axis=1)
    chosen = [methods.METHODS["greedy selection"](held_of([truth, ordered], labels, metric)) for metric in METRICS]
    assert chosen[0].record()["weights"] == [0.0, 1.0], "all in the right order, though half of them are beyond a half"
    assert chosen[1].record()["weights"][0] > 0.2


def test_the_area_under_the_curve_is_scikit_learn_s():
    random = np.random.default_rng(3)
    truth, values = random.random(300) < 0.3, random.integers(0, 20, 300) / 20
    assert metrics.compute_auc(truth, values) == pytest.approx(roc_auc_score(truth, values), rel=1e-12)


def test_geometric_weights_are_a_temperature_for_a_single_member():
    random = np.random.default_rng(4)
    truth, labels = drawn(random, 4000, 5)
    sharp = softmax(2.5 * np.log(truth))
    fitted = methods.fit_geometric_weights(held_of([sharp], labels, "log_loss"))
    assert isinstance(fitted, LogLinear) and fitted.weights[0] == pytest.approx(1 / 2.5, rel=0.05)


def test_weights_of_many_classes_and_pictures_take_a_moment():
    random = np.random.default_rng(6)
    truth, labels = drawn(random, 4800, 120)
    held = held_of([noisy(random, truth, 1.0) for _ in range(6)], labels, "log_loss")
    started = time.process_time()
    assert methods.fit_weighted_mean(held).weights.min() > 0
    assert time.process_time() - started < 5
