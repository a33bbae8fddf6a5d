"""Intervals: what must hold for any numbers, and a few numbers known from elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.errors import StarshiftError
from pipeline.evaluation import intervals

COUNTS = st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
CLASSES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)
VALUES = st.lists(st.floats(-1, 1), min_size=2, max_size=10)


@given(COUNTS)
def test_an_accuracys_interval_contains_it_and_stays_between_nothing_and_everything(counts):
    found = intervals.wilson_interval(*counts)
    assert 0 <= found.low <= found.estimate == counts[0] / counts[1] <= found.high <= 1


@given(COUNTS, st.integers(2, 20))
def test_an_accuracys_interval_narrows_with_more_pictures(counts, times):
    few, many = intervals.wilson_interval(*counts), intervals.wilson_interval(counts[0] * times, counts[1] * times)
    assert many.high - many.low < few.high - few.low


def test_wilsons_interval_is_the_published_one():
    found = intervals.wilson_interval(8, 10)
    assert (found.low, found.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_nineteen_of_twenty_intervals_hold_the_true_accuracy(share):
    right = np.arange(401)
    holds = [
        intervals.wilson_interval(int(k), 400).low <= share <= intervals.wilson_interval(int(k), 400).high
        for k in right
    ]
    assert binom.pmf(right, 400, share)[holds].sum() == pytest.approx(0.95, abs=0.02)


def test_an_impossible_count_is_refused():
    with pytest.raises(StarshiftError, match="No share"):
        intervals.wilson_interval(11, 10)


def test_the_interval_over_seeds_is_students():
    found = intervals.estimate_over_seeds([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)


def test_other_seeds_and_other_pictures_are_both_chance():
    random, covered = np.random.default_rng(0), 0
    for _ in range(600):
        seeds, pictures = random.normal(scale=0.02, size=(3, 1)), random.normal(scale=0.4, size=(1, 200))
        found = intervals.estimate_over_seeds_and_pictures(
            0.05 + seeds + pictures + random.normal(scale=0.3, size=(3, 200))
        )
        covered += found.low <= 0.05 <= found.high
    assert 0.92 < covered / 600 < 0.995
    alone = np.repeat([[1.0], [2.0], [3.0]], 50, axis=1)
    found, seeds = intervals.estimate_over_seeds_and_pictures(alone), intervals.estimate_over_seeds([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((seeds.low, seeds.high))
    assert intervals.estimate_over_seeds_and_pictures(np.zeros((3, 10))).holds_zero


def test_one_seed_says_nothing_about_noise():
    assert intervals.estimate_over_seeds([0.9]).holds_zero and intervals.estimate_over_seeds([0.9]).estimate == 0.9


@given(VALUES)
def test_folds_that_share_pictures_are_less_sure_than_seeds(values):
    folds, seeds = intervals.estimate_over_folds(values, 0.2), intervals.estimate_over_seeds(values)
    assert folds.low <= seeds.low <= seeds.estimate <= seeds.high <= folds.high


@given(VALUES)
def test_swapping_the_sides_of_folds_flips_the_sign(values):
    there, back = (
        intervals.estimate_over_folds(values, 0.2),
        intervals.estimate_over_folds([-value for value in values], 0.2),
    )
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))


@given(CLASSES)
def test_swapping_the_sides_of_a_paired_comparison_flips_the_sign(rows):
    truth, before, after = np.array(rows).T
    there, back = intervals.compare_paired(truth, before, after), intervals.compare_paired(truth, after, before)
    a, b = there.difference, back.difference
    assert (a.estimate, a.low, a.high) == pytest.approx((-b.estimate, -b.high, -b.low))
    assert a.p_value == pytest.approx(b.p_value) and (there.gained, there.lost) == (back.lost, back.gained)
    assert -1 <= a.low <= a.estimate <= a.high <= 1
    assert a.estimate == pytest.approx(np.mean(after == truth) - np.mean(before == truth))


def test_mcnemars_test_is_exact_and_counts_only_pictures_that_differ():
    truth = np.zeros(1000, int)
    before, after = truth.copy(), truth.copy()
    before[:8], after[8:10] = 1, 1
    found = intervals.compare_paired(truth, before, after)
    assert (found.gained, found.lost) == (8, 2) and found.difference.p_value == pytest.approx(0.109375)
    assert found.difference.within_noise and found.difference.estimate == pytest.approx(0.006)
    before[10:20] = 1
    assert not intervals.compare_paired(truth, before, after).difference.within_noise


def test_predictions_of_other_pictures_are_refused():
    with pytest.raises(StarshiftError, match="not for the same pictures"):
        intervals.compare_paired(np.zeros(3), np.zeros(3), np.zeros(2))


def test_a_sentence_says_which_is_better_by_the_metrics_own_direction():
    found = intervals.Interval(-0.012, -0.02, -0.004)
    less = intervals.format_difference("finetune", "frozen", found, higher=False)
    assert less == "finetune is better than frozen, beyond noise: -0.0120 (95 % interval -0.0200 to -0.0040)"
    assert "is worse than" in intervals.format_difference("finetune", "frozen", found)
    found = intervals.Interval(-0.012, -0.025, 0.001)
    noise = intervals.format_difference("finetune", "frozen", found, points=True)
    assert noise == "finetune is within noise of frozen: -1.2 points (95 % interval -2.5 to +0.1)"


def test_folds_that_all_move_alike_have_at_least_the_spread_of_the_metric_s_resolution():
    one = intervals.estimate_over_folds([0.01] * 5, 0.2, resolution=0.01)
    assert (
        one.within_noise
        and one.is_bounded
        and intervals.estimate_over_folds([0.02] * 5, 0.2, resolution=0.01).is_positive
    )


@pytest.mark.parametrize("values", [[0.3 - 0.1] * 5, [0.82 - 0.81, 0.72 - 0.71, 0.92 - 0.91], [-0.5, -0.5]])
def test_without_a_resolution_values_that_are_all_alike_say_nothing_of_the_spread(values):
    for found in (intervals.estimate_over_folds(values, 0.2), intervals.estimate_over_seeds(values)):
        assert found.within_noise and not found.is_bounded


def test_where_nothing_differs_at_all_the_interval_is_zero():
    assert intervals.estimate_over_folds([0.0] * 5, 0.2) == intervals.Interval(0.0, 0.0, 0.0)


def test_seeds_that_all_moved_by_one_picture_are_within_noise():
    assert intervals.estimate_over_seeds([0.01, 0.01], resolution=0.01).within_noise


def test_seeds_and_pictures_that_all_move_alike_say_nothing_of_the_spread():
    found = intervals.estimate_over_seeds_and_pictures(np.ones((3, 4)))
    assert found.estimate == 1 and found.within_noise


def test_an_interval_that_is_not_known_is_said_in_words_and_written_as_none():
    found = intervals.estimate_over_folds([0.1], 0.2)
    said = intervals.format_difference("B", "A", found) + intervals.format_plus_minus(found, 4)
    assert "inf" not in said and "interval unknown" in said and said.endswith("+0.1000 ± unknown")
    assert found.record() == {"estimate": 0.1, "low": None, "high": None, "p_value": None}


def test_an_exact_test_that_decides_otherwise_than_the_interval_is_named():
    found = intervals.Interval(0.02, 0.01, 0.03, 0.3)
    assert (
        found.within_noise
        and not found.is_positive
        and intervals.format_plus_minus(found, 2) == "+0.02 ± 0.01, but p = 0.3"
    )


def test_the_width_over_folds_is_that_of_nadeau_and_bengio():
    differences = [0.01, 0.03, 0.02, 0.05, 0.04]
    interval = intervals.estimate_over_folds(differences, 0.2)
    deviation = np.std(differences, ddof=1) * np.sqrt(1 / 5 + 0.2 / 0.8)
    assert interval.high - interval.estimate == pytest.approx(2.776445 * deviation, rel=1e-6)
