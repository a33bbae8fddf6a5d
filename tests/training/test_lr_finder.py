"""The range test: it suggests a rate that learns, draws it, and leaves the weights as they were."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.models.small_cnn import build_small_cnn
from pipeline.training import fold_worker, lr_finder
from pipeline.training.fold_data import FoldData


def test_it_leaves_the_weights_as_they_were(job_of):
    data = FoldData(job_of("augmented"))
    model = build_small_cnn(32, 2, 0.5)
    before = [variable.numpy() for variable in model.variables]
    source = data.pictures("plain")
    found = lr_finder.run_range_test(data.trainer(model, source, source, stage="rate"), steps=30)
    for one, two in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(one, two.numpy())
    assert 1e-7 <= found.suggested < 1 and len(found.rates) == len(found.losses) > 3


def test_a_job_that_looks_for_the_rate_writes_and_draws_it_and_trains_nothing(job_of):
    job = replace(job_of("finetune", unfreeze="conv_pw_2", cached_views=1), find_learning_rate=True)
    fold_worker.run_fold_job(job, "a test")
    found = json.loads(job.stem.with_suffix(".lr.json").read_text())
    assert found["suggested"] > 0
    assert job.stem.with_suffix(".lr.png").read_bytes().startswith(b"\x89PNG") and not job.model.exists()


def test_the_suggestion_lies_below_the_lowest_loss_and_where_it_falls():
    rates = np.geomspace(1e-6, 1, 100)
    fall = 1 - 0.8 / (1 + np.exp(-3 * (np.log10(rates) + 3)))
    losses = list(fall + np.where(rates > 0.05, 20 * (rates - 0.05), 0))
    assert 3e-4 < lr_finder.suggest_learning_rate(rates, losses) < 5e-3


def test_where_nothing_falls_the_suggestion_lies_below_the_rise():
    rates = np.geomspace(1e-7, 1e-2, 90)
    noise = np.random.default_rng(0).normal(0, 0.02, 90)
    losses = list(0.2 + noise + np.where(rates > 1e-3, 500 * (rates - 1e-3), 0))
    losses[0] = 0.1
    assert 1e-4 < lr_finder.suggest_learning_rate(rates, losses) < 1e-3


@pytest.mark.parametrize("noise", [0.02, 0.06, 0.15])
def test_noise_of_the_first_steps_is_not_taken_for_the_fall(noise):
    rates = np.geomspace(1e-7, 1, 120)
    course = 1 - 0.7 / (1 + np.exp(-3 * (np.log10(rates) + 3))) + np.where(rates > 0.05, 20 * (rates - 0.05), 0)
    memory = lr_finder.SMOOTHING
    for seed in range(40):
        average, losses = 0.0, []
        for step, loss in enumerate(course + np.random.default_rng(seed).normal(0, noise, 120)):
            average = memory * average + (1 - memory) * loss
            losses.append(average / (1 - memory ** (step + 1)))
        assert 1e-4 < lr_finder.suggest_learning_rate(rates, losses) < 1e-2, seed
