"""A run made of others answers for new pictures as it did for the test pictures."""

import json

import numpy as np
import pytest

from pipeline.ensemble import ensemble_predictor, methods
from pipeline.ensemble.calibration import CORRECTIONS
from pipeline.ensemble.ensemble_predictor import EnsemblePredictor, find_weighed, read_fitted
from pipeline.errors import StarshiftError
from pipeline.evaluation.nested_cv import EstimatorChain, MemberPredictions, OOFPredictions
from pipeline.files import read_json, write_json
from pipeline.runs.predictor import RunPredictor
from tests.written import probabilities, written

TRUTH = np.arange(400) % 4


@pytest.fixture
def members(home):
    """Folders of three runs with predictions, the last of chance."""
    return [written(sure=sure, seed=seed) for seed, sure in enumerate((2.0, 1.0, 0.0))]


@pytest.fixture
def oof():
    values = [probabilities(TRUTH, 4, sure, seed) for seed, sure in enumerate((2.0, 1.0, 0.0))]
    return OOFPredictions.build(values, TRUTH, np.arange(400) % 5, "log_loss", None)


def draw_new():
    return MemberPredictions(np.stack([probabilities(TRUTH[:20], 4, 1.5, seed) for seed in (7, 8, 9)]))


@pytest.mark.parametrize("name", [name for name in methods.METHODS if name not in methods.RANK_METHODS])
def test_a_fitted_method_is_read_back_from_its_record(name, oof, members):
    fitted = methods.METHODS[name](oof)
    record = json.loads(json.dumps({"method": name, **fitted.record()}))
    again = read_fitted(record, members, list("abcd"))
    np.testing.assert_allclose(again.predict(draw_new()), fitted.predict(draw_new()), atol=1e-7)


@pytest.mark.parametrize("name", list(CORRECTIONS))
def test_a_fitted_correction_is_read_back_from_its_record(name, oof, members):
    first = methods.fit_mean(oof)
    corrected = OOFPredictions.build([first.predict(oof.part)], oof.labels, oof.fold_of, "log_loss", None)
    chain = EstimatorChain(first, CORRECTIONS[name](corrected))
    again = read_fitted(json.loads(json.dumps(chain.record())), members, list("abcd"))
    np.testing.assert_allclose(again.predict(draw_new()), chain.predict(draw_new()), atol=1e-7)


def test_ranks_are_those_among_the_members_own_predictions(members):
    again = read_fitted({"method": "rank mean", "ranked_among": 400}, members[:1], list("abcd"))
    known = np.sort(probabilities(TRUTH, 4, 2.0, 0)[:, 0])
    middle = np.full((1, 1, 4), known[200], np.float32)
    assert again.predict(MemberPredictions(middle))[0, 0] == pytest.approx(0.25, abs=0.3)
    assert again.sorted.shape == (1, 4, 400)


def test_a_step_that_compares_pictures_cannot_be_asked_and_says_so(members):
    with pytest.raises(StarshiftError, match="cannot take alone"):
        read_fitted({"first": {"weights": [1.0, 0.0, 0.0]}, "step": {"pair": [0, 1]}}, members, list("abcd"))


def test_a_member_without_weight_is_not_loaded(members, monkeypatch):
    record = {"first": {"method": "weights", "weights": [0.75, 0.25, 0.0]}, "step": {"weights": [1.5]}}
    assert find_weighed(record, 3) == [True, True, False]
    folder = written(sure=3.0, seed=5)
    made_of = [{"run": one.name} for one in members]
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "made_of": made_of, "fitted": record})
    answers = iter(draw_new().predictions)

    def load(path):
        value = next(answers)
        return RunPredictor(classes=tuple("abcd"), sizes=(32,), views=("plain",), extract=dict,
                            classify=lambda pixels, features: value)  # fmt: skip

    monkeypatch.setattr(ensemble_predictor.predictor, "load_predictor", load)
    loaded = ensemble_predictor.load_any_predictor(folder)
    assert isinstance(loaded, EnsemblePredictor) and [one is None for one in loaded.members] == [False, False, True]
    pixels = {32: np.zeros((20, 32, 32, 3), np.uint8)}
    mixed = np.einsum("m,mnc->nc", [0.75, 0.25], draw_new().predictions[:2]) ** 1.5
    np.testing.assert_allclose(loaded.predict(pixels, ["0"] * 20), mixed / mixed.sum(axis=1, keepdims=True), atol=1e-5)
