"""The runs of a competition told: one table a metric, the best first, and what Kaggle's answers say of the scores."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.kaggle.answers import Answer
from pipeline.predict.intervals import between, over_seeds
from pipeline.predict.metrics import higher_is_better
from pipeline.report.table import lines

log = logging.getLogger(__name__)
HEADER = ("", "run", "score", "accuracy", "rung", "bases", "folds", "seconds", "top %", "public", "private", "state",
          "recipe")  # fmt: skip
ALWAYS = 8
RIGHT = ("", "accuracy", "folds", "seconds", "top %", "public", "private")
MADE = ("ensemble", "finish")
"""Rungs of runs that were made of others."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One run folder.

    Args:
        run: the folder's name.
        handle: the shortest name that finds it: when it started (UTC), where no other run started in that second.
        state: `finished`, `debug` (a few pictures only) or `unfinished` (interrupted, or running now).
        metric: that its score is in.
        score: mean over the folds; None where it is unfinished.
        spread: sample deviation over the folds; None where there is one.
        accuracy: mean over the folds.
        rung: the way of training.
        bases: as the recipe names them.
        folds: that were trained.
        of_folds: how many there are.
        seconds: of the whole run, caches as they were.
        fingerprint: of everything that decides the result.
        recipe: flat, by dotted name.
        answer: Kaggle's, where the run was submitted.
        top: percent of the final leaderboard's teams that its score would be among.
        split: SHA-256 of which picture lies in which fold; empty where that is not kept.
    """

    run: str
    handle: str
    state: str
    metric: str
    score: float | None
    spread: float | None
    accuracy: float | None
    rung: str
    bases: tuple[str, ...]
    folds: tuple[int, ...]
    of_folds: int
    seconds: float | None
    fingerprint: str
    recipe: dict[str, Any] = field(default_factory=dict)
    answer: Answer | None = None
    top: float | None = None
    split: str = ""


def ordered(found: Sequence[Listed], metric: str) -> list[Listed]:
    """The best first; debug and unfinished runs, whose scores mean nothing, last."""
    sign, states = -1 if higher_is_better(metric) else 1, ("finished", "debug", "unfinished")
    return sorted(found, key=lambda one: (states.index(one.state), sign * (one.score or 0.0), one.run))


def told(name: str, found: Sequence[Listed], own: str | None = None) -> None:
    """Prints the runs, one table a metric.

    Args:
        name: of the competition.
        found: its runs, in any order.
        own: the competition's own metric, which comes first.
    """
    for metric in sorted({one.metric for one in found}, key=lambda each: (each != own, each)):
        chosen = ordered([one for one in found if one.metric == metric], metric)
        best = "the highest" if higher_is_better(metric) else "the lowest"
        log.info("")
        log.info("%s, %d runs, %s %s first; each is named by its start (UTC)", name, len(chosen), best, metric)
        for line in table(chosen):
            log.info("%s", line)
        for line in conclusions(chosen):
            log.info("%s", line)


def table(found: Sequence[Listed]) -> list[str]:
    """The header and a line a run; Kaggle's scores where there are any, and what sets the recipes apart."""
    most = usual(found)
    rows = []
    for number, one in enumerate(found, start=1):
        answer = one.answer or Answer()
        done = one.state == "finished"
        rows.append([
            str(number) if done else "", one.handle, score(one), value(one.accuracy, ".1%"), one.rung,
            bases(one), folds(one), value(one.seconds, ",.0f"),
            value(one.top, ".1f"), value(answer.public, ".5f"), value(answer.private, ".5f"), "" if done else one.state,
            settings(one, most),
        ])  # fmt: skip
    kept = [column for column in range(len(HEADER)) if column < ALWAYS or any(row[column] for row in rows)]
    return lines([HEADER[c] for c in kept], [[row[c] for c in kept] for row in rows], RIGHT)


def score(one: Listed) -> str:
    """The score with its spread over folds, or alone where there is one fold."""
    return value(one.score, ".5f") + (f" ± {one.spread:.5f}" if one.spread is not None else "")


def value(number: float | None, form: str) -> str:
    """A number as `form` says, or nothing."""
    return "" if number is None else format(number, form)


