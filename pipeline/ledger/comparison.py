"""Two runs held against each other: what differs in how they were made, and what that did to the same pictures."""

from typing import Any

import numpy as np

from pipeline import runs
from pipeline.errors import StarshiftError
from pipeline.ledger import listing
from pipeline.ledger.reading import Run, found, opened
from pipeline.predict import gains, intervals, metrics
from pipeline.predict.by_class import changes_of
from pipeline.predict.held import Held, Part
from pipeline.report.compared import ByFold, Compared, Pictures, Side, told

ONE_SPLIT = 0.8
"""The share of pictures from which on, lying in the same fold, two runs have the same folds; by chance it is a half or
less."""


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
    """Two runs on the pictures that both held out with the same label, and that both have in the same fold.

    Where many lie in another fold, the runs were split in other ways: then all are compared, without regard to folds.

    Raises:
        StarshiftError: there are none, or the classes are not the same.
    """
    common = [name for name in before.held if name in after.held]
    same = [name for name in common if before.label[name] == after.label[name]]
    if before.classes != after.classes or not same:
        other = "tell other classes apart" if before.classes != after.classes else "share no label"
        raise StarshiftError(
            f"The two runs {other if common else 'have no pictures in common'}.",
            expected="two runs of one competition",
            received=" and ".join(
                f"{run.folder.parent.name}/{run.folder.name}: {len(run.held):,} held-out pictures,"
                f" {len(run.classes)} classes"
                for run in (before, after)
            ),
        )
    stayed = [name for name in same if before.fold[name] == after.fold[name]]
    one_split = len(stayed) > ONE_SPLIT * len(same)
    held = held_by_both(before, after, stayed if one_split else same)
    first, second = held.part.predictions
    guesses = first.argmax(axis=1), second.argmax(axis=1)
    return Compared(
        before=side(before, metrics.score(held.metric, held.labels, first, held.positive)),
        after=side(after, metrics.score(held.metric, held.labels, second, held.positive)),
        metric=held.metric,
        higher=held.higher,
        differing=differing(before, after),
        pictures=Pictures(
            common=len(held.labels),
            relabelled=len(common) - len(same),
            moved=len(same) - len(stayed),
            identical=bool(np.array_equal(first, second)),
        ),
        difference=gains.difference_over_pictures(held, first, second),
        by_fold=by_fold(held, before.config["competition"]["recipe"]["folds"]) if one_split else None,
        right=intervals.paired(held.labels, *guesses),
        changes=changes_of(before.classes, held.labels, *guesses),
    )


def held_by_both(before: Run, after: Run, names: list[str]) -> Held:
    """What both runs predict for some pictures, with the truth; by the first one's metric and folds."""
    return Held(
        part=Part(np.stack([[run.held[name] for name in names] for run in (before, after)])),
        labels=np.searchsorted(before.classes, [before.label[name] for name in names]),
        fold_of=np.array([before.fold[name] for name in names]),
        metric=str(before.results["metric"]),
        positive=before.positive,
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


def by_fold(held: Held, of_all: int) -> ByFold | None:
    """The metric's difference fold by fold, both runs scored anew on these very pictures; None for a single fold.

    Args:
        held: predictions of both.
        of_all: how many folds there are.
    """
    usable = frozenset(
        fold for fold in held.folds if held.metric != "auc" or len(np.unique(held.labels[held.fold_of == fold])) > 1
    )
    if len(usable) < 2:
        return None
    part = held.take(usable)
    difference = gains.difference_over_folds(part, *part.part.predictions, share=1 / of_all)
    return ByFold(difference=difference, folds=len(usable), of_folds=of_all, pictures=len(part.labels))
