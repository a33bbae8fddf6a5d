"""Linked pictures believe what they have in common; what a link is worth is learned and never below nothing."""

import numpy as np

from pipeline.ensemble.scene_propagation import LinkLikelihood, fit_link_likelihood, propagate_beliefs, propagate_labels

UNSURE = np.array([[0.45, 0.55, 0.0], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])


def test_what_a_link_is_worth_grows_with_its_strength_and_is_measured_against_all_pairs():
    strength = np.repeat([0, 5, 9], [800, 100, 100])
    same = np.concatenate([np.arange(800) % 4 == 0, np.arange(100) % 2 == 0, np.arange(100) > 4])
    found = fit_link_likelihood(strength, same)
    assert found.least == (0, 5, 9)
    np.testing.assert_allclose(found.share, [201 / 802, 51 / 102, 96 / 102])
    base = 346 / 1002
    np.testing.assert_allclose(found.base, base)
    expected = [1, (1 / 1) / (base / (1 - base)), 16 / (base / (1 - base))]
    np.testing.assert_allclose(found.ratios(np.array([3, 6, 40])), expected)


def test_links_that_say_no_more_than_chance_change_nothing():
    random = np.random.default_rng(0)
    found = fit_link_likelihood(random.integers(0, 10, 4000), random.random(4000) < 0.3)
    assert (found.ratios(np.arange(4)) < 1.2).all() and (found.ratios(np.arange(12)) >= 1).all()
    assert fit_link_likelihood(np.empty(0, int), np.empty(0, bool)).ratios(np.array([9])) == 1


def test_an_unsure_picture_follows_the_sure_one_that_it_is_linked_to_and_no_other_moves():
    after = propagate_beliefs(UNSURE, np.array([[0, 1]]), np.array([50.0]))
    assert after.argmax(axis=1).tolist() == [0, 0, 2]
    np.testing.assert_allclose(after[2], UNSURE[2])
    np.testing.assert_allclose(after.sum(axis=1), 1)


def test_two_linked_pictures_come_to_the_exact_marginals():
    ratio, first, second = 7.0, UNSURE[1], UNSURE[2]
    joint = first[:, None] * second[None] * np.where(np.eye(3, dtype=bool), ratio, 1)
    after = propagate_beliefs(UNSURE[1:], np.array([[0, 1]]), np.array([ratio]))
    np.testing.assert_allclose(after, [joint.sum(axis=1) / joint.sum(), joint.sum(axis=0) / joint.sum()], rtol=1e-5)


def test_a_chain_passes_on_what_its_end_knows():
    chain = np.array([[0.98, 0.02], [0.5, 0.5], [0.4, 0.6]])
    after = propagate_beliefs(chain, np.array([[0, 1], [1, 2]]), np.array([30.0, 30.0]))
    assert (after.argmax(axis=1) == 0).all()


def test_without_links_predictions_stay():
    np.testing.assert_allclose(propagate_beliefs(UNSURE, np.empty((0, 2), int), np.empty(0)), UNSURE, atol=2e-6)


def test_of_several_labelled_pictures_of_one_class_the_strongest_speaks_alone():
    rows, labels = np.array([0, 0, 0, 2]), np.array([0, 0, 2, 2])
    after = propagate_labels(UNSURE, rows, labels, np.array([4.0, 6.0, 1.0, 2.0]))
    np.testing.assert_allclose(after[0, 0] / after[0, 1], 6 * 0.45 / 0.55)
    np.testing.assert_allclose(after[1], UNSURE[1])
    assert after[2, 2] > 0.8


def test_a_worth_without_steps_is_of_no_use_to_anybody():
    assert (LinkLikelihood().ratios(np.array([5, 100])) == 1).all()
