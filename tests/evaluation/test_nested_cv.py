"""The nest: what is judged has never seen the fold that it is judged on, choices and all."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.ensemble import calibration, methods
from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import estimate_over_folds
from pipeline.evaluation.nested_cv import (
    ChainedProcedure,
    FunctionProcedure,
    MemberPredictions,
    OneStandardErrorRule,
    OOFPredictions,
)


def noise(seed: int, members: int, pictures: int = 500, classes: int = 2, metric: str = "accuracy") -> OOFPredictions:
    """Members that know nothing of the labels."""
    random = np.random.default_rng(seed)
    return OOFPredictions(
        part=MemberPredictions(random.dirichlet(np.ones(classes), (members, pictures)).astype(np.float32)),
        labels=random.integers(0, classes, pictures),
        fold_of=np.arange(pictures) % 5,
        metric=metric,
    )


def everything(held: OOFPredictions, names=tuple(methods.METHODS)) -> OneStandardErrorRule:
    return OneStandardErrorRule(
        held, "ensemble", [FunctionProcedure(held, name, methods.METHODS[name]) for name in names]
    )


def test_runs_of_pure_noise_report_no_gain_though_they_fit_the_pictures_they_are_fitted_on():
    gains, flattered = [], []
    for seed in range(4):
        held = noise(seed, members=8, pictures=250)
        chosen = everything(held, ("best single", "mean", "weights", "greedy selection"))
        gains.append(np.subtract(held.by_fold(chosen.out_of(held.folds)), 0.5))
        flattered.append(held.score(methods.fit_greedy(held).predict(held.part)) - 0.5)
    assert np.mean(flattered) > 0.03, "judged on the pictures that they were fitted on, they seem to know something"
    for gain in gains:
        assert estimate_over_folds(list(gain), 0.2).low < 0
    assert np.mean(gains) < 0.02


@pytest.mark.parametrize("metric", ["log_loss", "micro_f1"])
def test_the_labels_of_a_fold_do_not_touch_what_is_predicted_for_it(metric):
    held = noise(7, members=4, pictures=150, classes=3, metric=metric)
    shuffled = held.labels.copy()
    mine = held.fold_of == 2
    shuffled[mine] = (shuffled[mine] + 1) % 3
    step = calibration.fit_vector_scaling if metric == "log_loss" else calibration.fit_class_priors
    found = []
    for labels in (held.labels, shuffled):
        chain = ChainedProcedure(everything(replace(held, labels=labels)), "step", step)
        found.append(chain.out_of(held.folds))
    assert np.array_equal(found[0][mine], found[1][mine])
    assert not np.array_equal(found[0][~mine], found[1][~mine])


def test_fits_are_remembered_by_their_folds():
    held, fits = noise(1, members=3), []

    def counted(part: OOFPredictions):
        fits.append(frozenset(part.folds))
        return methods.fit_mean(part)

    chain = ChainedProcedure(
        OneStandardErrorRule(held, "chosen", [FunctionProcedure(held, "mean", counted)]),
        "temperature",
        calibration.fit_temperature,
    )
    chain.out_of(held.folds)
    chain.on(held.folds)
    assert len(fits) == len(set(fits)) <= 2**5


def test_of_several_that_do_about_as_well_the_first_is_taken():
    held = noise(3, members=1)
    names = ("mean", "geometric mean", "best single")
    assert everything(held, names).on(held.folds).record()["method"] == "mean"
    assert everything(held, names[::-1]).on(held.folds).record()["method"] == "best single"
    held = next(one for seed in range(20) if (one := noise(seed, members=2)) and second_leads(one))
    two = [
        FunctionProcedure(held, name, methods.build_best_of([number]))
        for number, name in enumerate(("first", "second"))
    ]
    assert OneStandardErrorRule(held, "chosen", two).on(held.folds).record()["method"] == "first"


def second_leads(held: OOFPredictions) -> bool:
    """Whether the second member scores better, by less than a standard error."""
    first, second = (np.array(held.by_fold(values)) for values in held.part.predictions)
    return 0 < np.mean(second - first) < 0.9 * np.std(second - first, ddof=1) / np.sqrt(5)


def test_one_that_does_better_is_taken_wherever_it_stands():
    held = noise(3, members=2)
    right = np.eye(2)[held.labels] * 0.6 + 0.2
    held = replace(held, part=MemberPredictions(np.stack([held.part.predictions[0], right])))
    assert everything(held, ("mean", "best single")).on(held.folds).record()["method"] == "best single"


@pytest.mark.parametrize("metric", ["log_loss", "micro_f1", "accuracy", "auc"])
def test_scores_by_fold_are_the_metric_s(metric):
    held = noise(5, members=1, classes=2 if metric == "auc" else 4, metric=metric)
    values = held.part.predictions[0]
    each = [metrics.score(metric, held.labels[rows], values[rows]) for rows in (held.fold_of == f for f in range(5))]
    assert held.by_fold(values) == pytest.approx(each, rel=1e-12)


def test_a_method_behind_by_a_picture_on_two_folds_of_five_is_within_an_error_of_the_best():
    labels = np.arange(100) % 2
    fold_of = np.arange(100) // 20
    right = np.eye(2)[labels]
    behind = np.where(np.isin(np.arange(100), (0, 20))[:, None], 1 - right, right)
    held = OOFPredictions(
        part=MemberPredictions(np.stack([behind, right])), labels=labels, fold_of=fold_of, metric="accuracy"
    )
    among = [
        FunctionProcedure(held, name, methods.build_single(number)) for number, name in enumerate(("behind", "best"))
    ]
    assert OneStandardErrorRule(held, "method", among).on(held.folds).record()["method"] == "behind"
