"""Kaggle's scores of a run, and the position of a score on a competition's final leaderboard.

A run's leaderboard.json has fields that are a value or null: {"public": score, "private": score, "ref": Kaggle's number
of the submission, "when": ISO 8601, UTC}, and may have more. `invoke submit` writes it; it may be written by hand.

leaderboards.json holds the scores at TOP_PERCENTS of teams; a position is interpolated between them. Source: the
published final standings, in percentiles (from MLE-bench and MLE-Dojo). `leak` and `frontier` are inferred, nobody
stated them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import require
from pipeline.files import read_json

LEADERBOARD_FILE = "leaderboard.json"


@dataclass(frozen=True, kw_only=True)
class SubmissionScores:
    """Kaggle's scores; None where they are unknown."""

    public: float | None = None
    private: float | None = None


def read_submission_scores(folder: Path) -> SubmissionScores | None:
    """Reads the leaderboard.json of a run; None where the run was not submitted.

    Raises:
        StarshiftError: the file is there and holds something else.
    """
    path = folder / LEADERBOARD_FILE
    if not path.exists():
        return None
    stored: Any = read_json(path)
    require(
        isinstance(stored, dict) and is_score(stored.get("public")) and is_score(stored.get("private")),
        f"{path} is no answer of Kaggle's.",
        expected='{"public": 0.61, "private": null, "ref": "123", "when": "2026-07-01T12:00:00Z"}',
        received=stored,
        remedy="put it right, or delete it",
    )
    return SubmissionScores(public=stored.get("public"), private=stored.get("private"))


def is_score(value: Any) -> bool:
    """Returns whether a value is a finite number, or null."""
    return value is None or (type(value) in (int, float) and bool(np.isfinite(value)))


