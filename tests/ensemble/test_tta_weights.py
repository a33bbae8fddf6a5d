"""Views weighed: noise gets nothing, equals stay alike, and gains are those of folds that were not seen."""

import numpy as np
import pytest

from pipeline.ensemble import methods
from pipeline.evaluation.nested_cv import MemberPredictions, OOFPredictions
from pipeline.experiments import tta
from pipeline.experiments.tta import select_weighting
from pipeline.models.heads import softmax

NAMES = ["plain", "flip", "rotate90"]


def held(sharpness, pictures=300, classes=3, seed=0, metric="log_loss"):
    """Views that know the truth by so much, each with noise of its own."""
    random = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    seen = [softmax(one * np.eye(classes)[labels] + random.normal(0, 1, (pictures, classes))) for one in sharpness]
    return OOFPredictions(
        part=MemberPredictions(np.stack(seen)), labels=labels, fold_of=np.arange(pictures) // 3 % 5, metric=metric
    )


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_views_that_are_noise_lose_their_weight(metric):
    tried, weights = select_weighting(held([2.5, 0, 0], metric=metric), NAMES)
    assert weights["plain"] > 0.7 and sum(weights.values()) == pytest.approx(1)
    kept = next(step for step in tried if step.kept)
    assert kept.name != tta.EQUAL_WEIGHTS and kept.gain.low > 0


def test_views_that_are_as_good_as_each_other_stay_alike():
    chosen = [select_weighting(held([1.5, 1.5, 1.5], seed=seed), NAMES)[1] for seed in range(12)]
    assert sum(weights == pytest.approx(dict.fromkeys(NAMES, 1 / 3)) for weights in chosen) >= 11


def test_the_rest_shares_what_plain_leaves_and_the_worst_is_left_out():
    fitted = tta.fit_first_against_rest(held([2.5, 1, 1]))
    assert fitted.weights[0] > 1 / 3 and fitted.weights[1] == fitted.weights[2] and fitted.weights.sum() == 1
    assert list(tta.fit_without_worst(held([2, 2, -1])).weights) == [0.5, 0.5, 0]
    assert list(methods.build_single(0)(held([1, 1])).weights) == [1, 0]


def test_a_view_is_worth_what_the_mean_loses_without_it():
    found = tta.score_views(held([1.5, 1.5, 0]), NAMES)
    assert [one.name for one in found] == NAMES and len(found[0].folds) == 5
    assert found[0].gain.low > 0 and found[1].gain.low > 0 and found[2].gain.high < 0
