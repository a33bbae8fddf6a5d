"""Compares two runs: which settings differ, and how they score on the same pictures.

A is the first run, B the second one, and a difference is B - A.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.evaluation import intervals, metrics
from pipeline.evaluation.intervals import (
    Interval,
    PairedComparison,
    build_difference_record,
    find_verdict,
    format_difference,
    format_estimate,
)
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.evaluation.per_class import ClassChange, compare_classes
from pipeline.figures.text_table import format_records, format_text_table
from pipeline.output import print_results
from pipeline.runs import folder, listing
from pipeline.runs.listing import RunSummary, format_folds, format_number, shorten_base_name
from pipeline.runs.listing import format_score as score_of
from pipeline.runs.load import Run, find_run_folder, load_run
from pipeline.terminal import paint_verdict

MAX_CLASSES = 5
MAX_WIDTH = 48


@dataclass(frozen=True, kw_only=True)
class RunSide:
    """One of the two runs.

    Args:
        listed: as `invoke runs` lists it.
        pictures: how many it held out.
        score: the metric on the common pictures, the mean over folds where both have the same.
        commit: of the repository.
    """

    listed: RunSummary
    pictures: int
    score: float
    commit: str


@dataclass(frozen=True, kw_only=True)
class CommonPictures:
    """The pictures that both held out.

    Args:
        common: how many are compared: with the same label in both, and in the same fold but where the splits differ.
        relabelled: how many more have another label in B; they are left out.
        moved: how many lie in another fold in B; left out where they are the fewer.
        identical: whether both predict the same to the last bit.
    """

    common: int
    relabelled: int
    moved: int
    identical: bool


@dataclass(frozen=True, kw_only=True)
class FoldComparison:
    """Both runs scored anew, fold by fold.

    Args:
        difference: of the metric.
        folds: how many could be compared.
        of_folds: how many there are.
        pictures: in these.
    """

    difference: Interval
    folds: int
    of_folds: int
    pictures: int

    @property
    def note(self) -> str:
        """On what it rests, where that is not everything."""
        if self.folds == self.of_folds:
            return ""
        return f" (on {self.folds} of {self.of_folds} folds, {self.pictures:,} pictures: the others cannot be compared)"


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Two runs compared.

    Args:
        before: A.
        after: B.
        metric: A's.
        higher: whether a larger value is a better one.
        differing: fields of configuration and environment, (name, A's, B's); None where there is none.
        pictures: that both held out.
        difference: of the metric, over the pictures, which decides.
        by_fold: the same fold by fold, which has some of the chance in training in it; None where the folds are not the
            same.
        right: which pictures are right.
        changes: each class.
    """

    before: RunSide
    after: RunSide
    metric: str
    higher: bool
    differing: Sequence[tuple[str, Any, Any]]
    pictures: CommonPictures
    difference: Interval
    by_fold: FoldComparison | None
    right: PairedComparison
    changes: Sequence[ClassChange]


def print_comparison(result: RunComparison) -> None:
    """Prints the two runs, what differs, the difference on the same pictures, and the classes that moved most."""
    changes = [] if result.pictures.identical else format_class_changes(result)
    verdict = [paint_verdict(line) for line in format_verdict(result)]
    blocks = (format_run_pair(result), format_differences(result), verdict, changes)
    print_results(build_record(result), *blocks, apart=False)


def build_record(result: RunComparison) -> dict[str, Any]:
    """Builds the comparison as plain JSON values."""
    return {
        "metric": result.metric,
        "runs": {
            name: {"run": one.listed.run, "metric": one.listed.metric, "score": one.listed.score,
                   "spread": one.listed.spread, "accuracy": one.listed.accuracy, "seconds": one.listed.seconds,
                   "pictures": one.pictures, "common_score": one.score}
            for name, one in (("A", result.before), ("B", result.after))
        },
        "differing": [{"name": name, "A": one, "B": other} for name, one, other in result.differing],
        "pictures": asdict(result.pictures),
        "difference": build_difference_record(result.difference, higher=result.higher),
        "by_fold": result.by_fold and {
            **result.by_fold.difference.record(),
            "folds": result.by_fold.folds, "of_folds": result.by_fold.of_folds, "pictures": result.by_fold.pictures,
        },
        "accuracy": {
            **build_difference_record(result.right.difference),
            "only_A_right": result.right.lost, "only_B_right": result.right.gained,
        },
        "classes": [{**asdict(one), "verdict": format_class_verdict(one)} for one in result.changes],
    }  # fmt: skip


def format_run_pair(result: RunComparison) -> list[str]:
    """Formats the two runs side by side."""
    sides = {"A": result.before.listed, "B": result.after.listed}
    metric = " / ".join(dict.fromkeys(one.metric for one in sides.values()))
    return format_records(list(sides.items()), {
        "": lambda side: side[0],
        "run": lambda side: side[1].run,
        metric: lambda side: score_of(side[1]),
        "accuracy": lambda side: format_number(side[1].accuracy, ".1%"),
        "folds": lambda side: format_folds(side[1]),
        "seconds": lambda side: format_number(side[1].seconds, ",.0f"),
        "state": lambda side: "" if side[1].state == "finished" else side[1].state,
    })  # fmt: skip


