"""What scouting found: combinations ranked, what each base is worth, and the recipe that follows from it."""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.config import Competition, Recipe
from pipeline.files import write_atomic, write_text
from pipeline.predict.growth import Growth, Members, Trials
from pipeline.predict.intervals import Interval, plus_minus
from pipeline.report.members import Row, members_chart
from pipeline.report.table import lines

log = logging.getLogger(__name__)
JUDGED = "by ridge regression in the plain view, which ranks bases; the head of a run scores better"
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Scouted:
    """Everything that scouting found.

    Args:
        names: of the bases, as the recipe has them.
        widths: number of features of each.
        trials: what each combination scored.
        strengths: the best one of each combination.
        paths: the metric's mean over folds for every strength, of each combination.
        growth: which bases belong together.
        metric: of the competition.
    """

    names: Sequence[str]
    widths: Sequence[int]
    trials: Trials
    strengths: Mapping[Members, float]
    paths: Mapping[Members, Mapping[float, float]]
    growth: Growth
    metric: str

    @property
    def short(self) -> list[str]:
        """The names without the files of their weights, where they can be told apart without."""
        cut = [name.partition("=")[0] for name in self.names]
        return cut if len(set(cut)) == len(cut) else list(self.names)

    def joined(self, members: Members) -> str:
        """The names of a combination."""
        return " + ".join(self.short[member] for member in sorted(members))

    def spread(self, members: Members) -> float:
        """The sample deviation over folds."""
        return float(pd.Series(self.trials.folds[members]).std())

    def shown(self, members: Members) -> str:
        """A combination's metric with its spread."""
        return f"{self.trials.mean(members):.4f} ± {self.spread(members):.4f}"


def rows(found: Scouted) -> list[dict[str, object]]:
    """One record a combination, the best first."""
    return [
        {
            "rank": place,
            "bases": found.joined(members),
            "score": found.trials.mean(members),
            "spread": found.spread(members),
            "strength": found.strengths[members],
            "width": sum(found.widths[member] for member in members),
            "folds": " ".join(f"{value:.6f}" for value in found.trials.folds[members]),
            "winner": members == found.growth.winner,
            **{f"at {strength:.0e}": score for strength, score in found.paths[members].items()},
        }
        for place, members in enumerate(found.trials.ranked(), 1)
    ]


def tables(found: Scouted) -> list[str]:
    """The best combinations, every base alone and the winner; then what each base is worth, the most first."""
    ranked: list[list[str]] = []
    for row, members in zip(rows(found), found.trials.ranked(), strict=True):
        if len(ranked) < SHOWN or len(members) == 1 or row["winner"]:
            mark = "  <- the winner" if row["winner"] else ""
            numbers = [str(row["rank"]), found.shown(members), f"{row['strength']:.0e}", str(row["width"])]
            ranked.append([*numbers, f"{row['bases']}{mark}"])
    gains = [found.trials.with_and_without(number) for number in range(len(found.names))]
    worth = [
        [found.shown(frozenset([number])), plus_minus(gains[number], 4), found.short[number]]
        for number in sorted(range(len(gains)), key=lambda one: -gains[one].estimate)
    ]
    first, second = ("rank", found.metric, "strength", "width", "bases"), ("alone", "gain ± noise (95 %)", "base")
    return [*lines(first, ranked, right=first[:4]), "", *lines(second, worth, right=second[:2])]


def conclusions(found: Scouted) -> list[str]:
    """How the winner grew, and what was refused and why."""
    said = []
    for step in found.growth.steps:
        onto, name = found.joined(step.onto), found.short[step.member]
        said.append(f"{step.verdict}: {name} onto {onto}: {plus_minus(step.gain, 4)}")
    over = found.growth.over_best
    if over is not None:
        best, tried = found.joined(found.trials.ranked()[0]), len(found.trials.folds)
        said.append(f"the best of {tried}, {best}, is within noise of the winner: {plus_minus(over, 4)}")
    said.append(f"winner: {found.joined(found.growth.winner)}, {found.metric} {found.shown(found.growth.winner)}")
    return said


def line_of(recipe: Recipe) -> str:
    """A recipe as a competition's file writes it: what differs from the defaults."""
    plain = Recipe()
    told = {one.name: getattr(recipe, one.name) for one in fields(Recipe)}
    words = [f"{name}={value!r}" for name, value in told.items() if value != getattr(plain, name) or name == "bases"]
    return f"Recipe({', '.join(words)})"


def verdict(gain: Interval, head: str, *, refused: bool = False) -> str:
    """Whether the recipe's own head finds a combination better than the best base alone.

    Args:
        gain: over that base.
        head: its name.
        refused: the quick classifier had not taken the combination.
    """
    words = (
        ("sees more in the combination than the ranking" if refused else "confirms it")
        if gain.is_positive
        else "sees a loss"
        if gain.is_negative
        else "sees no gain beyond noise"
    )
    than = "" if gain.is_positive else ", which is kept"
    return f"the {head} head {words}: {plus_minus(gain, 4)} over the best base alone{than}"


def tell(competition: Competition, found: Scouted) -> list[Path]:
    """Prints the tables and what follows from them; writes scout.csv and scout.png.

    Args:
        competition: whose reports' folder they go to.
        found: what scouting found.
    """
    for line in ("", JUDGED, *tables(found), "", *conclusions(found)):
        log.info("%s", line)
    table = io.StringIO()
    pd.DataFrame(rows(found)).to_csv(table, index=False, lineterminator="\n")
    folder = paths.reports_folder(competition.name)
    chart = [Row(m, found.trials.mean(m), found.spread(m), m == found.growth.winner) for m in found.trials.ranked()]
    title = f"{competition.name}: take {found.joined(found.growth.winner)}, of {len(chart)} combinations"
    picture = members_chart(chart, found.short, metric=found.metric, title=title, higher=found.trials.higher)
    write_text(folder / "scout.csv", table.getvalue())
    write_atomic(folder / "scout.png", lambda file: file.write(picture))
    return [folder / "scout.csv", folder / "scout.png"]
