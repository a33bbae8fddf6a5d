"""Groups: copies always, scenes by their strongest links first, and none larger than a fold."""

import numpy as np

from pipeline.audit.scene_links import build_groups


def test_linked_pictures_and_copies_are_one_group():
    groups = build_groups(np.zeros(20, int), [(0, 5)], np.array([[5, 9], [2, 3]]), folds=5)
    assert groups.sizes.tolist() == [3, 2]
    assert groups.first[9] == groups.first[5] == 0 and groups.first[3] == 2 and groups.joined.sum() == 5


def test_a_chain_of_links_cannot_swallow_a_class():
    chain = np.stack([np.arange(49), np.arange(1, 50)], axis=1)
    groups = build_groups(np.zeros(50, int), [], chain, folds=5)
    assert groups.sizes.max() == 10 and groups.refused > 0


def test_the_strongest_links_join_first_where_not_all_can():
    links = np.array([[0, 1], [1, 2]])
    groups = build_groups(np.zeros(10, int), [], links, folds=5)
    assert groups.first[:3].tolist() == [0, 0, 2] and groups.refused == 1
