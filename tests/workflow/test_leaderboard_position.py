"""Where a run would stand: its interval, and what it writes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Competition
from pipeline.kaggle.leaderboard import LEADERBOARDS, format_position
from pipeline.workflow import finish
from pipeline.workflow.finish import compute_metrics, estimate_position
from tests.written import MINE, probabilities

PETS = replace(MINE, data=None, slug="dogs-vs-cats-redux-kernels-edition", metric="binary_log_loss")


def a_run(folds):
    truth = np.arange(500) % 2
    fold = np.arange(500) // 2 % 5
    table = pd.DataFrame({"fold": fold})
    data = SimpleNamespace(
        pictures=SimpleNamespace(train=table, classes=["cat", "dog"]), labels=truth, fold_of=table["fold"].to_numpy()
    )
    data.positive, data.group_of, data.unreadable = 1, np.arange(500), []
    oof = probabilities(truth, 2, 3.5)
    oof[~np.isin(fold, folds)] = np.nan
    trained = SimpleNamespace(folds=folds, oof=oof, oof_views={})
    return compute_metrics(PETS, data, trained)


def test_several_folds_give_an_interval_around_their_mean():
    results = a_run((0, 1, 2, 3, 4))
    found = estimate_position(PETS, results, 500)
    assert found.score == pytest.approx(np.mean(results["folds"])) and 0 <= found.low < found.score < found.high
    assert found.best_rank <= found.rank <= found.worst_rank and found.best_rank < found.worst_rank


def test_one_fold_is_as_sure_as_its_pictures_allow():
    results = a_run((2,))
    found = estimate_position(PETS, results, 500)
    assert np.isfinite([found.low, found.high]).all() and found.low < found.score < found.high


def test_ones_own_pictures_have_no_leaderboard_and_neither_has_another_metric():
    results = a_run((2,))
    assert estimate_position(MINE, results, 500) is None
    assert estimate_position(replace(PETS, metric="accuracy"), results, 500) is None


def test_the_last_words_of_a_run_say_where_it_would_stand(caplog):
    caplog.set_level("INFO")
    competition: Competition = PETS
    results = a_run((0, 1))
    results |= {"score": 0.0421, "seconds": 1.0, "peak_megabytes": 1.0}
    finish.log_summary(competition, results, [], estimate_position(competition, results, 500))
    assert "of 1,314 on the final leaderboard" in caplog.text and "Kaggle gives 25,000" in caplog.text
    caplog.clear()
    finish.log_summary(MINE, results, [])
    assert "leaderboard" not in caplog.text


def test_pictures_that_all_score_the_same_do_not_make_a_place_certain():
    found = estimate_position(PETS, {"score": 0.6931, "interval": None}, 500)
    assert found.low is None and "is not known" in format_position(found)[0]


def test_a_share_of_right_pictures_is_placed_at_1_at_most():
    board = LEADERBOARDS["plant-seedlings-classification"]
    seedlings = replace(PETS, slug="plant-seedlings-classification", metric=board.metric)
    found = estimate_position(seedlings, {"score": 0.99, "interval": [0.98, 1.01]}, 500)
    assert found.low == 0.98 and found.high == 1


@pytest.mark.parametrize(("score", "chance"), [(0.5, 0.5), (0.4, 0.5)])
@pytest.mark.parametrize("metric", ["accuracy", "auc", "log_loss"])
def test_a_run_that_is_no_better_than_chance_is_said_to_be_and_not_sent_to_fine_tuning(metric, score, chance, caplog):
    caplog.set_level("INFO")
    score, chance = (1 - score, 1 - chance) if metric == "log_loss" else (score, chance)
    results = {"score": score, "spread": None, "folds": [score], "chance": chance, "seconds": 1.0}
    finish.log_summary(replace(MINE, metric=metric), {**results, "peak_megabytes": None}, [])
    assert "no better than chance" in caplog.text and "next: invoke audit --comp mine" in caplog.text
    assert "--strategy" not in caplog.text


def test_the_last_words_name_no_memory_where_none_was_measured(caplog):
    caplog.set_level("INFO")
    results = {"score": 0.9, "spread": None, "folds": [0.9], "chance": 0.5, "seconds": 1.0}
    finish.log_summary(MINE, {**results, "peak_megabytes": None}, [])
    assert "1.0 s\n" in caplog.text and "memory" not in caplog.text
