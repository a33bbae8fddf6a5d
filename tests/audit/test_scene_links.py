"""Scenes are linked however they are turned; what recurs across classes is not a scene; decoys bound false links."""

import numpy as np
import pytest

from pipeline.audit import keypoints, scene_links
from tests.audit.conftest import SIDE, gravel, seen

CLASSES, SCENES = 2, 14


def pictures(label=None):
    """Two views of every scene, scene after scene, the classes in turn; a label may be stuck on each."""
    found = []
    for number in range(CLASSES * SCENES):
        scene = gravel(number)
        for view, (degrees, zoom) in enumerate(((0, 1.0), (35 + number * 5, 1.15))):
            picture = seen(scene, degrees, zoom)
            if label is not None:
                place = 4 if view else SIDE - 4 - label.shape[0]
                picture[place : place + label.shape[0], 4 : 4 + label.shape[1]] = label
            found.append(picture)
    return np.stack(found)


def linked(shown, labels):
    features = np.random.default_rng(0).normal(size=(len(shown), 8)).astype(np.float32)
    return scene_links.find_scene_links(
        keypoints.detect_keypoints(shown), features, labels, [], np.random.default_rng(0)
    )


@pytest.fixture(scope="module")
def labels():
    return np.repeat(np.arange(CLASSES * SCENES) % CLASSES, 2)


def test_both_views_of_a_scene_are_linked_and_nothing_else(labels):
    found = linked(pictures(), labels)
    pairs = {tuple(sorted(pair)) for pair in found.pairs.tolist()}
    true = {(2 * number, 2 * number + 1) for number in range(CLASSES * SCENES)}
    assert pairs <= true and len(pairs) >= 0.8 * len(true)
    assert found.false_share == 0


def test_a_printed_label_on_every_picture_links_nothing_and_hides_nothing(labels):
    """Without striking what recurs, decoys would be as strong as scenes, and no link were believed."""
    label = gravel(999)[:70, :70]
    found = linked(pictures(label), labels)
    torn = [pair for pair in found.pairs.tolist() if pair[0] // 2 != pair[1] // 2]
    assert found.prop_share > 0.1 and not torn and len(found.pairs) >= 0.6 * CLASSES * SCENES


def test_a_test_picture_is_linked_with_the_training_picture_of_its_scene(labels):
    shown = pictures()
    found = linked(np.concatenate([shown[:-2], seen(gravel(5), 80, 1.1)[None]]), labels[:-2])
    assert {train // 2 for _, train in found.test_pairs.tolist()} == {5}


def test_the_least_strength_is_where_decoys_are_few_enough():
    strength = np.repeat([6, 8, 20], [500, 300, 200])
    decoy = np.repeat([6, 7], [40, 2])
    least, share = scene_links.calibrate_threshold(strength, decoy, np.ones(len(decoy)))
    assert least == 7 and share == pytest.approx(2 / 500)


def test_few_links_are_believed_only_where_they_are_sure():
    none = np.empty(0, int)
    assert scene_links.calibrate_threshold(np.array([7, 8, 15]), none, np.empty(0))[0] == scene_links.SURE_LINK_MATCHES
    assert (
        scene_links.calibrate_threshold(np.array([20, 20]), np.array([30, 31, 150]), np.ones(3))[0]
        > keypoints.MAX_KEYPOINTS
    )


def test_decoys_are_of_other_classes_and_each_serves_once():
    labels = np.repeat([0, 1, 2], [10, 20, 5])
    for own, first, second in scene_links.sample_decoys(labels, np.random.default_rng(0)):
        label = labels[own[0]]
        assert not set(first) & set(second) and label not in labels[np.concatenate([first, second])]
        assert len(first) <= len(own) and len(second) <= len(own)
