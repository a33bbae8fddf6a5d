"""What an audit found, in words: for each check one sentence with the number that matters, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.audit.drift import Drift
from pipeline.audit.duplicates import Pair
from pipeline.audit.found import counted, tests_known
from pipeline.audit.groups import Groups
from pipeline.audit.scenes import Links
from pipeline.audit.subject import Subject
from pipeline.audit.suspects import INSTALL, Suspects
from pipeline.audit.telling import Told
from pipeline.audit.validation import Crossed, flattery
from pipeline.predict.intervals import Interval, between

FINE, LOOK, ACT = "fine", "look", "act"
STRONG = 0.6
"""The area from which a leak or a drift is more than a curiosity."""
FEW = 0.01


@dataclass(frozen=True)
class Finding:
    """One check.

    Args:
        check: its name.
        level: FINE, LOOK (see the page) or ACT.
        said: the number that matters.
        advice: what to do; empty where nothing is.
    """

    check: str
    level: str
    said: str
    advice: str = ""

    @property
    def line(self) -> str:
        """Both, for the terminal."""
        return f"{self.said} -> {self.advice}" if self.advice else self.said


def unreadable(reasons: Mapping[str, str], pictures: int) -> Finding:
    """Pictures that cannot be decoded."""
    said = f"{len(reasons)} of {pictures + len(reasons):,} pictures cannot be read"
    if not reasons:
        return Finding("readable", FINE, said)
    lost = sum(name.startswith("test/") for name in reasons)
    advice = "they are left out of training" + (f"; {lost} test pictures get the prior" if lost else "")
    return Finding(
        "readable", ACT if lost else LOOK, said, f"fetch the data again (invoke download --force); else {advice}"
    )


def duplicates(pairs: Sequence[Pair], subject: Subject) -> Finding:
    """Equal pictures."""
    if not pairs:
        return Finding("copies", FINE, "no picture is there twice, nor nearly")
    count = counted(pairs, subject)
    order = ("exact", "across folds", "train and test", "two labels")
    kinds = ", ".join(f"{count[kind]} {kind}" for kind in order)
    said = f"{len(pairs)} pairs of equal or nearly equal pictures: {kinds}"
    if count["two labels"]:
        return Finding("copies", ACT, said, "put the labels of the pairs on the page right, or drop both")
    if count["across folds"]:
        return Finding("copies", ACT, said, "keep them together with --grouped")
    advice = "predict those tests by hand, or do not trust them" if count["train and test"] else ""
    return Finding("copies", LOOK, said, advice)


def scenes(pairs: Sequence[Pair], links: Links, groups: Groups, subject: Subject) -> Finding:
    """Groups of pictures of one scene."""
    share, sizes = groups.joined.mean(), groups.sizes
    said = (
        f"{len(links.pairs):,} links ({links.false_share:.1%} of them false, by decoys) and equal pictures join "
        f"{groups.joined.sum():,} of {subject.training:,} training pictures ({share:.0%}) "
        f"in {len(sizes)} groups, the largest {sizes[0] if len(sizes) else 0}"
    )
    tests = len(subject) - subject.training
    known = len(tests_known(pairs, links, subject)) / max(tests, 1)
    if tests:
        said += f"; {known:.0%} of the test pictures show such a scene, too"
    if share <= FEW:
        return Finding("scenes", FINE, said)
    if known > share / 2:
        advice = "--grouped for scenes never seen; random folds are like this test set"
    else:
        advice = "--grouped: random folds test on scenes that were trained on"
    return Finding("scenes", ACT, said, advice)


def validation(apart: Crossed, together: Crossed, metric: str, higher: bool, groups: Groups) -> Finding:
    """Random against grouped folds."""
    change = flattery(apart, together)
    said = (
        f"{metric} {apart.score:.4f} ± {apart.spread:.4f} with random folds, {together.score:.4f} ± "
        f"{together.spread:.4f} with grouped ones ({change.estimate:+.4f}, {between(change, '+.4f')}), "
        "by a linear head in the plain view"
    )
    joined = groups.joined
    if joined.any():
        both = apart.right[joined].mean(), together.right[joined].mean()
        said += f"; of the pictures in groups {both[0]:.1%} and {both[1]:.1%} right"
    worse = change.is_negative if higher else change.is_positive
    if worse:
        return Finding("folds", ACT, said, "random folds flatter; compare recipes with --grouped")
    return Finding("folds", FINE, said, "no difference beyond noise")


def metadata(told: Told) -> Finding:
    """Classes told from files alone."""
    said = f"classes from the files alone: {_area(told.area)}"
    if not told.tells:
        return Finding("files", FINE, said)
    said += f", most by {_best(told)}"
    if told.area.estimate < STRONG:
        return Finding("files", LOOK, said, "weak: what a picture shows also decides how far its file shrinks")
    return Finding("files", ACT, said, "a leak: see which fields on the page, and whether the test pictures have it")


def suspected(found: Suspects, pictures: int) -> Finding:
    """Labels that may be wrong."""
    said = f"{len(found.found)} of {pictures:,} labels are suspected ({found.method})"
    advice = "look at the worst on the page before training longer"
    if found.method == "ranking":
        advice = f"only ranked, cleanlab is not installed: {INSTALL}"
    return Finding("labels", LOOK if found.found else FINE, said, advice if found.found else "")


def drifted(found: Drift | None) -> Finding:
    """Training against test pictures."""
    if found is None:
        return Finding("drift", FINE, "too few test pictures to compare")
    said = f"test from training pictures: {_area(found.features.area)} by features, {_area(found.fields.area)} by files"
    if not (found.features.tells or found.fields.tells):
        return Finding("drift", FINE, said)
    worst = max(told.area.estimate for told in (found.features, found.fields) if told.tells)
    if found.fields.tells:
        said += f" (most by {_best(found.fields)})"
    level = ACT if worst >= STRONG else LOOK
    return Finding("drift", level, said, "folds do not stand for the test: judge by pictures that are like it")


def _area(area: Interval) -> str:
    """An area with its interval."""
    return f"AUC {area.estimate:.3f} ({area.low:.3f} to {area.high:.3f}, chance 0.5)"


def _best(told: Told) -> str:
    """The field that tells most, alone."""
    name, area = next(iter(told.alone.items()))
    return f"{name}, {area:.3f} alone"
