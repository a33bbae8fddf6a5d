"""The specialist: it finds the pair, is asked only where the pair leads, and learns from no held-out label."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.ensemble import methods, pair_classifier
from pipeline.ensemble.log_linear import softmax
from pipeline.ensemble.pair_classifier import PairClassifierStep
from pipeline.evaluation.intervals import estimate_over_folds
from pipeline.evaluation.nested_cv import ChainedProcedure, FunctionProcedure, MemberPredictions, OOFPredictions


def confused(seed: int = 0, pictures: int = 600, told: float = 3.0) -> OOFPredictions:
    """Four classes, two of which (1 and 3) are hardly told apart but for features that do, as far as `told` says."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, pictures)
    scores = 4 * np.eye(4)[labels] + random.normal(size=(pictures, 4))
    pair = np.isin(labels, (1, 3))
    scores[pair, 1] = 4 + 0.8 * random.normal(size=pair.sum())
    scores[pair, 3] = 4 + 0.8 * random.normal(size=pair.sum())
    features = random.normal(size=(pictures, 12)).astype(np.float32)
    features[:, 0] += told * (labels == 3)
    part = MemberPredictions(softmax(scores)[None].astype(np.float32), features)
    return OOFPredictions(part=part, labels=labels, fold_of=np.arange(pictures) % 5, metric="micro_f1")


def gain_of(held: OOFPredictions) -> list[float]:
    first = FunctionProcedure(held, "the run", methods.fit_best_single)
    after = held.by_fold(ChainedProcedure(first, "pair specialist", PairClassifierStep()).out_of(held.folds))
    return list(np.subtract(after, held.by_fold(held.part.predictions[0])))


def test_the_most_confused_pair_is_found_whichever_is_taken_for_which():
    labels = np.array([0, 0, 1, 1, 2, 2, 2])
    guess = np.array([0, 2, 1, 2, 0, 0, 1])
    assert pair_classifier.find_confused_pair(labels, np.eye(3)[guess]) == (0, 2)
    assert pair_classifier.find_confused_pair(labels, np.eye(3)[[0, 0, 2, 2, 1, 2, 2]]) == (1, 2)


def test_it_helps_beyond_noise_where_features_tell_the_pair_apart():
    gain = gain_of(confused())
    assert np.mean(gain) > 0.1 and estimate_over_folds(gain, 0.2).low > 0


def test_it_gains_nothing_where_they_do_not():
    held = confused(told=0.0)
    assert estimate_over_folds(gain_of(held), 0.2).low <= 0
    assert abs(PairClassifierStep()(held).record()["trust"][2]) < 1, (
        "on its own pictures it would seem to be always right"
    )


def test_it_is_asked_only_where_the_pair_leads():
    held = confused()
    before = held.part.predictions[0].astype(np.float64)
    fitted = PairClassifierStep()(held)
    after = fitted.predict(held.part)
    asked = pair_classifier.is_likeliest_pair(before, (1, 3))
    assert fitted.record()["pair"] == [1, 3] and 0 < asked.sum() < len(asked)
    assert np.array_equal(before[~asked], after[~asked])
    assert np.allclose(before[:, [0, 2]], after[:, [0, 2]]) and np.allclose(after.sum(axis=1), before.sum(axis=1))
    assert (before.argmax(axis=1) != after.argmax(axis=1)).any()


def test_the_labels_of_a_fold_do_not_touch_what_is_predicted_for_it():
    held = confused(pictures=300)
    mine = held.fold_of == 4
    labels = np.where(mine, (held.labels + 2) % 4, held.labels)
    found = [
        ChainedProcedure(
            FunctionProcedure(one, "the run", methods.fit_best_single), "pair", PairClassifierStep()
        ).out_of(held.folds)
        for one in (held, replace(held, labels=labels))
    ]
    assert np.array_equal(found[0][mine], found[1][mine]) and not np.array_equal(found[0], found[1])


def test_without_features_there_is_no_specialist():
    held = confused()
    with pytest.raises(ValueError, match="features"):
        PairClassifierStep()(replace(held, part=MemberPredictions(held.part.predictions)))


def test_where_nothing_is_confused_nobody_is_trained_and_predictions_stay():
    held = confused()
    right = MemberPredictions(np.eye(4)[held.labels][None].astype(np.float32), held.part.features)
    fitted = PairClassifierStep()(replace(held, part=right))
    assert fitted.record() == {"not_tried": "nothing is confused"}
    assert np.array_equal(fitted.predict(right), right.predictions[0])


def test_a_class_that_is_never_true_or_that_lies_in_one_fold_has_no_specialist():
    held = confused(pictures=60)
    for keep in (held.labels != 3, (held.labels != 3) | (held.fold_of == 0)):
        part = replace(held, part=held.part.take(keep), labels=held.labels[keep], fold_of=held.fold_of[keep])
        assert pair_classifier.find_confused_pair(part.labels, part.part.predictions[0]) == (1, 3)
        assert "too few folds" in PairClassifierStep()(part).record()["not_tried"]
