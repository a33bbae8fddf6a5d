"""The confusion matrix: what is counted where, which pairs come first, and which classes belong together."""

import numpy as np

from pipeline.evaluation.confusion import compute_confusion, group_classes, rank_confused_pairs


def test_rows_are_labels_and_columns_are_predictions():
    matrix = compute_confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_the_pair_with_most_pictures_in_both_directions_comes_first():
    pairs = rank_confused_pairs(np.array([[5, 1, 3], [2, 5, 0], [1, 0, 5]]))
    assert [(pair.truth, pair.predicted, pair.count, pair.reverse) for pair in pairs] == [(0, 2, 3, 1), (1, 0, 2, 1)]


def test_the_share_of_a_pair_is_of_the_labels_pictures():
    assert rank_confused_pairs(np.array([[6, 2], [0, 3]]))[0].share == 2 / 8


def test_without_a_mistake_there_is_no_pair():
    assert rank_confused_pairs(np.diag([3, 4])) == []


def test_classes_that_are_confused_are_in_one_group():
    similarity = np.full((40, 40), 0.001)
    for first in range(20):
        similarity[first, first + 20] = similarity[first + 20, first] = 0.3
    groups = group_classes(similarity, 6)
    assert all((one + 20 in group) for group in groups for one in group if one < 20)


def test_groups_hold_every_class_once_and_none_is_too_large():
    groups = group_classes(np.random.default_rng(0).dirichlet(np.ones(120), 120), 12)
    assert sorted(one for group in groups for one in group) == list(range(120))
    assert max(map(len, groups)) <= 12 and len(groups) < 30


def test_few_classes_are_one_group():
    assert group_classes(np.eye(3)) == [[0, 1, 2]]
