"""Two runs held against each other: what differs in how they were made, and what that did to the same pictures."""

from typing import Any

import numpy as np

from pipeline import runs
from pipeline.errors import StarshiftError
from pipeline.ledger import listing
from pipeline.ledger.reading import Run, found, opened
from pipeline.predict import intervals, metrics, resampling
from pipeline.predict.by_class import changes_of
from pipeline.report.compared import Compared, Pictures, Side, told

AUC_SAMPLES = 300
"""Fewer than for the other metrics, whose value for a picture need not be computed again."""


def compare(before: str, after: str, comp: str | None = None) -> Compared:
    """Compares two runs and prints what was found.

    Args:
        before: a folder's name, the beginning of one, or a path.
        after: the same.
        comp: the competition whose runs these are; None looks through all.
    """
    first, second = (opened(found(text, comp)) for text in (before, after))
    compared = held_against(first, second)
    told(compared)
    return compared


def held_against(before: Run, after: Run) -> Compared:
    """Two runs on the pictures that both held out.

    Raises:
        StarshiftError: there are none, or the classes are not the same.
    """
    common = [name for name in before.held if name in after.held]
    if before.classes != after.classes or not common:
        raise StarshiftError(
            "The two runs have no pictures in common." if not common else "The two runs tell other classes apart.",
            expected="two runs of one competition",
            received=" and ".join(
                f"{run.folder.parent.name}/{run.folder.name}: {len(run.held):,} held-out pictures,"
                f" {len(run.classes)} classes"
                for run in (before, after)
            ),
        )
    same = [name for name in common if before.label[name] == after.label[name]]
    truth = np.searchsorted(before.classes, [before.label[name] for name in same])
    first, second = (np.stack([run.held[name] for name in same]) for run in (before, after))
    metric = str(before.results["metric"])
    pooled = [metrics.score(metric, truth, values, before.positive) for values in (first, second)]
    return Compared(
        before=side(before, pooled[0]),
        after=side(after, pooled[1]),
        metric=metric,
        higher=metrics.higher_is_better(metric),
        differing=differing(before, after),
        pictures=Pictures(
            common=len(same),
            relabelled=len(common) - len(same),
            moved=sum(before.fold[name] != after.fold[name] for name in same),
            identical=bool(np.array_equal(first, second)),
        ),
        difference=difference(metric, truth, first, second, before.positive),
        by_fold=by_fold(before, after, [before.fold[name] == after.fold[name] for name in same]),
        right=intervals.paired(truth, first.argmax(axis=1), second.argmax(axis=1)),
        changes=changes_of(before.classes, truth, first.argmax(axis=1), second.argmax(axis=1)),
    )


def side(run: Run, pooled: float) -> Side:
    """One run's own numbers."""
    one = listing.read(run.folder, run.folder.name)
    return Side(
        listed=one, pictures=len(run.held), pooled=pooled, commit=str(run.environment.get("commit") or "not recorded")
    )


def differing(before: Run, after: Run) -> list[tuple[str, Any, Any]]:
    """The fields that differ, (name, before, after): of the configuration, and of where it ran. Nothing is None."""
    sides = []
    for run in (before, after):
        config = runs.flat({name: value for name, value in run.config.items() if name != "fingerprint"})
        ran = {name: value for name, value in runs.flat(run.environment).items() if name != "seed"}
        sides.append({name.removeprefix("competition."): value for name, value in {**config, **ran}.items()})
    names = dict.fromkeys([*sides[0], *sides[1]])
    pairs = [(name, sides[0].get(name), sides[1].get(name)) for name in names]
    return [(name, one, other) for name, one, other in pairs if one != other]


def difference(
    metric: str, truth: np.ndarray, before: np.ndarray, after: np.ndarray, positive: int | None
) -> intervals.Interval:
    """The metric's difference, after - before, by drawing the pictures again.

    Args:
        metric: its name.
        truth: classes (n,) int.
        before: probabilities (n, classes).
        after: probabilities (n, classes).
        positive: for auc, the class that is asked for.
    """
    random = np.random.default_rng(0)
    if metric == "auc":
        return resampling.bootstrap(
            lambda classes, values: metrics.score(metric, classes, values, positive),
            *(truth, before, after, random),
            samples=AUC_SAMPLES,
        )
    first, second = (metrics.by_picture(metric, truth, values) for values in (before, after))
    return resampling.bootstrap(lambda _, values: float(values.mean()), truth, first, second, random)


def by_fold(before: Run, after: Run, same: list[bool]) -> intervals.Interval | None:
    """The difference fold by fold, where both trained the same folds of one split, and more than one of them."""
    first, second = ([float(value) for value in run.results["folds"]] for run in (before, after))
    one_metric = before.results["metric"] == after.results["metric"]
    folds = list(before.config["folds"])
    if not one_metric or not all(same) or folds != list(after.config["folds"]) or len(first) < 2:
        return None
    of_all = before.config["competition"]["recipe"]["folds"]
    return intervals.over_folds(list(np.subtract(second, first)), 1 / of_all)
