"""Selects which members belong together: forward selection from the best one, only by gains beyond noise.

The scores of all combinations are known already. Gains are positive where the metric gets better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.evaluation.intervals import Interval, estimate_paired_difference
from pipeline.evaluation.metrics import find_metric

Members = frozenset[int]


@dataclass(frozen=True)
class CombinationScores:
    """What each combination scored.

    Args:
        folds: the metric on each fold, by combination; all of them, or at least all that are asked for.
        pictures: each picture's part in the metric (pictures,), by combination; see `metrics.compute_influences`.
        fold_of: (pictures,) int, in the order of `folds`' entries.
        metric: its name.
        group_of: (pictures,) see OOFPredictions.
    """

    folds: Mapping[Members, Sequence[float]]
    pictures: Mapping[Members, np.ndarray]
    fold_of: np.ndarray
    metric: str
    group_of: np.ndarray | None = None

    @property
    def sign(self) -> int:
        """The factor that makes larger scores better ones."""
        return find_metric(self.metric).sign

    def mean(self, members: Members) -> float:
        """Returns the metric's mean over folds."""
        return float(np.mean(self.folds[members]))

    def worth(self, members: Members) -> float:
        """Returns the mean, its sign turned where lower is better."""
        return self.mean(members) * self.sign

    def ranked(self) -> list[Members]:
        """Sorts all combinations, the best first; of two that score the same the smaller one."""
        return sorted(self.folds, key=lambda members: (-self.worth(members), len(members), sorted(members)))

    def gain(self, after: Members, before: Members) -> Interval:
        """Estimates the gain of `after` over `before`."""
        return self._estimate(self.pictures[after] - self.pictures[before])

    def with_and_without(self, member: int) -> Interval:
        """Estimates the gain of the best combination with a member over the best one without it.

        Both are picked, for each fold, by the other folds, so that neither is flattered by having been picked.
        """
        table = np.array(list(self.folds.values())) * self.sign
        has = np.array([member in members for members in self.folds])
        others = (table.sum(axis=1, keepdims=True) - table) / max(1, table.shape[1] - 1)
        best = [np.where(side, others.T, -np.inf).argmax(axis=1) for side in (has, ~has)]
        rows = np.searchsorted(np.unique(self.fold_of), self.fold_of), np.arange(len(self.fold_of))
        every = np.stack(list(self.pictures.values()))
        return self._estimate(every[best[0][rows[0]], rows[1]] - every[best[1][rows[0]], rows[1]])

    def _estimate(self, values: np.ndarray) -> Interval:
        counts = find_metric(self.metric).counts_correct
        return estimate_paired_difference(self.sign * values, self.group_of, counts_correct=counts)


@dataclass(frozen=True)
class SelectionStep:
    """One member that was tried on what had grown so far.

    Args:
        member: its number.
        gain: what it added; for one that was taken away again, what it had added to the rest.
        decision: `added`, `refused` or `dropped`.
        onto: what it was tried on.
    """

    member: int
    gain: Interval
    decision: str
    onto: Members


@dataclass(frozen=True)
class SelectionHistory:
    """How a combination grew.

    Args:
        winner: the members in the end.
        steps: in their order.
        over_best: what the best of all combinations is better by than the winner; None where it is the winner.
    """

    winner: Members
    steps: list[SelectionStep] = field(default_factory=list)
    over_best: Interval | None = None


def select_members(trials: CombinationScores) -> SelectionHistory:
    """Grows from the best single member, then lets go of those that have become superfluous.

    Where the best of all combinations is still better beyond noise, growing starts from that one instead.
    """
    members = frozenset().union(*trials.folds)
    start = max((frozenset([member]) for member in members), key=lambda one: (trials.worth(one), -min(one)))
    grown = _add_members(trials, members, SelectionHistory(start))
    best = trials.ranked()[0]
    if best != grown.winner and trials.gain(best, grown.winner).is_positive:
        grown = SelectionHistory(best)
    grown = _add_members(trials, members, _drop_members(trials, grown))
    steps = grown.steps + _try_candidates(trials, grown.winner, members - grown.winner)
    return SelectionHistory(grown.winner, steps, None if best == grown.winner else trials.gain(best, grown.winner))


def _try_candidates(trials: CombinationScores, onto: Members, candidates: Members) -> list[SelectionStep]:
    """Computes the gain of adding each candidate, the largest first."""
    result = []
    for member in sorted(candidates):
        gain = trials.gain(onto | {member}, onto)
        result.append(SelectionStep(member, gain, "added" if gain.is_positive else "refused", onto))
    return sorted(result, key=lambda step: -step.gain.estimate)


def _add_members(trials: CombinationScores, members: Members, grown: SelectionHistory) -> SelectionHistory:
    """Adds, one after the other, the member that gains most beyond noise."""
    winner, steps = grown.winner, list(grown.steps)
    while True:
        good = [step for step in _try_candidates(trials, winner, members - winner) if step.gain.is_positive]
        if not good:
            return SelectionHistory(winner, steps)
        steps.append(good[0])
        winner |= {good[0].member}


def _drop_members(trials: CombinationScores, grown: SelectionHistory) -> SelectionHistory:
    """Takes away, the least first, members whose loss would not be beyond noise."""
    winner, steps = grown.winner, list(grown.steps)
    while len(winner) > 1:
        losses = [(trials.gain(winner, winner - {member}), member) for member in sorted(winner)]
        gain, member = min(losses, key=lambda one: one[0].estimate)
        if gain.is_positive:
            break
        winner -= {member}
        steps.append(SelectionStep(member, gain, "dropped", winner))
    return SelectionHistory(winner, steps)