def format_differences(result: RunComparison) -> list[str]:
    """Formats the fields that differ, each with both values."""
    lines = [[name, format_setting(one), format_setting(other)] for name, one, other in result.differing]
    same = "nothing differs: configuration, commit, library versions and device are the same"
    table = format_text_table(["what differs", "A", "B"], lines) if lines else [same]
    if any("-" in row[1:] for row in lines):
        table.append("- stands for the default, and for what was not recorded yet")
    if any(side.commit.endswith("+changes") for side in (result.before, result.after)):
        table.append("+changes: uncommitted files had a part in it, so that the code may differ more than is seen here")
    return table


def format_setting(setting: Any) -> str:
    """Formats a setting, shortened."""
    if setting is None:
        return "-"
    if isinstance(setting, (list, tuple)):
        setting = " ".join(shorten_base_name(str(each)) for each in setting)
    text = str(setting)
    return text if len(text) <= MAX_WIDTH else text[: MAX_WIDTH - 1] + "…"


def format_verdict(result: RunComparison) -> list[str]:
    """Returns whether B is better, and how sure that is."""
    pictures, before, after = result.pictures, result.before, result.after
    whole = before.pictures == after.pictures == pictures.common
    of_all = "all of both" if whole else f"of A's {before.pictures:,} and B's {after.pictures:,}"
    lines = [
        f"on the {pictures.common:,} pictures that both held out ({of_all}): {result.metric} A {before.score:.5f},"
        f" B {after.score:.5f}"
    ]
    if after.listed.metric != result.metric:
        lines.append(f"both by {result.metric} here; B's own score is {after.listed.metric}")
    if pictures.relabelled:
        lines.append(f"{pictures.relabelled:,} more have another label in B and are left out")
    if pictures.moved and result.by_fold:
        lines.append(f"{pictures.moved:,} more lie in another fold in B and are left out")
    elif pictures.moved:
        lines.append(
            f"the folds differ: {pictures.moved:,} of them lie in another fold in B. Both still held each out, but the"
            " networks saw other training pictures"
        )
    if pictures.identical:
        return [*lines, "the predictions are the same to the last bit"]
    return [*lines, *format_test_results(result)]


def format_test_results(result: RunComparison) -> list[str]:
    """Formats the verdict on the metric, the same fold by fold, and the verdict on the accuracy."""
    fold, right = result.by_fold, result.right
    alone = f"; right in A alone: {right.lost:,}, in B alone: {right.gained:,}"
    counted = metrics.find_metric(result.metric).counts_correct
    lines = [f"{format_difference('B', 'A', result.difference, higher=result.higher)}{alone if counted else ''}"]
    if fold:
        estimate = format_estimate(fold.difference)
        lines.append(f"fold by fold: {estimate}, where the training pictures vary, too{fold.note}")
    if not counted:
        lines.append(f"accuracy: {format_difference('B', 'A', right.difference, points=True)}{alone}")
    return lines


def format_class_changes(result: RunComparison) -> list[str]:
    """Formats the classes that gained and lost most."""
    moved = [change for change in result.changes if change.gained != change.lost]
    if not moved:
        return ["no class has more or fewer pictures right"]
    ranked = sorted(moved, key=lambda one: (one.after - one.before, one.gained - one.lost), reverse=True)
    gains = [one for one in ranked if one.gained > one.lost][:MAX_CLASSES]
    losses = [one for one in ranked if one.gained < one.lost][-MAX_CLASSES:]
    sure, total = sum(one.beyond_noise for one in result.changes), len(result.changes)
    note = f"{sure} of {total} classes moved beyond noise, with all {total} looked at (Benjamini and Hochberg)"
    table = format_records([*gains, *losses], {
        "classes that moved most": lambda one: one.name,
        "pictures": lambda one: f"{one.pictures:,}",
        "A": lambda one: f"{one.before:.1%}",
        "B": lambda one: f"{one.after:.1%}",
        "points": lambda one: f"{100 * (one.after - one.before):+.1f}",
        "net": lambda one: f"{one.gained - one.lost:+d}",
        "p": lambda one: "< 0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}",
        "verdict": lambda one: paint_verdict(format_class_verdict(one)),
    })  # fmt: skip
    return [*table, note]


def format_class_verdict(one: ClassChange) -> str:
    """Returns the verdict on a class, as `Interval.verdict`."""
    return find_verdict(one.gained - one.lost, within_noise=not one.beyond_noise)


SAME_SPLIT_SHARE = 0.8
"""The share of pictures from which on, lying in the same fold, two runs have the same folds; by chance it is a half or
less."""


