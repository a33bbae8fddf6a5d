"""Gains between predictions of the same pictures: what the pictures can tell apart."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import estimate_difference, estimate_gain, estimate_over_pictures, estimate_score
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
    assert estimate_gain(held, *moved(held, 1)).within_noise
    assert estimate_gain(held, *moved(held, 2)).is_positive


def test_of_the_pictures_that_move_chance_allows_about_as_many_losses_as_gains():
    held = held_of(5)
    found = estimate_gain(held, *moved(held, 6, lost=4))
    assert found.p_value == pytest.approx(0.2026, abs=1e-4) and found.within_noise
    assert estimate_gain(held, *moved(held, 8, lost=3)).is_positive


def test_a_gain_on_one_fold_alone_counts_by_its_pictures():
    held = held_of(5)
    gained = np.isin(held.fold_of, (0,)) & (np.arange(len(held.labels)) % PICTURES < 12)
    found = estimate_gain(held, right_in(held, ~gained), right_in(held, held.labels >= 0))
    assert found.p_value < 0.001 and found.is_positive and found.estimate == pytest.approx(12 / 200)


def test_pictures_of_one_group_that_move_together_are_one_picture():
    held = held_of(5)
    before, after = moved(held, 2)
    together = np.where(np.arange(200) % PICTURES < 2, -1, np.arange(200))  # the ten that were gained
    assert estimate_gain(held, before, after).is_positive
    assert estimate_gain(replace(held, group_of=together), before, after).within_noise
    held = replace(held, metric="log_loss")
    assert estimate_gain(held, before, after).is_positive
    assert estimate_gain(replace(held, group_of=together), before, after).within_noise


def test_groups_of_one_picture_each_change_nothing():
    held = held_of(5)
    alone = replace(held, group_of=np.arange(200).astype(str))
    for one, other in ((held, alone), (replace(held, metric="log_loss"), replace(alone, metric="log_loss"))):
        assert estimate_gain(one, *moved(held, 4, lost=1)) == estimate_gain(other, *moved(held, 4, lost=1))


def test_folds_of_unequal_size_count_alike():
    held = held_of(2)
    held = replace(held, fold_of=(np.arange(80) >= 20).astype(int))
    found = estimate_gain(held, right_in(held, np.arange(80) >= 10), right_in(held, np.arange(80) >= 0))
    assert found.estimate == pytest.approx(0.25) and found.low < 0.25 < found.high


def test_a_gain_is_above_zero_where_a_loss_falls_and_its_difference_below():
    held = held_of(5, "log_loss")
    random = np.random.default_rng(0)
    before, after = (right_in(held, random.random(len(held.labels)) < sure) for sure in (0.6, 0.95))
    gain, difference = estimate_gain(held, before, after), estimate_difference(held, before, after)
    assert gain.is_positive and difference.is_negative and gain == -difference and gain.p_value is None


def test_an_area_under_the_curve_that_moves_by_one_pair_on_every_fold_is_within_noise():
    held = held_of(5, "auc")
    place = np.arange(len(held.labels)) % PICTURES
    scores = np.where(held.labels == 1, 0.5 + place / 100, 0.4 - place / 1000)
    swapped = np.where(place == 1, 0.3999999, np.where(place == 0, 0.41, scores))
    before, after = (np.stack([1 - one, one], axis=1) for one in (swapped, scores))
    found = estimate_gain(held, before, after)
    assert found.estimate == pytest.approx(1 / 400) and found.within_noise


def test_the_interval_of_an_auc_is_delongs():
    """Against the textbook's double sum over pairs (DeLong et al. 1988, equations 4 and 5)."""
    random = np.random.default_rng(3)
    truth = np.arange(60) % 3 == 0
    values = np.round(random.normal(size=60) + truth, 1)  # with ties
    positive, negative = values[truth], values[~truth]
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = pairs.mean(axis=1).var(ddof=1) / 20 + pairs.mean(axis=0).var(ddof=1) / 40
    probabilities = np.stack([-values, values], axis=1)
    parts = metrics.compute_influences("auc", truth.astype(int), probabilities)
    assert parts.mean() == pytest.approx(pairs.mean()) and parts.var() / 60 == pytest.approx(variance)


def test_a_metric_of_no_pictures_is_compared_by_leaving_each_out(monkeypatch):
    def compute(truth, probabilities, positive=None):
        return float((probabilities.argmax(axis=1) == truth).mean())

    monkeypatch.setitem(metrics.METRICS, "own", metrics.Metric(name="own", higher_is_better=True, compute=compute))
    held = held_of(5)
    before, after = moved(held, 4, lost=1)
    own = estimate_gain(replace(held, metric="own"), before, after)
    known = estimate_over_pictures(held.by_picture(after) - held.by_picture(before))
    assert (own.estimate, own.low, own.high) == pytest.approx((known.estimate, known.low, known.high))


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "auc"])
def test_the_score_of_a_run_lies_in_its_interval(metric):
    held = held_of(5, metric)
    _, after = moved(held, 4, lost=6)
    found = estimate_score(held, after)
    assert found.estimate == pytest.approx(held.score(after)) and found.low < found.estimate < found.high


def test_of_one_fold_two_pictures_that_a_class_gained_are_no_proof_though_every_draw_gives_the_same():
    truth = np.array([0] * 30 + [1] * 2)
    held = OOFPredictions(
        part=MemberPredictions(np.zeros((0, 32, 2))), labels=truth, fold_of=np.zeros(32, int), metric="accuracy"
    )
    found = estimate_difference(held, right_in(held, truth == 0), right_in(held, truth >= 0))
    assert found.estimate == pytest.approx(2 / 32) and found.within_noise
