"""Novelty: pictures unlike the training pictures, by the distance of the K-th nearest."""

import numpy as np
import pytest

from pipeline.runs import novelty


def draw_cluster(seed, count, axis):
    """Unit vectors (count, 8) near an axis."""
    rows = np.random.default_rng(seed).normal(0, 0.1, (count, 8)).astype(np.float32)
    rows[:, axis] += 1
    return novelty.normalize_parts([rows])


@pytest.fixture
def neighbours():
    features = draw_cluster(0, 400, 0)
    return novelty.Neighbours(
        names=[str(number) for number in range(400)],
        labels=["a"] * 400,
        texts=("base",),
        features=features,
        threshold=novelty.estimate_threshold(features, np.arange(400)),
    )


def test_pictures_like_the_training_pictures_are_called_novel_as_often_as_promised(neighbours):
    share = neighbours.is_novel(draw_cluster(1, 2000, 0)).mean()
    assert share == pytest.approx(novelty.FALSE_ALARMS, abs=0.03)


def test_pictures_of_another_kind_are_novel(neighbours):
    assert neighbours.is_novel(draw_cluster(2, 50, 3)).all()


def test_the_nearest_are_named_nearest_first(neighbours):
    ((first, second),) = neighbours.find_nearest(neighbours.features[7:8], 2)
    assert first[0] == "7" and first[2] == pytest.approx(1) and second[2] < first[2]


def test_copies_of_a_training_picture_do_not_lower_the_threshold():
    features, groups = draw_cluster(0, 100, 0), np.arange(100)
    copied, twice = np.repeat(features, 6, axis=0), np.repeat(groups, 6)
    alone = novelty.estimate_threshold(copied, np.arange(600))
    assert novelty.estimate_threshold(copied, twice) > 1.2 * alone


def test_each_base_counts_as_much_as_another_whatever_its_scale():
    one, two = draw_cluster(0, 3, 0), draw_cluster(1, 3, 1)
    joined = novelty.normalize_parts([one, 100 * two])
    assert np.allclose(joined @ joined.T, (one @ one.T + two @ two.T) / 2, atol=1e-5)
