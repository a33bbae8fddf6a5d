"""Calibration: it finds what was bent, and leaves alone what was not."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pipeline.ensemble import calibration, log_linear, methods
from pipeline.ensemble.log_linear import softmax
from pipeline.evaluation.intervals import estimate_over_folds
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.nested_cv import ChainedProcedure, FunctionProcedure, MemberPredictions, OOFPredictions
from tests.ensemble.test_methods import drawn, held_of, noisy


def gain_of(held: OOFPredictions, step) -> list[float]:
    """What a step gains on each fold that it has not seen."""
    first = FunctionProcedure(held, "the run", methods.fit_best_single)
    after = held.by_fold(ChainedProcedure(first, "step", step).out_of(held.folds))
    return list(np.subtract(after, held.by_fold(first.out_of(held.folds))) * (1 if held.higher else -1))


@pytest.mark.parametrize("step", ["temperature", "vector scaling", "clipping"])
def test_what_is_calibrated_already_is_not_changed_beyond_noise(step):
    truth, labels = drawn(np.random.default_rng(3), 2000, 8)
    held = held_of([truth], labels, "log_loss")
    gain = gain_of(held, calibration.CORRECTIONS[step])
    assert estimate_over_folds(gain, 0.2).low <= 0 and abs(np.mean(gain)) < 0.005
    changed = calibration.CORRECTIONS[step](held).predict(held.part)
    assert np.abs(changed - truth).mean() < 0.01


def test_temperature_undoes_what_was_sharpened_and_the_gain_is_beyond_noise():
    truth, labels = drawn(np.random.default_rng(1), 2000, 8)
    held = held_of([softmax(2 * np.log(truth))], labels, "log_loss")
    fitted = calibration.fit_temperature(held)
    assert fitted.record()["weights"][0] == pytest.approx(0.5, rel=0.07)
    assert estimate_over_folds(gain_of(held, calibration.fit_temperature), 0.2).low > 0


def test_predictions_that_are_worth_nothing_are_flattened_not_turned_round():
    random = np.random.default_rng(8)
    held = held_of([random.dirichlet(np.ones(4), 400)], random.integers(0, 4, 400), "log_loss")
    values = calibration.fit_temperature(held).predict(held.part)
    assert values.argmax(axis=1).tolist() == held.part.predictions[0].argmax(axis=1).tolist()
    assert held.score(values) < np.log(4) + 0.01


def test_clipping_pays_where_a_run_is_certain_and_wrong():
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 1000)
    sure = np.where(random.random(1000) < 0.03, 1 - labels, labels)
    held = held_of([np.clip(np.eye(2)[sure], 1e-7, 1 - 1e-7)], labels, "binary_log_loss")
    fitted = calibration.fit_clipping(held)
    assert fitted.least == pytest.approx(0.03, rel=0.4)
    assert estimate_over_folds(gain_of(held, calibration.fit_clipping), 0.2).low > 0
    assert np.allclose(fitted.predict(held.part).sum(axis=1), 1)


def test_class_priors_are_found_where_shares_have_shifted():
    random = np.random.default_rng(5)
    truth, labels = drawn(random, 3000, 4, sharpness=1.5)
    shifted = truth * np.array([6.0, 1, 1, 0.3])
    held = held_of([shifted / shifted.sum(axis=1, keepdims=True)], labels, "micro_f1")
    assert estimate_over_folds(gain_of(held, calibration.fit_class_priors), 0.2).low > 0
    told = calibration.fit_class_priors(held).record()
    assert int(np.argmin(told["bias"])) == 0 and int(np.argmax(told["bias"])) == 3
    assert calibration.format_calibration(told, ["a", "b", "c", "d"]).split()[0] in ("a", "d")


def test_newton_s_weights_are_scipy_s():
    random = np.random.default_rng(9)
    truth, labels = drawn(random, 800, 5)
    held = held_of([noisy(random, truth, 1.0), noisy(random, truth, 2.0)], labels, "log_loss")
    values = log_linear.compute_logs(held.part.predictions)

    def loss(weights: np.ndarray) -> float:
        chosen = softmax(np.tensordot(weights, values, 1))[np.arange(800), labels]
        return float(-np.mean(np.log(chosen)))

    found = log_linear.fit_weights(values, labels)
    known = minimize(loss, np.full(2, 0.5), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    assert found.weights == pytest.approx(known.x, abs=1e-4) and found.loss == pytest.approx(known.fun, abs=1e-7)


def test_every_metric_has_its_steps():
    assert METRICS["auc"].corrections == () and set(METRICS["log_loss"].corrections) >= {"temperature", "clipping"}
    assert all(set(metric.corrections) <= set(calibration.CORRECTIONS) for metric in METRICS.values())
    part = MemberPredictions(np.array([[[0.2, 0.8], [1.0, 0.0]]]))
    assert calibration.ProbabilityClipping(1e-3).predict(part)[1, 1] > 0
