"""Two runs compared, told: A is the first one, B the second one, and a difference is B - A."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.predict.by_class import Change
from pipeline.predict.intervals import Comparison, Interval, sentence
from pipeline.predict.metrics import COUNTED
from pipeline.report.listed import Listed, folds, short, value
from pipeline.report.listed import score as score_of
from pipeline.report.table import lines

log = logging.getLogger(__name__)
SHOWN = 5
WIDEST = 48


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two runs.

    Args:
        listed: as `invoke runs` lists it.
        pictures: how many it held out.
        pooled: the metric on the common pictures, all folds together.
        commit: of the repository.
    """

    listed: Listed
    pictures: int
    pooled: float
    commit: str


@dataclass(frozen=True, kw_only=True)
class Pictures:
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
class ByFold:
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
    def words(self) -> str:
        """On what it rests, where that is not everything."""
        if self.folds == self.of_folds:
            return ""
        return f" (on {self.folds} of {self.of_folds} folds, {self.pictures:,} pictures: the others cannot be compared)"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Everything that is told.

    Args:
        before: A.
        after: B.
        metric: A's.
        higher: whether a larger value is a better one.
        differing: fields of configuration and environment, (name, A's, B's); None where there is none.
        pictures: that both held out.
        difference: of the pooled metric, by drawing the pictures again.
        by_fold: the same fold by fold, which decides; None where the folds are not the same.
        right: which pictures are right.
        changes: each class.
    """

    before: Side
    after: Side
    metric: str
    higher: bool
    differing: Sequence[tuple[str, Any, Any]]
    pictures: Pictures
    difference: Interval
    by_fold: ByFold | None
    right: Comparison
    changes: Sequence[Change]


def told(found: Compared) -> None:
    """Prints the two runs, what differs, the difference on the same pictures, and the classes that moved most."""
    parts = [heads(found), fields(found), verdict(found)]
    for part in parts if found.pictures.identical else [*parts, classes(found)]:
        log.info("")
        for line in part:
            log.info("%s", line)


def heads(found: Compared) -> list[str]:
    """The two runs side by side."""
    sides = [("A", found.before), ("B", found.after)]
    rows = [
        [name, one.listed.run, score_of(one.listed), value(one.listed.accuracy, ".1%"), folds(one.listed),
         value(one.listed.seconds, ",.0f"), "" if one.listed.state == "finished" else one.listed.state]
        for name, one in sides
    ]  # fmt: skip
    metric = " / ".join(dict.fromkeys(one.listed.metric for _, one in sides))
    return lines(["", "run", metric, "accuracy", "folds", "seconds", ""], rows, ("accuracy", "folds", "seconds"))


def fields(found: Compared) -> list[str]:
    """The fields that differ, each with both values."""
    said = [[name, words(one), words(other)] for name, one, other in found.differing]
    same = "nothing differs: configuration, commit, library versions and device are the same"
    table = lines(["what differs", "A", "B"], said) if said else [same]
    if any("-" in row[1:] for row in said):
        table.append("- stands for the default, and for what was not recorded yet")
    if any(side.commit.endswith("+changes") for side in (found.before, found.after)):
        table.append("+changes: uncommitted files had a part in it, so that the code may differ more than is seen here")
    return table


def words(setting: Any) -> str:
    """A setting, shortened."""
    if setting is None:
        return "-"
    if isinstance(setting, (list, tuple)):
        setting = " ".join(short(str(each)) for each in setting)
    text = str(setting)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def verdict(found: Compared) -> list[str]:
    """Whether B is better, and how sure that is."""
    pictures, before, after = found.pictures, found.before, found.after
    whole = before.pictures == after.pictures == pictures.common
    of_all = "all of both" if whole else f"of A's {before.pictures:,} and B's {after.pictures:,}"
    said = [
        f"on the {pictures.common:,} pictures that both held out ({of_all}): {found.metric} A {before.pooled:.5f},"
        f" B {after.pooled:.5f}"
    ]
    if after.listed.metric != found.metric:
        said.append(f"both by {found.metric} here; B's own score is {after.listed.metric}")
    if pictures.relabelled:
        said.append(f"{pictures.relabelled:,} more have another label in B and are left out")
    if pictures.moved and found.by_fold:
        said.append(f"{pictures.moved:,} more lie in another fold in B and are left out")
    elif pictures.moved:
        said.append(
            f"the folds differ: {pictures.moved:,} of them lie in another fold in B. Both still held each out, but the"
            " networks saw other training pictures"
        )
    if pictures.identical:
        return [*said, "the predictions are the same to the last bit"]
    return [*said, *verdicts(found)]


def verdicts(found: Compared) -> list[str]:
    """What the tests say; where they differ, that fold by fold decides."""
    fold, right, said = found.by_fold, found.right, []
    counted = found.metric in COUNTED
    if not counted:
        alone = overruled(found.difference, found.difference.within_noise, fold)
        said.append(f"{_sentence(found.difference, found)}, over these pictures{alone}")
    if fold:
        words = "fold by fold, which counts the chance in training too"
        said.append(f"{_sentence(fold.difference, found)}, {words}{fold.words}")
    line = sentence("B", "A", right.difference, within_noise=right.within_noise, points=True)
    alone = ", these pictures alone, without the chance in training" if fold else ""
    alone += overruled(right.difference, right.within_noise, fold) if counted else ""
    said.append(f"accuracy: {line}{alone}; right in A alone: {right.lost:,}, in B alone: {right.gained:,}")
    return said


def _sentence(difference: Interval, found: Compared) -> str:
    return sentence("B", "A", difference, within_noise=difference.within_noise, higher=found.higher)


def overruled(difference: Interval, within_noise: bool, fold: ByFold | None) -> str:
    """That fold by fold decides, where that says something else of the same metric."""
    if fold is None:
        return ""
    opposite = not within_noise and difference.estimate * fold.difference.estimate < 0
    return "; fold by fold decides" if opposite or within_noise != fold.difference.within_noise else ""


def classes(found: Compared) -> list[str]:
    """The classes that gained and lost most."""
    moved = [change for change in found.changes if change.gained != change.lost]
    if not moved:
        return ["no class has more or fewer pictures right"]
    ranked = sorted(moved, key=lambda one: (one.after - one.before, one.gained - one.lost), reverse=True)
    gains = [one for one in ranked if one.gained > one.lost][:SHOWN]
    losses = [one for one in ranked if one.gained < one.lost][-SHOWN:]
    rows = [
        [one.name, f"{one.pictures:,}", f"{one.before:.1%}", f"{one.after:.1%}",
         f"{100 * (one.after - one.before):+.1f}", f"{one.gained - one.lost:+d}",
         "< 0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}",
         "beyond noise" if one.beyond_noise else ""]
        for one in (*gains, *losses)
    ]  # fmt: skip
    header = ["classes that moved most", "pictures", "A", "B", "points", "net", "p", ""]
    sure, total = sum(one.beyond_noise for one in found.changes), len(found.changes)
    note = f"{sure} of {total} classes moved beyond noise, with all {total} looked at (Benjamini and Hochberg)"
    return [*lines(header, rows, header[1:-1]), note]
