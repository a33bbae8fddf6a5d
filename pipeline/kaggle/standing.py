"""Where a score would stand on a competition's final leaderboard: the table's rows, and straight lines between them."""

from dataclasses import dataclass

import numpy as np

from pipeline.kaggle.leaderboards import LEADERBOARDS, TOP, Leaderboard


@dataclass(frozen=True, kw_only=True)
class Standing:
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


def board_of(slug: str | None, metric: str) -> Leaderboard | None:
    """The leaderboard that a score of this metric can be held against; None where there is none."""
    board = LEADERBOARDS.get(slug or "")
    return board if board and board.metric == metric else None


def standing(board: Leaderboard, score: float, low: float, high: float, pictures: int) -> Standing:
    """Places a cross-validated score, with the interval that it may lie in.

    Args:
        board: the competition's.
        score: in the board's metric.
        low: end of its interval.
        high: the other end; infinite ends say that nothing is known.
        pictures: number of labelled pictures that there were.
    """
    known = bool(np.isfinite([low, high]).all())
    better, worse = (high, low) if board.higher else (low, high)
    top, best_top, worst_top = (top_of(board, value) for value in (score, better, worse))
    next_top, next_score = next_step(board, score) or (None, None)
    return Standing(
        score=score,
        low=low if known else None,
        high=high if known else None,
        top=top,
        best_top=best_top,
        worst_top=worst_top,
        rank=rank_of(board, top),
        best_rank=rank_of(board, best_top),
        worst_rank=rank_of(board, worst_top),
        teams=board.teams,
        next_top=next_top,
        next_score=next_score,
        to_go=None if next_score is None else abs(next_score - score),
        remarks=(*honesty(board, score), *board.caveats, not_the_board(board, pictures)),
    )


def past(board: Leaderboard, score: float, other: float) -> bool:
    """Whether a score is better than another."""
    return score > other if board.higher else score < other


def top_of(board: Leaderboard, score: float) -> float:
    """Percent of teams that stand as high or higher, 0 to 100, on straight lines between the rows of the table.

    Of several rows with one score the lowest counts, as it does for the last to reach it.
    """
    rows = dict(zip((value if board.higher else -value for value in board.scores), TOP, strict=True))
    values = sorted(rows)
    return float(np.interp(score if board.higher else -score, values, [rows[value] for value in values]))


def rank_of(board: Leaderboard, top: float) -> int:
    """The rank at a percentile: 0 % is the first team, 100 % the last one."""
    return 1 + round(top / 100 * (board.teams - 1))


def next_step(board: Leaderboard, score: float) -> tuple[float, float] | None:
    """The nearest better row, (percent, score); None for a first place, and where only leaks reach it."""
    better = [(top, value) for top, value in zip(TOP, board.scores, strict=True) if past(board, value, score)]
    if not better or (board.leak is not None and past(board, better[-1][1], board.leak)):
        return None
    return better[-1]


def honesty(board: Leaderboard, score: float) -> list[str]:
    """What is to be said of a score that looks too good to be true, and of the teams whose scores do."""
    honest = f"honest work ends between {board.frontier[0]:.2f} and {board.frontier[1]:.2f}" if board.frontier else ""
    if board.leak is not None and past(board, score, board.leak):
        return [f"only leaks reach scores beyond {board.leak:.2f}; {honest} (inferred): look for the leak first"]
    if not past(board, board.scores[0], score):
        return [f"as good as the first team or better, {board.scores[0]}: look for a leak or a flattering split first"]
    said = []
    if board.frontier and past(board, score, board.frontier[1]):
        said.append(f"{honest} (inferred), and this is beyond it: be suspicious")
    elif board.frontier and not past(board, board.frontier[0], score):
        said.append(f"{honest} (inferred), and this is there")
    if board.leak is not None:
        ahead = f"{percent(top_of(board, board.leak))} of the teams are beyond {board.leak:.2f}"
        said.append(f"the {ahead}, which only leaks reach (inferred)")
    return said


def not_the_board(board: Leaderboard, pictures: int) -> str:
    """Why a cross-validated score is not a leaderboard's."""
    fewer = f"; here are {pictures:,} labelled pictures, Kaggle gives {board.train:,}" if pictures < board.train else ""
    return f"cross-validation is not the leaderboard: that scored other pictures{fewer}"


def sentences(found: Standing) -> list[str]:
    """The standing in words, a line each, the place first."""
    said = [f"rank {found.rank:,} of {found.teams:,} on the final leaderboard ({percent(found.top)})"]
    if found.low is not None and found.high is not None:
        said[0] += f", {found.best_rank:,} to {found.worst_rank:,} for {found.low:.5f} to {found.high:.5f}"
    else:
        said[0] += "; how sure that is, is not known"
    if found.next_top is not None:
        said.append(f"{percent(found.next_top)} begins at {found.next_score:.5f}: {found.to_go:.5f} to go")
    return [*said, *found.remarks]


def percent(top: float) -> str:
    """`top 1.5 %`, or `the first place`."""
    return "the first place" if top == 0 else f"top {top:.1f} %"
