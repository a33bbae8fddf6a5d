"""Pseudo-labels: sure ones only, not too many, and never told by a head that has seen what is held out."""

import numpy as np
import pytest

from pipeline.config import Recipe
from pipeline.errors import StarshiftError
from pipeline.training import pseudo_labels
from pipeline.training.pseudo_labels import PseudoLabelData, PseudoLabelRule, PseudoLabelTrainer

RECIPE = Recipe(views=("plain",), folds=5)
FOLDS = tuple(range(5))


def copies(seed: int = 0) -> PseudoLabelData:
    """Labels that features say nothing of, and test pictures that are copies of the training pictures."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(200, 300)).astype(np.float32)
    return PseudoLabelData(
        train={"plain": features},
        test={"plain": features + random.normal(scale=0.01, size=features.shape).astype(np.float32)},
        labels=random.integers(0, 2, 200),
        fold_of=np.arange(200) % 5,
        classes=2,
        l2=1e-5,
    )


def held_out_accuracy(heads, material: PseudoLabelData) -> float:
    right = np.zeros(len(material.labels), bool)
    for fold, head in zip(FOLDS, heads, strict=True):
        held = material.fold_of == fold
        right[held] = head.probabilities(material.train["plain"][held]).argmax(axis=1) == material.labels[held]
    return float(right.mean())


def test_the_mean_of_folds_hands_held_out_labels_over_and_a_fold_s_own_head_does_not():
    material = copies()
    teacher = PseudoLabelTrainer(RECIPE, material, PseudoLabelRule(precision=0.1, least=0.5, cap=1.0, weight=1.0))
    taught = [teacher.teach(fold, FOLDS) for fold in FOLDS]
    mean = np.mean([one.before.probabilities(material.test["plain"]) for one in taught], axis=0)
    every = np.arange(len(mean))
    naive = [teacher.head(fold, material.fold_of != fold, every, mean.argmax(axis=1)) for fold in FOLDS]
    assert held_out_accuracy(naive, material) > 0.9, "a false gain: labels are random, so that 0.5 is all there is"
    assert held_out_accuracy([one.before for one in taught], material) < 0.6
    assert held_out_accuracy([one.after for one in taught], material) < 0.6
    assert min(len(one.rows) for one in taught) > 30


def test_the_labels_of_a_fold_do_not_touch_its_head():
    material = copies(1)
    mine = material.fold_of == 3
    other = PseudoLabelData(**{**vars(material), "labels": np.where(mine, 1 - material.labels, material.labels)})
    rule = PseudoLabelRule(precision=0.4, least=0.5)
    one, two = (PseudoLabelTrainer(RECIPE, each, rule).teach(3, FOLDS) for each in (material, other))
    assert len(one.rows) > 0 and one.threshold == two.threshold
    assert np.array_equal(one.rows, two.rows) and np.array_equal(one.guesses, two.guesses)
    for (weights, bias), (others, other_bias) in zip(one.after.layers, two.after.layers, strict=True):
        assert np.array_equal(weights, others) and np.array_equal(bias, other_bias)


def test_clusters_with_few_labels_gain_from_the_many_without():
    random = np.random.default_rng(4)
    centres = random.normal(size=(3, 40))
    labels, tests = np.arange(30) % 3, np.arange(900) % 3
    train = (0.55 * centres[labels] + random.normal(size=(30, 40))).astype(np.float32)
    test = (0.55 * centres[tests] + random.normal(size=(900, 40))).astype(np.float32)
    material = PseudoLabelData(
        train={"plain": train},
        test={"plain": test},
        labels=labels,
        fold_of=np.arange(30) // 6,
        classes=3,
        l2=1e-2,
    )
    rule = PseudoLabelRule(precision=0.6, least=0.4, cap=1.0, weight=1.0)
    one = PseudoLabelTrainer(RECIPE, material, rule).teach(0, FOLDS)
    assert 0 < len(one.rows) <= 24 and np.bincount(one.guesses, minlength=3).max() <= 9
    before, after = ((head.probabilities(test).argmax(axis=1) == tests).mean() for head in (one.before, one.after))
    assert after > before - 0.02


def test_the_threshold_is_the_least_one_that_is_precise_enough():
    sure = np.array([0.99, 0.95, 0.9, 0.9, 0.85, 0.6])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = np.array([0, 0, 0, 1, 0, 0])
    assert pseudo_labels.find_threshold(probabilities, labels, PseudoLabelRule(precision=1.0)) == (0.95, 1.0)
    assert pseudo_labels.find_threshold(probabilities, labels, PseudoLabelRule(precision=0.8)) == (0.85, 0.8)
    assert pseudo_labels.find_threshold(probabilities, labels, PseudoLabelRule(precision=0.8, least=0.5)) == (
        0.6,
        5 / 6,
    )
    assert pseudo_labels.find_threshold(probabilities, 1 - labels, PseudoLabelRule(precision=0.9)) == (None, 0.0)


def test_the_surest_of_each_class_are_taken_and_no_more_than_the_cap():
    values = np.array([[0.9, 0.1], [0.99, 0.01], [0.95, 0.05], [0.2, 0.8], [0.6, 0.4]])
    assert pseudo_labels.select_confident(values, 0.7, np.array([2, 5]), 10).tolist() == [1, 2, 3]
    assert pseudo_labels.select_confident(values, 0.7, np.array([9, 9]), 2).tolist() == [1, 2]
    assert pseudo_labels.select_confident(values, 0.999, np.array([9, 9]), 9).tolist() == []


def test_where_none_is_sure_enough_the_head_stays_as_it_is():
    material = copies(2)
    one = PseudoLabelTrainer(RECIPE, material, PseudoLabelRule(precision=1.0, least=1.0)).teach(0, FOLDS)
    assert one.threshold is None and one.after is one.before and len(one.rows) == 0


def test_a_rule_that_makes_no_sense_is_refused():
    with pytest.raises(StarshiftError, match="precision"):
        PseudoLabelRule(precision=1.5)


def test_half_a_weight_is_as_good_as_every_other_picture_twice():
    material, rows = copies(3), np.arange(20)
    known, guesses = material.fold_of != 0, material.labels[rows]
    half = PseudoLabelTrainer(RECIPE, material, PseudoLabelRule(weight=0.5))
    doubled = PseudoLabelData(
        **{
            **vars(material),
            "train": {"plain": np.tile(material.train["plain"], (2, 1))},
            "labels": np.tile(material.labels, 2),
            "fold_of": np.tile(material.fold_of, 2),
        }
    )
    twice = PseudoLabelTrainer(RECIPE, doubled, PseudoLabelRule(weight=1.0))
    twice.axes = half.axes
    one, two = half.head(0, known, rows, guesses), twice.head(0, np.tile(known, 2), rows, guesses)
    assert np.allclose(one.layers[0][0], two.layers[0][0], atol=1e-4)
    alone = half.head(0, known)
    assert not np.allclose(one.layers[0][0], alone.layers[0][0], atol=1e-3)
