"""A combination grows by gains beyond noise, and only by those."""

import itertools

import numpy as np
import pytest

from pipeline.ensemble.member_selection import CombinationScores, select_members

PICTURES = 100
"""Of a fold."""


def trials(value, members=3, noise=0.001, higher=True, seed=0):
    """Scores on 5 folds of every combination: `value` of the members, shared fold effects, noise of folds."""
    random = np.random.default_rng(seed)
    shared = np.repeat(random.normal(0, 0.02, 5), PICTURES)
    every = [frozenset(c) for k in range(1, members + 1) for c in itertools.combinations(range(members), k)]
    return scores_of(
        {c: value(c) + shared + random.normal(0, noise * PICTURES**0.5, 5 * PICTURES) for c in every},
        "auc" if higher else "log_loss",
    )


def scores_of(pictures, metric):
    """Scores of combinations whose parts of each picture are known."""
    fold_of = np.arange(len(next(iter(pictures.values())))) // PICTURES
    folds = {
        c: [float(values[fold_of == fold].mean()) for fold in np.unique(fold_of)] for c, values in pictures.items()
    }
    return CombinationScores(folds=folds, pictures=pictures, fold_of=fold_of, metric=metric)


def test_what_helps_is_added_and_what_hurts_is_refused():
    def value(members):
        return 0.8 * (0 in members) + 0.1 * (1 in members) - 0.05 * (2 in members)

    growth = select_members(trials(value))
    assert growth.winner == {0, 1} and growth.over_best is None
    assert [(step.member, step.decision, step.gain.verdict) for step in growth.steps] == [
        (1, "added", "better"),
        (2, "refused", "worse"),
    ]
    assert growth.steps[0].gain.estimate == pytest.approx(0.1, abs=0.01) and growth.steps[1].onto == {0, 1}


def test_what_is_within_noise_is_refused_though_it_seems_to_help():
    growth = select_members(trials(lambda members: 0.8 + 0.001 * len(members), noise=0.01))
    assert len(growth.winner) == 1
    assert {(step.decision, step.gain.verdict) for step in growth.steps} == {("refused", "within noise")}
    assert growth.over_best is None or growth.over_best.low <= 0


def test_with_a_loss_lower_is_better_and_gains_are_positive():
    def value(members):
        return 1.0 - 0.3 * (1 in members) - 0.1 * (2 in members)

    found = trials(value, higher=False)
    growth = select_members(found)
    assert growth.winner == {1, 2} and all(step.gain.estimate > 0 for step in growth.steps if step.decision == "added")
    assert found.ranked()[0] >= {1, 2} and found.gain(frozenset({1}), frozenset({0})).low > 0


def test_a_member_that_the_others_make_superfluous_is_let_go():
    def value(members):
        return 0.9 if members >= {1, 2} else 0.8 + 0.04 * len(members - {0}) if 0 in members else 0.5

    growth = select_members(trials(value))
    assert growth.winner == {1, 2}
    assert [step.decision for step in growth.steps][:3] == ["added", "added", "dropped"]


def test_members_that_help_only_together_are_found_as_every_combination_was_tried():
    growth = select_members(trials(lambda members: 0.95 if members >= {1, 2} else 0.8 if 0 in members else 0.3))
    assert growth.winner == {1, 2}


def test_a_useless_member_gains_nothing_though_the_best_of_many_has_it():
    gains = [trials(lambda m: 0.8, members=2, noise=0.01, seed=seed).with_and_without(0) for seed in range(200)]
    assert sum(gain.low > 0 for gain in gains) <= 10 and abs(np.mean([gain.estimate for gain in gains])) < 0.002
    real = trials(lambda m: 0.8 + 0.05 * (0 in m), members=5, noise=0.01).with_and_without(0)
    assert real.low > 0 and real.estimate == pytest.approx(0.05, abs=0.02)


def test_one_base_alone_is_the_winner():
    found = scores_of({frozenset([0]): np.arange(2 * PICTURES) % 2.0}, "accuracy")
    assert (
        select_members(found).winner == {0}
        and select_members(found).steps == []
        and found.with_and_without(0).estimate == 0
    )


def test_a_member_that_adds_one_picture_on_every_fold_is_refused_and_one_that_adds_two_is_added():
    alone, other, both = frozenset([0]), frozenset([1]), frozenset([0, 1])
    right = np.arange(5 * PICTURES) % PICTURES < 80
    for pictures, verdict in ((1, "refused"), (2, "added")):
        more = np.arange(5 * PICTURES) % PICTURES < 80 + pictures
        found = scores_of({alone: right * 1.0, other: right * 0.0, both: more * 1.0}, "accuracy")
        assert [step.decision for step in select_members(found).steps] == [verdict]
