"""Pictures of one scene lend each other what their network or their label knows; the classes of a fold stay its own."""

import numpy as np
import pytest

from pipeline.audit import keypoints, scene_links
from pipeline.audit.scene_links import WORD_BITS, WORD_TABLES
from pipeline.ensemble.scene_propagation import SceneSteps, find_positions
from pipeline.ensemble.scene_propagation import format_link_shares as words_of
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions
from tests.audit.conftest import gravel, seen

CLASSES, SCENES, FOLDS = 2, 24, 3


@pytest.fixture(scope="module")
def pictures():
    """Two views of every scene, scene after scene, the classes in turn."""
    scenes = [gravel(number) for number in range(SCENES)]
    turned = [(seen(scene), seen(scene, 35 + number * 5, 1.15)) for number, scene in enumerate(scenes)]
    return np.stack([view for both in turned for view in both])


@pytest.fixture(scope="module")
def scenes(pictures):
    features = np.random.default_rng(0).normal(size=(len(pictures), 8)).astype(np.float32)
    return SceneSteps(scene_links.KeypointIndex(keypoints.detect_keypoints(pictures), features))


def held_of(*, together: bool) -> OOFPredictions:
    """The first view of a scene is known for sure, of the second the network is wrong; in one fold, or in two."""
    scene, second = np.divmod(np.arange(2 * SCENES), 2)
    labels = scene % CLASSES
    sure = np.where(second, 0.4, 0.95)
    predictions = np.stack([np.where(labels == label, sure, 1 - sure) for label in range(CLASSES)], axis=1)
    folds = scene // CLASSES % FOLDS if together else (scene // CLASSES + second) % FOLDS
    part = MemberPredictions(predictions[None], rows=np.arange(2 * SCENES))
    return OOFPredictions(part=part, labels=labels, fold_of=folds, metric="accuracy")


def test_unknown_pictures_of_one_scene_agree(scenes):
    held = held_of(together=True)
    fitted = scenes.agreeing(held.take(frozenset({0, 1})))
    unknown = held.take(frozenset({2}))
    after = fitted.predict(unknown.part).argmax(axis=1) == unknown.labels
    assert (unknown.part.predictions[0].argmax(axis=1) == unknown.labels).mean() == 0.5
    assert after.mean() >= 0.85
    assert words_of(fitted.record()).startswith("of one class")


def test_labelled_pictures_speak_to_an_unknown_one_of_their_scene(scenes):
    held = held_of(together=False)
    unknown = held.take(frozenset({2}))
    after = scenes.labelled(held.take(frozenset({0, 1}))).predict(unknown.part).argmax(axis=1)
    assert (after == unknown.labels).mean() >= 0.85


def test_where_folds_keep_scenes_together_labels_say_nothing(scenes):
    held = held_of(together=True)
    unknown = held.take(frozenset({2}))
    after = scenes.labelled(held.take(frozenset({0, 1}))).predict(unknown.part)
    np.testing.assert_array_equal(after.argmax(axis=1), unknown.part.predictions[0].argmax(axis=1))


def test_classes_of_pictures_that_are_predicted_change_nothing(pictures):
    held = held_of(together=True)
    features = np.random.default_rng(0).normal(size=(len(pictures), 8)).astype(np.float32)
    outcomes = []
    for flipped in (False, True):
        labels = np.where(held.among(frozenset({2})) & flipped, 1 - held.labels, held.labels)
        other = OOFPredictions(part=held.part, labels=labels, fold_of=held.fold_of, metric="accuracy")
        fitted = SceneSteps(scene_links.KeypointIndex(keypoints.detect_keypoints(pictures), features)).agreeing(
            other.take(frozenset({0, 1}))
        )
        outcomes.append(fitted.predict(held.take(frozenset({2})).part))
    np.testing.assert_array_equal(*outcomes)


def test_a_fold_s_own_classes_tell_no_props_where_its_links_are_weighed(scenes, monkeypatch):
    held, blank = held_of(together=True).take(frozenset({0, 1})), np.zeros(WORD_TABLES << WORD_BITS, bool)
    fold_of, found, finder = dict(zip(held.part.rows, held.fold_of, strict=True)), [], scenes.index.finder

    def props(rows, labels, pool, pool_labels):
        """One word that says which folds were looked at."""
        words = blank.copy()
        words[fold_of[rows[0]] + fold_of[pool[0]]] = True
        return words

    monkeypatch.setattr(scenes.index, "props", props)
    monkeypatch.setattr(scenes.index, "finder", lambda words: found.append(np.flatnonzero(words)) or finder(blank))
    fitted = SceneSteps(scenes.index).agreeing(held)
    assert [words.tolist() for words in found] == [[2], [0]]  # fold 0 by fold 1's classes, and the other way about
    assert np.flatnonzero(fitted.index.props).tolist() == [0, 1, 2]


def test_what_is_stuck_on_every_picture_links_none(pictures):
    label = gravel(999)[:70, :70]
    stuck = pictures.copy()
    stuck[:, 4:74, 4:74] = label
    every, labels = np.arange(len(stuck)), np.arange(len(stuck)) // 2 % CLASSES
    features = np.random.default_rng(0).normal(size=(len(stuck), 8)).astype(np.float32)
    seen_by = scene_links.KeypointIndex(keypoints.detect_keypoints(stuck), features)
    props = seen_by.props(every, labels, every, labels)
    for words, most in ((np.zeros_like(props), 1.0), (props, 0.05)):
        pairs, strength = seen_by.finder(words).links(every, every)
        torn = (strength > 0) & (pairs[:, 0] // 2 != pairs[:, 1] // 2)
        assert torn.mean() <= most and (words.any() or torn.mean() > 0.5)


def test_a_picture_is_looked_for_by_its_place_among_all():
    np.testing.assert_array_equal(find_positions(np.array([[40, 7], [9, 40]]), np.array([9, 40, 7])), [[1, 2], [0, 1]])


def test_pictures_without_places_are_refused(scenes):
    held = held_of(together=True)
    with pytest.raises(ValueError, match="which pictures"):
        scenes.agreeing(
            OOFPredictions(
                part=MemberPredictions(held.part.predictions), labels=held.labels, fold_of=held.fold_of, metric="auc"
            )
        )
