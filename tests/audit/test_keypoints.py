"""Keypoints that match: what is found is what comparing every pair by itself finds."""

import numpy as np
import pytest

from pipeline.audit import keypoints as geometry
from pipeline.audit.keypoints import MAX_KEYPOINTS, PCA_COMPONENTS, Keypoints

COUNTS = [40, 60, 3, 0, 25, 30, 8, 6, 6]


@pytest.fixture
def keypoints():
    """The second holds the first's keypoints in another order; two have next to none; two lie in three axes."""
    random = np.random.default_rng(0)
    descriptors = np.zeros((len(COUNTS), MAX_KEYPOINTS, PCA_COMPONENTS), np.float16)
    for number, count in enumerate(COUNTS):
        drawn = random.normal(size=(count, PCA_COMPONENTS)) * (
            np.arange(PCA_COMPONENTS) < (3 if number in (5, 6) else PCA_COMPONENTS)
        )
        descriptors[number, :count] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    descriptors[1, 10:50] = descriptors[0, :40][::-1]
    descriptors[2, :3] = descriptors[0, :3]
    away, axes = np.eye(PCA_COMPONENTS)[10], np.eye(PCA_COMPONENTS)[:6]
    descriptors[7, :6], descriptors[8, :6] = 0.6 * axes - 0.8 * away, 0.954 * axes + 0.3 * away
    points = random.uniform(0, 128, (len(COUNTS), MAX_KEYPOINTS, 2)).astype(np.float32)
    points[1, 10:50] = points[0, :40][::-1] * 1.5 + 4
    return Keypoints(np.array(COUNTS), points, descriptors)


def by_itself(keypoints, first, other):
    """Lowe's test and the mutual nearest, a keypoint at a time."""
    own, their = (keypoints.descriptors[n, : keypoints.counts[n]].astype(np.float32) for n in (first, other))
    found = []
    for place, products in enumerate(own @ their.T):
        best, *rest = np.argsort(-products, kind="stable")
        second = products[rest[0]] if rest else -1
        if 1 - products[best] < geometry.LOWE_RATIO**2 * (1 - second) and (own @ their[best]).argmax() == place:
            found.append((place, best))
    return np.array(found, int).reshape(-1, 2)


def test_many_pictures_at_once_match_as_each_by_itself(keypoints):
    found = geometry.match_descriptors(keypoints, 0, np.array([1, 2, 4]))
    assert [len(places) >= geometry.MIN_MATCHES for places in found] == [True, False, False]
    for other, places in zip((1, 2, 4), found, strict=True):
        np.testing.assert_array_equal(places, by_itself(keypoints, 0, other))


@pytest.mark.parametrize(("first", "other"), [(5, 6), (7, 8)])
def test_a_match_is_nearest_both_ways_and_places_without_a_keypoint_are_near_to_none(keypoints, first, other):
    places = geometry.match_descriptors(keypoints, first, np.array([1, other]))[1]
    assert len(places) >= 4
    np.testing.assert_array_equal(places, by_itself(keypoints, first, other))


def test_what_agrees_is_the_same_whatever_else_is_compared(keypoints):
    every = np.array([(0, 1), (0, 2), (0, 3), (0, 4), (2, 0), (3, 1)])
    together = geometry.find_inlier_matches(keypoints, every)
    assert together[0].tolist() == [[place, 49 - place] for place in range(40)]
    assert [len(places) for places in together[1:]] == [0] * 5
    assert geometry.find_inlier_matches(keypoints, every[:0]) == []
