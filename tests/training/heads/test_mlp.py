"""The dense head: its epoch is chosen on pictures set aside, never on the fold that it is judged on."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.training.heads import logistic_regression, mlp
from pipeline.training.soft_targets import SoftTargetLoss


def fold_of(pictures=120, classes=4, views=1, seed=0):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(pictures) % classes)
    rows = (random.normal(size=(classes, 6))[labels] + random.normal(size=(pictures, 6))).astype(np.float32)
    known = pictures * 3 // 4
    return logistic_regression.FoldFeatures(
        number=1,
        features=np.concatenate([rows[:known] + 100 * view for view in range(views)]),
        labels=np.tile(labels[:known], views),
        held_features=rows[known:],
        held_labels=labels[known:],
        views=views,
    )


def test_what_the_judged_fold_holds_changes_nothing_in_the_head_that_is_judged_on_it(monkeypatch):
    monkeypatch.setattr(mlp, "EPOCHS", 5)
    fold = fold_of()
    other = replace(fold, held_features=-fold.held_features, held_labels=(fold.held_labels + 1) % 4)
    (one,), history = mlp.fit([fold], 4, 0)
    (two,), again = mlp.fit([other], 4, 0)
    assert all(
        np.array_equal(a, b) for x, y in zip(one.layers, two.layers, strict=True) for a, b in zip(x, y, strict=True)
    )
    assert [record["inner_val_loss"] for record in history] == [record["inner_val_loss"] for record in again]
    (chosen,) = (record for record in history if record["chosen"])
    assert chosen["inner_val_loss"] == min(record["inner_val_loss"] for record in history)
    assert chosen["val_loss"] == logistic_regression.cross_entropy(
        one.probabilities(fold.held_features), fold.held_labels
    )


def test_a_tenth_of_every_class_is_set_aside_with_all_its_views_and_teachers():
    fold = fold_of(pictures=1600, views=3)
    fold = replace(fold, soft=SoftTargetLoss(targets=fold.features[:, :4], temperature=1.0, weight=0.5))
    part = mlp.split_validation(fold, 0)
    assert len(part.held_labels) == 120 and len(part.labels) == 3 * 1080
    shares = np.bincount(part.held_labels) / np.bincount(fold.labels[:1200])
    np.testing.assert_allclose(shares, 0.1, atol=0.005)
    views = part.features.reshape(3, 1080, 6)
    np.testing.assert_allclose(views[2] - 200, views[0], atol=1e-3)
    together = np.concatenate([views[0], part.held_features])
    assert len(np.unique(together, axis=0)) == 1200, "each picture is on one side"
    assert np.array_equal(part.soft.targets, part.features[:, :4])
    assert not np.array_equal(mlp.split_validation(fold, 1).held_features, part.held_features)


def test_three_pictures_are_enough_to_set_one_aside():
    part = mlp.split_validation(replace(fold_of(pictures=4, classes=2)), 5)
    assert (len(part.labels), len(part.held_labels)) == (2, 1)


def test_a_feature_that_the_training_pictures_do_not_vary_in_has_no_say(monkeypatch):
    monkeypatch.setattr(mlp, "EPOCHS", 5)
    fold = fold_of()
    features, held = (np.pad(one, ((0, 0), (0, 1))) for one in (fold.features, fold.held_features))
    head = mlp.fit([replace(fold, features=features, held_features=held)], 4, 0)[0][0]
    np.testing.assert_array_equal(head.probabilities(held + np.eye(7, dtype=np.float32)[6]), head.probabilities(held))


def test_a_single_training_picture_is_refused():
    fold = fold_of()
    with pytest.raises(StarshiftError, match="sets pictures aside"):
        mlp.fit([replace(fold, features=fold.features[:1], labels=fold.labels[:1])], 4, 0)
