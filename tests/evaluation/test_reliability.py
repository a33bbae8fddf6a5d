"""Calibration: the bins of the reliability diagram, and an expected calibration error computed by hand."""

import numpy as np
import pytest

from pipeline.evaluation.reliability import compute_ece, compute_reliability

TRUTH = np.array([0, 1, 0, 0])
PROBABILITIES = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
"""Two pictures at 90 % of which one is right, two at 60 % which both are."""


def test_the_ece_is_the_mean_gap_over_pictures():
    assert compute_ece(compute_reliability(TRUTH, PROBABILITIES)) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)


def test_a_bin_has_its_mean_confidence_and_its_accuracy():
    low, high = compute_reliability(TRUTH, PROBABILITIES)
    assert (low.pictures, low.confidence, low.accuracy.estimate) == (2, pytest.approx(0.6), 1.0)
    assert (high.pictures, high.confidence, high.accuracy.estimate) == (2, pytest.approx(0.9), 0.5)


def test_the_accuracy_of_a_bin_has_wilsons_interval():
    assert compute_reliability(TRUTH, PROBABILITIES)[1].accuracy.low == pytest.approx(0.0945, abs=1e-4)


def test_a_certain_prediction_lies_in_the_last_bin_and_the_edge_of_a_bin_in_the_lower_one():
    certain, edge = compute_reliability(np.array([0, 0]), np.array([[1.0, 0.0], [0.8, 0.2]]), 5)[::-1]
    assert (certain.low, certain.high) == (0.8, 1.0) and (edge.low, edge.high) == (0.6, 0.8)


def test_perfect_calibration_has_no_error():
    truth = np.array([0, 0, 0, 1])
    assert compute_ece(compute_reliability(truth, np.tile([0.75, 0.25], (4, 1)))) == 0
