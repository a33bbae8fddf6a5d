"""Precision, recall and F1 of each class, with intervals computed by hand."""

import numpy as np
import pytest

from pipeline.evaluation.intervals import wilson_interval
from pipeline.evaluation.per_class import score_classes

FIRST, SECOND, THIRD = score_classes(["a", "b", "c"], np.array([[6, 2, 0], [1, 3, 0], [0, 1, 0]]))


def test_precision_is_of_the_predictions_and_recall_of_the_pictures():
    assert FIRST.precision.estimate == 6 / 7 and FIRST.recall.estimate == 6 / 8 and FIRST.pictures == 8


def test_f1_is_the_harmonic_mean_of_both():
    assert FIRST.f1.estimate == pytest.approx(2 * (6 / 7) * (6 / 8) / (6 / 7 + 6 / 8))


def test_recall_has_wilsons_interval():
    assert (FIRST.recall.low, FIRST.recall.high) == pytest.approx((0.4093, 0.9285), abs=1e-4)


def test_the_interval_of_f1_has_the_ends_of_jaccards():
    jaccard = wilson_interval(3, 3 + 1 + 3)
    assert SECOND.f1.low == pytest.approx(2 * jaccard.low / (1 + jaccard.low))
    assert SECOND.f1.high == pytest.approx(2 * jaccard.high / (1 + jaccard.high))


def test_a_class_that_is_never_predicted_has_no_precision():
    assert THIRD.precision is None and THIRD.recall.estimate == 0 and THIRD.f1.estimate == 0
