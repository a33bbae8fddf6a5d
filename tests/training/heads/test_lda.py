"""The gaussian head: what scikit-learn's analysis says, shrinkage and scale chosen on the folds, nothing singular."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pipeline.errors import StarshiftError
from pipeline.training.heads import lda, logistic_regression
from pipeline.training.soft_targets import SoftTargetLoss


def problem(classes, pictures=240, width=12, seed=0, apart=1.0):
    """Gaussian classes, the first ones larger; features are correlated."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.minimum(np.arange(pictures) % classes, np.arange(pictures) // 2 % classes))
    mixing = random.normal(size=(width, width))
    rows = (apart * random.normal(size=(classes, width))[labels] + random.normal(size=(pictures, width))) @ mixing
    return (rows * 3 + 5).astype(np.float32), labels


def folds_of(features, labels, count=3):
    fold_of = np.arange(len(labels)) % count
    return [
        logistic_regression.FoldFeatures(
            number=number,
            features=features[fold_of != number],
            labels=labels[fold_of != number],
            held_features=features[fold_of == number],
            held_labels=labels[fold_of == number],
        )
        for number in range(count)
    ]


def losses(heads, folds):
    held = zip(heads, folds, strict=True)
    return [
        logistic_regression.cross_entropy(head.probabilities(one.held_features), one.held_labels) for head, one in held
    ]


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("pictures", "width"), [(240, 12), (60, 150)])
@pytest.mark.parametrize("shrinkage", [0.03, 0.5, 0.95])
def test_the_head_is_the_one_that_scikit_learn_finds(classes, pictures, width, shrinkage):
    every, every_label = problem(classes, pictures + 40, width)
    features, labels = every[:pictures], every_label[:pictures]  # the others lie in no direction that these span
    ours = lda.LDA(features, labels, classes).head(shrinkage, 1.0).probabilities(every)
    rows = (every.astype(np.float64) - features.mean(axis=0)) / features.std(axis=0)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(rows[:pictures], labels)
    np.testing.assert_allclose(ours, theirs.predict_proba(rows), atol=2e-3)


def test_fewer_pictures_than_features_and_constant_features_leave_finite_heads():
    features, labels = problem(3, 20, 60)
    features[:, ::7] = 4
    folds = folds_of(features, labels)
    heads, _ = lda.fit(folds, 3)
    for head, fold in zip(heads, folds, strict=True):
        assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in head.layers[0])
        assert np.isfinite(head.probabilities(fold.held_features)).all()


def test_the_scale_takes_back_what_few_pictures_are_too_sure_of_and_leaves_the_shares():
    features, labels = problem(4, 80, 200, apart=0.1)
    folds = folds_of(features, labels)
    heads, history = lda.fit(folds, 4)
    chosen = next(record for record in history if record["chosen"])
    sure = [lda.LDA(f.features, f.labels, 4).head(chosen["shrinkage"], 1.0) for f in folds]
    assert chosen["scale"] < 0.3 and np.mean(losses(heads, folds)) < np.mean(losses(sure, folds)) - 0.3
    shares = lda.LDA(features, labels, 4).head(0.5, 1e-9).probabilities(features[:1])[0]
    np.testing.assert_allclose(shares, np.bincount(labels) / len(labels), atol=1e-5)


def test_each_fold_s_shrinkage_and_scale_have_the_lowest_loss_of_the_other_folds():
    features, labels = problem(5, 90, 40, apart=0.6)
    folds = folds_of(features, labels)
    heads, history = lda.fit(folds, 5)
    chosen = [record for record in history if record["chosen"]]
    assert len(chosen) == 3 and lda.SHRINKAGES[0] < min(record["shrinkage"] for record in chosen)
    assert losses(heads, folds) == pytest.approx([record["val_loss"] for record in chosen], abs=1e-4)
    found = [lda.LDA(fold.features, fold.labels, 5) for fold in folds]

    def others(place, shrinkage, scale):
        """The mean loss of the other folds."""
        made = [one.head(shrinkage, scale) for one in found]
        return np.mean(np.delete(losses(made, folds), place))

    for place, record in enumerate(chosen):
        mine = others(place, record["shrinkage"], record["scale"])
        scales = record["scale"] * np.geomspace(0.6, 1.7, 12)
        assert mine < min(others(place, one, scale) for one in lda.SHRINKAGES for scale in scales) + 1e-4


def test_a_fold_s_own_labels_have_no_say_in_its_scale():
    features, labels = problem(5, 90, 40, apart=0.6)
    folds = folds_of(features, labels)
    turned = [replace(folds[0], held_labels=(folds[0].held_labels + 1) % 5), *folds[1:]]
    (mine, *rest), (other, *changed) = lda.fit(folds, 5)[0], lda.fit(turned, 5)[0]
    np.testing.assert_allclose(mine.layers[0][0], other.layers[0][0], rtol=0.05)
    assert (
        max(np.abs(one.layers[0][0] / two.layers[0][0] - 1).max() for one, two in zip(rest, changed, strict=True)) > 0.3
    )


def test_a_class_that_a_fold_does_not_train_on_is_possible_and_unlikely():
    features, labels = problem(4)
    known = labels != 3
    head = lda.LDA(features[known], labels[known], 4).head(0.5, 0.5)
    found = head.probabilities(features[known])
    assert np.isfinite(found).all() and 0 < found[:, 3].mean() < 0.02
    three = lda.LDA(features[known], labels[known], 3).head(0.5, 0.5).probabilities(features[known])
    np.testing.assert_allclose(found[:, :3] / found[:, :3].sum(axis=1, keepdims=True), three, atol=1e-4)


def test_it_does_not_pretend_to_learn_from_a_teacher():
    features, labels = problem(3)
    soft = SoftTargetLoss(targets=np.zeros((160, 3), np.float32), temperature=2.0, weight=0.5)
    taught = [replace(fold, soft=soft) for fold in folds_of(features, labels)]
    with pytest.raises(StarshiftError, match="teacher"):
        lda.fit(taught, 3)


@pytest.mark.parametrize("width", [3, 50])
def test_one_picture_a_class_gives_finite_predictions_that_know_the_nearest(width):
    random = np.random.default_rng(0)
    features = (9 * random.normal(size=(4, width))).astype(np.float32)
    head = lda.LDA(features, np.arange(4), 4).head(0.5, 1.0)
    found = head.probabilities(features + random.normal(size=(4, width)).astype(np.float32))
    assert np.isfinite(found).all() and (found.argmax(axis=1) == np.arange(4)).all()


@pytest.mark.parametrize("width", [3, 50])
def test_features_that_never_vary_give_the_class_shares(width):
    labels = np.repeat([0, 1, 2], [9, 6, 3])
    folds = folds_of(np.ones((18, width), np.float32), labels)
    for head, fold in zip(lda.fit(folds, 3)[0], folds, strict=True):
        shares = np.bincount(fold.labels, minlength=3) / len(fold.labels)
        np.testing.assert_allclose(head.probabilities(fold.held_features)[0], shares, atol=1e-5)


@pytest.mark.parametrize("width", [3, 50])
def test_one_picture_in_all_gives_finite_predictions(width):
    features = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32)
    found = lda.LDA(features[:1], np.zeros(1, int), 3).head(0.1, 1.0).probabilities(features)
    assert np.isfinite(found).all() and (found.argmax(axis=1) == 0).all()