TOP_PERCENTS = (0, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
"""Percent of teams: 0 is the first one, 100 the last."""


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """One competition's final standing.

    Args:
        metric: as a competition file names it.
        higher: whether a larger score is a better one.
        teams: how many there were.
        train: number of Kaggle's training pictures.
        scores: at each of TOP_PERCENTS, from the first team to the last.
        leak: scores beyond this one are only reached by a leak; None where none is known.
        frontier: between which two scores honest work ends, the weaker one first; None where nobody stated it.
        caveats: why cross-validation flatters here, and what is known to leak.
        medals: the scores that gold, silver and bronze begin at, computed from the final standings.
    """

    metric: str
    higher: bool
    teams: int
    train: int
    scores: Sequence[float]
    leak: float | None = None
    frontier: Sequence[float] | None = None
    caveats: Sequence[str] = ()
    medals: Sequence[float] = ()


LEADERBOARDS = {
    slug: Leaderboard(**board) for slug, board in read_json(Path(__file__).with_name("leaderboards.json")).items()
}
"""By Kaggle's name of the competition."""


@dataclass(frozen=True, kw_only=True)
class LeaderboardPosition:
    """A score's place among the teams. `best` and `worst` belong to the ends of the score's interval.

    Args:
        score: from cross-validation.
        low: end of its interval; None where nothing is known of it.
        high: the other end.
        top: percent of teams that are as good or better.
        best_top: the same at the interval's better end.
        worst_top: the same at its worse end.
        rank: from 1 on.
        best_rank: at the better end.
        worst_rank: at the worse end.
        teams: how many there were.
        next_top: percent of the next better row of the table; None where there is none that honest work reaches.
        next_score: from which on one stands there.
        to_go: from `score` to it, positive.
        remarks: what to keep in mind.
        medals: the medal that the score reaches, and where each begins.
    """

    score: float
    low: float | None
    high: float | None
    top: float
    best_top: float
    worst_top: float
    rank: int
    best_rank: int
    worst_rank: int
    teams: int
    next_top: float | None
    next_score: float | None
    to_go: float | None
    remarks: tuple[str, ...]
    medals: str = ""


def find_leaderboard(slug: str | None, metric: str) -> Leaderboard | None:
    """Returns the leaderboard for scores of this metric; None where there is none."""
    board = LEADERBOARDS.get(slug or "")
    return board if board and board.metric == metric else None


def compute_position(board: Leaderboard, score: float, low: float, high: float, pictures: int) -> LeaderboardPosition:
    """Places a cross-validated score, with the interval that it may lie in.

    Args:
        board: the competition's.
        score: in the board's metric.
        low: end of its interval.
        high: the other end; infinite ends mean an unknown interval.
        pictures: number of labelled pictures.
    """
    is_finite = bool(np.isfinite([low, high]).all())
    better, worse = (high, low) if board.higher else (low, high)
    top, best_top, worst_top = (compute_top_percent(board, value) for value in (score, better, worse))
    next_top, next_score = find_next_row(board, score) or (None, None)
    return LeaderboardPosition(
        score=score,
        low=low if is_finite else None,
        high=high if is_finite else None,
        top=top,
        best_top=best_top,
        worst_top=worst_top,
        rank=compute_rank(board, top),
        best_rank=compute_rank(board, best_top),
        worst_rank=compute_rank(board, worst_top),
        teams=board.teams,
        next_top=next_top,
        next_score=next_score,
        to_go=None if next_score is None else abs(next_score - score),
        remarks=(*format_leak_warnings(board, score), *board.caveats, format_cv_caveat(board, pictures)),
        medals=format_medals(board, score),
    )


MEDALS = ("gold", "silver", "bronze")


def compute_medal_ranks(teams: int) -> dict[str, int]:
    """Computes the last rank of each medal. Source: kaggle.com/progression (competitions that give medals)."""
    large, small = teams >= 1000, teams < 250
    gold = teams // 10 if teams < 100 else 10 if small else 10 + teams // 500
    silver, bronze = (teams // 20, teams // 10) if large else (teams // 5, 2 * teams // 5) if small else (50, 100)
    return dict(zip(MEDALS, (gold, silver, bronze), strict=True))


def find_medal_lines(board: Leaderboard) -> dict[str, float]:
    """Returns the score that each medal begins at: as computed from the standings, else between the table's rows."""
    tops = [100 * (rank - 1) / (board.teams - 1) for rank in compute_medal_ranks(board.teams).values()]
    lines = board.medals or [float(np.interp(top, TOP_PERCENTS, board.scores)) for top in tops]
    return dict(zip(MEDALS, lines, strict=True))


def find_medal(board: Leaderboard, score: float) -> str:
    """Returns the best medal that a score reaches: `gold medal`, ... or `no medal`."""
    lines = find_medal_lines(board)
    return next((f"{name} medal" for name, line in lines.items() if not is_better(board, line, score)), "no medal")


def format_medals(board: Leaderboard, score: float) -> str:
    """Formats which medal a score reaches, and where each begins."""
    begin = ", ".join(f"{name} at {line:.5f}" for name, line in find_medal_lines(board).items())
    leaks = board.leak is not None and is_better(board, find_medal_lines(board)["bronze"], board.leak)
    note = f"; only leaks reach scores beyond {board.leak:.2f} (inferred)" if leaks else ""
    return f"{find_medal(board, score)}: {begin}{note}"


def format_standing(board: Leaderboard, score: float) -> str:
    """Formats the rank of a score on the final leaderboard, and its medal."""
    top = compute_top_percent(board, score)
    rank = f"rank {compute_rank(board, top):,} of {board.teams:,}"
    return f"{rank} on the final leaderboard ({format_percent(top)}), {find_medal(board, score)}"


def is_better(board: Leaderboard, score: float, other: float) -> bool:
    """Returns whether a score is better than another."""
    return score > other if board.higher else score < other


def compute_top_percent(board: Leaderboard, score: float) -> float:
    """Computes the percent of teams that are as good or better, 0 to 100, interpolated between the table's rows.

    Of several rows with one score the lowest counts, as it does for the last to reach it.
    """
    rows = dict(zip((value if board.higher else -value for value in board.scores), TOP_PERCENTS, strict=True))
    values = sorted(rows)
    return float(np.interp(score if board.higher else -score, values, [rows[value] for value in values]))


def compute_rank(board: Leaderboard, top: float) -> int:
    """Computes the rank at a percentile: 0 % is the first team, 100 % the last one."""
    return 1 + round(top / 100 * (board.teams - 1))


def find_next_row(board: Leaderboard, score: float) -> tuple[float, float] | None:
    """Returns the nearest better row, (percent, score); None for a first place, and where only leaks reach it."""
    rows = zip(TOP_PERCENTS, board.scores, strict=True)
    better = [(top, value) for top, value in rows if is_better(board, value, score)]
    if not better or (board.leak is not None and is_better(board, better[-1][1], board.leak)):
        return None
    return better[-1]


def format_leak_warnings(board: Leaderboard, score: float) -> list[str]:
    """Formats warnings about a score that is too good to be true, and about teams whose scores are."""
    honest = f"honest work ends between {board.frontier[0]:.2f} and {board.frontier[1]:.2f}" if board.frontier else ""
    if board.leak is not None and is_better(board, score, board.leak):
        return [f"only leaks reach scores beyond {board.leak:.2f}; {honest} (inferred): look for the leak first"]
    if not is_better(board, board.scores[0], score):
        return [f"as good as the first team or better, {board.scores[0]}: look for a leak or a flattering split first"]
    warnings = []
    if board.frontier and is_better(board, score, board.frontier[1]):
        warnings.append(f"{honest} (inferred), and this is beyond it: be suspicious")
    elif board.frontier and not is_better(board, board.frontier[0], score):
        warnings.append(f"{honest} (inferred), and this is there")
    if board.leak is not None:
        ahead = f"{format_percent(compute_top_percent(board, board.leak))} of the teams are beyond {board.leak:.2f}"
        warnings.append(f"the {ahead}, which only leaks reach (inferred)")
    return warnings


def format_cv_caveat(board: Leaderboard, pictures: int) -> str:
    """Formats why a cross-validated score is not a leaderboard's."""
    fewer = f"; here are {pictures:,} labelled pictures, Kaggle gives {board.train:,}" if pictures < board.train else ""
    return f"cross-validation is not the leaderboard: that scored other pictures{fewer}"


def format_position(place: LeaderboardPosition) -> list[str]:
    """Formats a position, a line each, the rank first."""
    lines = [f"rank {place.rank:,} of {place.teams:,} on the final leaderboard ({format_percent(place.top)})"]
    if place.low is not None and place.high is not None:
        lines[0] += f", {place.best_rank:,} to {place.worst_rank:,} for {place.low:.5f} to {place.high:.5f}"
    else:
        lines[0] += "; how sure that is, is not known"
    if place.next_top is not None:
        lines.append(f"{format_percent(place.next_top)} begins at {place.next_score:.5f}: {place.to_go:.5f} to go")
    return [*lines, *filter(None, [place.medals]), *place.remarks]


def format_percent(top: float) -> str:
    """Formats `top 1.5 %`, or `the first place`."""
    return "the first place" if top == 0 else f"top {top:.1f} %"