def compare_runs(before: str, after: str, comp: str | None = None) -> RunComparison:
    """Compares two runs and prints what was found.

    Args:
        before: a folder's name, the beginning of one, or a path.
        after: the same.
        comp: the competition whose runs these are; None looks through all.
    """
    first, second = (load_run(find_run_folder(text, comp)) for text in (before, after))
    compared = build_comparison(first, second)
    print_comparison(compared)
    return compared


def build_comparison(before: Run, after: Run) -> RunComparison:
    """Compares two runs on the pictures that both held out with the same label and in the same fold.

    Where many lie in another fold, the runs were split in other ways: then all are compared, without regard to folds.

    Raises:
        StarshiftError: there are none, or the classes are not the same.
    """
    others = set(after.held_ids)
    common = [name for name in before.held_ids if name in others]
    same = [name for name in common if before.label[name] == after.label[name]]
    if before.classes != after.classes or not same:
        other = "tell other classes apart" if before.classes != after.classes else "share no label"
        raise StarshiftError(
            f"The two runs {other if common else 'have no pictures in common'}.",
            expected="two runs of one competition",
            received=" and ".join(
                f"{run.folder.parent.name}/{run.folder.name}: {len(run.held_ids):,} held-out pictures,"
                f" {len(run.classes)} classes"
                for run in (before, after)
            ),
        )
    stayed = [name for name in same if before.fold[name] == after.fold[name]]
    one_split = len(stayed) > SAME_SPLIT_SHARE * len(same)
    oof = align_predictions(before, after, stayed if one_split else same)
    by_fold = compute_fold_difference(oof, before.config["competition"]["recipe"]["folds"]) if one_split else None
    if by_fold is None or by_fold.pictures < len(oof.labels):
        oof = replace(oof, fold_of=np.zeros_like(oof.fold_of))
    first, second = oof.part.predictions
    guesses = first.argmax(axis=1), second.argmax(axis=1)
    return RunComparison(
        before=build_side(before, oof.score(first)),
        after=build_side(after, oof.score(second)),
        metric=oof.metric,
        higher=oof.higher,
        differing=list_differences(before, after),
        pictures=CommonPictures(
            common=len(oof.labels),
            relabelled=len(common) - len(same),
            moved=len(same) - len(stayed),
            identical=bool(np.array_equal(first, second)),
        ),
        difference=intervals.estimate_difference(oof, first, second),
        by_fold=by_fold,
        right=intervals.compare_paired(oof.labels, *guesses, oof.group_of),
        changes=compare_classes(before.classes, oof.labels, *guesses),
    )


def align_predictions(before: Run, after: Run, names: list[str]) -> OOFPredictions:
    """Joins both runs' predictions of some pictures to the truth; by the first one's metric and folds."""
    return OOFPredictions.build(
        [run.align(names) for run in (before, after)],
        np.searchsorted(before.classes, [before.label[name] for name in names]),
        np.array([before.fold[name] for name in names]),
        str(before.results["metric"]),
        before.positive,
        before.folds.loc[names, "group"].to_numpy(str),
    )


def build_side(run: Run, score: float) -> RunSide:
    """Loads one run's own numbers."""
    one = listing.load_summary(run.folder, run.folder.name)
    return RunSide(
        listed=one,
        pictures=len(run.held_ids),
        score=score,
        commit=str(run.environment.get("commit") or "not recorded"),
    )


def list_differences(before: Run, after: Run) -> list[tuple[str, Any, Any]]:
    """Lists the fields of configuration and environment that differ, (name, before, after); None where missing."""
    sides = []
    for run in (before, after):
        config = folder.flatten_mapping({name: value for name, value in run.config.items() if name != "fingerprint"})
        ran = {name: value for name, value in folder.flatten_mapping(run.environment).items() if name != "seed"}
        sides.append({name.removeprefix("competition."): value for name, value in {**config, **ran}.items()})
    names = dict.fromkeys([*sides[0], *sides[1]])
    pairs = [(name, sides[0].get(name), sides[1].get(name)) for name in names]
    return [(name, one, other) for name, one, other in pairs if one != other]


def compute_fold_difference(oof: OOFPredictions, of_all: int) -> FoldComparison | None:
    """Computes the metric's difference fold by fold on the common pictures; None for a single fold.

    Args:
        oof: predictions of both.
        of_all: how many folds there are.
    """
    usable = frozenset(
        fold for fold in oof.folds if not oof.scorer.score_ranks or len(np.unique(oof.labels[oof.fold_of == fold])) > 1
    )
    if len(usable) < 2:
        return None
    part = oof.take(usable)
    difference = intervals.estimate_fold_difference(part, *part.part.predictions, share=1 / of_all)
    return FoldComparison(difference=difference, folds=len(usable), of_folds=of_all, pictures=len(part.labels))
