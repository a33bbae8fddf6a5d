"""Gains between predictions of the same pictures: what a fold can tell apart, and McNemar's word beside it."""

import numpy as np
import pytest

from pipeline.evaluation.intervals import estimate_fold_difference, estimate_fold_gain, estimate_picture_difference
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions

PICTURES = 40
"""In a fold."""


def held_of(folds: int, metric: str = "accuracy") -> OOFPredictions:
    count = folds * PICTURES
    part = MemberPredictions(np.zeros((0, count, 2)))
    return OOFPredictions(part=part, labels=np.arange(count) % 2, fold_of=np.arange(count) // PICTURES, metric=metric)


def right_in(held: OOFPredictions, rows: np.ndarray) -> np.ndarray:
    """Predictions that are right in these rows, (pictures,) bool."""
    return np.eye(2)[np.where(rows, held.labels, 1 - held.labels)] * 0.8 + 0.1


def moved(held: OOFPredictions, gained: int, lost: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Before and after: on each fold so many pictures are right only after, and so many only before."""
    place = np.arange(len(held.labels)) % PICTURES
    return right_in(held, place >= gained), right_in(held, (place < gained + 10) | (place >= gained + 10 + lost))


@pytest.mark.parametrize("metric", ["accuracy", "micro_f1"])
def test_one_picture_gained_on_each_of_five_folds_is_within_noise_and_two_are_beyond(metric):
    held = held_of(5, metric)
    assert estimate_fold_gain(held, *moved(held, 1)).within_noise
    assert estimate_fold_gain(held, *moved(held, 2)).is_positive


def test_on_two_folds_that_move_alike_fifteen_pictures_each_are_within_noise_and_sixteen_beyond():
    held = held_of(2)
    assert estimate_fold_gain(held, *moved(held, 15)).within_noise
    assert estimate_fold_gain(held, *moved(held, 16)).is_positive


def test_folds_that_agree_are_overruled_where_as_many_pictures_were_lost_as_chance_gives():
    held = held_of(5)
    found = estimate_fold_gain(held, *moved(held, 6, lost=4))
    assert found.low > 0 and found.p_value == pytest.approx(0.2026, abs=1e-4) and found.within_noise


def test_an_interval_that_holds_zero_is_noise_though_mcnemar_finds_a_difference():
    held = held_of(5)
    gained = np.isin(held.fold_of, (0,)) & (np.arange(len(held.labels)) % PICTURES < 12)
    found = estimate_fold_gain(held, right_in(held, ~gained), right_in(held, held.labels >= 0))
    assert found.p_value < 0.001 and found.within_noise


def test_a_gain_is_above_zero_where_a_loss_falls_and_its_difference_below():
    held = held_of(5, "log_loss")
    random = np.random.default_rng(0)
    before, after = (right_in(held, random.random(len(held.labels)) < sure) for sure in (0.6, 0.95))
    gain, difference = estimate_fold_gain(held, before, after), estimate_fold_difference(held, before, after)
    assert gain.is_positive and difference.is_negative and gain == -difference and gain.p_value is None


def test_an_area_under_the_curve_that_moves_by_one_pair_on_every_fold_is_within_noise():
    held = held_of(5, "auc")
    place = np.arange(len(held.labels)) % PICTURES
    scores = np.where(held.labels == 1, 0.5 + place / 100, 0.4 - place / 1000)
    swapped = np.where(place == 1, 0.3999999, np.where(place == 0, 0.41, scores))
    before, after = (np.stack([1 - one, one], axis=1) for one in (swapped, scores))
    found = estimate_fold_gain(held, before, after)
    assert found.estimate == pytest.approx(1 / 400) and found.within_noise


def test_of_one_fold_two_pictures_that_a_class_gained_are_no_proof_though_every_draw_gives_the_same():
    truth = np.array([0] * 30 + [1] * 2)
    held = OOFPredictions(
        part=MemberPredictions(np.zeros((0, 32, 2))), labels=truth, fold_of=np.zeros(32, int), metric="accuracy"
    )
    found = estimate_picture_difference(held, right_in(held, truth == 0), right_in(held, truth >= 0))
    assert found.estimate == pytest.approx(2 / 32) and found.within_noise