def folds(one: Listed) -> str:
    """How many folds of how many, or the number of the only one."""
    if one.of_folds == 1:
        return "held out"
    return f"fold {one.folds[0]}/{one.of_folds}" if len(one.folds) == 1 else f"{len(one.folds)}/{one.of_folds}"


def bases(one: Listed) -> str:
    """The bases' names; of more than three the first two, and how many more."""
    names = [short(base) for base in one.bases]
    return ", ".join(names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"])


def short(base: str) -> str:
    """A base's name without the path of its weights, and with the beginning of the name of its directions."""
    name, _, weights = base.partition("=")
    named = re.sub(r":([0-9a-f]{4})[0-9a-f]{12}$", r":\1", name)
    return f"{named}=file" if "/" in weights else f"{named}={weights}" if weights else named


def usual(found: Sequence[Listed]) -> dict[str, str]:
    """What most runs say of the fields of the recipe on which they differ, but for those that have their own column.

    Of a training field that is the rung's default, which every rung has its own of.
    """
    names = {name for one in found for name in one.recipe} - {"rung", "bases", "folds"}
    said = {name: Counter(repr(one.recipe[name]) for one in found if name in one.recipe) for name in sorted(names)}
    return {
        name: repr(None) if name.startswith("training.") else counts.most_common(1)[0][0]
        for name, counts in said.items()
        if len(counts) > 1
    }


def settings(one: Listed, most: Mapping[str, str]) -> str:
    """The fields of a recipe that are not as in most runs; of a list of more than two its length.

    Nothing of a run that was made of others: they have their own.
    """
    if one.rung in MADE:
        return ""
    said = []
    for name, common in most.items():
        idle = name.startswith("training.") and one.rung == "features"  # nothing there is trained in epochs
        if idle or name not in one.recipe or repr(one.recipe[name]) == common:
            continue
        setting = one.recipe[name]
        if isinstance(setting, (list, tuple)):
            setting = f"({len(setting)})" if len(setting) > 2 else "+".join(map(str, setting))
        said.append(f"{name.rpartition('.')[2]}={'default' if setting is None else setting}")
    return " ".join(said)


def conclusions(found: Sequence[Listed]) -> list[str]:
    """What to think of the order, what Kaggle's answers say, and what to do next."""
    said = []
    finished = [one for one in found if one.state == "finished"]
    distinct = list({one.fingerprint: one for one in reversed(finished)}.values())[::-1]
    if len({(one.folds, one.of_folds, one.split) for one in finished}) > 1:
        said.append(
            "not all were scored on the same folds, pictures and labels: small differences between those mean nothing"
        )
    pairs = [(one.score, one.answer.final) for one in distinct if one.answer and one.answer.final is not None]
    if len(pairs) > 1:
        said.append(agreement(*zip(*pairs, strict=True)))  # type: ignore[arg-type]
    others = [one for one in distinct if one.score != distinct[0].score]
    if others:
        said.append("the first of many is flattered by having been picked")
        said.append(f"next: invoke compare {others[0].handle} {distinct[0].handle}: is the difference noise?")
    return said


def agreement(validated: Sequence[float], answered: Sequence[float]) -> str:
    """How far cross-validation and the leaderboard agree on the order of runs, and how far apart they are.

    The rank correlation is Spearman's (1904, Am. J. Psychol. 15, 72-101): 1 is the same order, -1 the opposite one.
    The offset is leaderboard - cross-validation, the mean over the runs with Student's interval.

    Args:
        validated: cross-validated scores, at least two.
        answered: Kaggle's, in the same order.
    """
    from scipy.stats import spearmanr

    offset = over_seeds(list(np.subtract(answered, validated)))
    same = len(set(validated)) > 1 and len(set(answered)) > 1
    order = f"rank correlation {spearmanr(validated, answered).statistic:+.2f}" if same else "all the same on one side"
    return (
        f"leaderboard against cross-validation, {len(validated)} runs: {order}, offset {offset.estimate:+.5f}"
        f" (95 % interval {between(offset, '+.5f')})"
    )
