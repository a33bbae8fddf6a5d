"""Random folds flatter where pictures of one scene are on both sides, and only there."""

import numpy as np
import pytest

from pipeline.audit.leakage import RepeatedCVResult, compute_grouping_effect, cross_validate_head, shuffle_groups
from pipeline.config import Recipe

RECIPE = Recipe(folds=3, grouping="estimated")


def scenes(own):
    """40 scenes of four pictures; `own` is how much of what is seen belongs to the scene alone."""
    random = np.random.default_rng(0)
    scene, labels = np.repeat(np.arange(40), 4), np.repeat(np.arange(40) % 2, 4)
    features = own * random.normal(size=(40, 64))[scene] + random.normal(size=(160, 64)) * 0.5
    features[:, 0] += 0.6 * labels
    return features.astype(np.float32), labels, scene


def both(own):
    features, labels, groups = scenes(own)
    apart = shuffle_groups(groups, labels, np.arange(160), np.random.default_rng(1))
    return (cross_validate_head(features, labels, one, RECIPE, "accuracy") for one in (apart, groups))


def test_torn_groups_have_the_same_sizes_and_classes_and_equal_pictures_stay_together():
    groups, labels, equal = np.repeat([0, 4, 8], [4, 4, 12]), np.arange(20) % 2, np.arange(20)
    found = shuffle_groups(groups, labels, equal, np.random.default_rng(0))
    assert (found != groups).any()
    for label in (0, 1):
        assert sorted(found[labels == label]) == sorted(groups[labels == label])
    equal[9] = 3
    assert shuffle_groups(groups, labels, equal, np.random.default_rng(0))[[3, 9]].tolist() == [found[3]] * 2


def test_what_random_folds_flatter_is_seen():
    apart, together = both(own=2)
    assert apart.score > 0.9 and together.score < 0.75 and compute_grouping_effect(apart, together).high < 0
    assert apart.correct.mean() > together.correct.mean() + 0.2


def test_without_scenes_there_is_no_difference_beyond_noise():
    apart, together = both(own=0)
    assert compute_grouping_effect(apart, together).holds_zero and abs(apart.score - together.score) < 0.08


def test_choices_of_folds_that_all_move_by_one_picture_are_within_noise():
    def at(score):
        return RepeatedCVResult(scores=(score,) * 3, correct=np.ones(160), oof=np.ones((160, 2)), resolution=1 / 160)

    assert (
        compute_grouping_effect(at(0.9), at(0.9 - 1 / 160)).within_noise
        and compute_grouping_effect(at(0.9), at(0.9 - 4 / 160)).is_negative
    )
    assert both(own=0).__next__().resolution == pytest.approx(1 / 160, rel=0.05)
