"""From a run to a score on Kaggle: its file is sent exactly once, and the score is kept in the run's folder."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.away.entries import Entry, best, checked, sample_for, slug_of, validated
from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.files import write_json
from pipeline.kaggle import answers, scores, submissions
from pipeline.kaggle.client import authenticated
from pipeline.kaggle.scores import Submission
from pipeline.kaggle.standing import board_of, percent, rank_of, top_of
from pipeline.kaggle.submissions import Allowance
from pipeline.ledger import reading

log = logging.getLogger(__name__)


def submit(competition: Competition, run: str | None = None, message: str | None = None, *, dry: bool = False) -> Path:
    """Submits a run's predictions and waits for their score. What was submitted before is not submitted again.

    Args:
        competition: of Kaggle's.
        run: its name, or the beginning of it; None takes the best one.
        message: goes with it, after the run's name and the file's digest.
        dry: only check it, and show what would be sent.

    Returns:
        The run's folder; its leaderboard.json has Kaggle's answer.

    Raises:
        StarshiftError: nothing to submit, a wrong file, no submission left, a fault, or it could not be scored.
    """
    slug = slug_of(competition)
    folder = reading.found(run, competition.name) if run else best(competition)
    api = None if dry else authenticated()
    entry = checked(competition, folder, sample_for(competition, api), message or "")
    log.info("run      %s: %s", folder.name, validated(folder))
    log.info(
        "file     %s: %s rows, %.2f MB", paths.shown(entry.path), f"{entry.rows:,}", entry.path.stat().st_size / 1e6
    )
    log.info("message  %s", entry.description)
    if api is None:
        log.info("dry run  nothing was sent to %s", slug)
        return folder
    ref = number_of(api, slug, entry)
    keep(entry, Submission(ref=ref, status="pending", message=entry.description))
    answer = scores.scored(api, slug, ref)
    keep(entry, answer)
    tell(competition, folder, answer)
    return folder


def number_of(api: Any, slug: str, entry: Entry) -> int:
    """Kaggle's number of the submission: of the one that was made before, or of a new one."""
    earlier = scores.listed(api, slug, entry.mark)
    good = [one for one in earlier if one.status != "error"]
    if good:
        log.info("sent     this very file was submitted before: submission %d", good[0].ref)
        return good[0].ref
    allowed(submissions.allowance(api, slug), slug)
    ref = submissions.submit(api, slug, entry.path, entry.description, entry.mark, {one.ref for one in earlier})
    log.info("sent     submission %d", ref)
    return ref


def allowed(found: Allowance, slug: str) -> None:
    """Says how many submissions are left.

    Raises:
        StarshiftError: none.
    """
    if found.left > 0:
        log.info("limit    %d made today, %d left", found.today, found.left)
        return
    page = f"https://www.kaggle.com/competitions/{slug}"
    if not found.today and not found.total:
        raise StarshiftError(
            f"This account does not take part in {slug}.", received="no submission is allowed, and none was ever made",
            remedy=f"accept the rules at {page}/rules and run again",
        )  # fmt: skip
    now = datetime.now(UTC)
    wait = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1) - now
    hours, minutes = divmod(int(wait.total_seconds()) // 60, 60)
    raise StarshiftError(
        f"No submission to {slug} is left {'at all' if found.by_total else 'today'}.",
        received=f"{found.today} made today, {found.total} in all",
        remedy=f"choose among those at {page}/submissions"
        if found.by_total
        else f"Kaggle's day ends at 00:00 UTC, in {hours} h {minutes} min: run again then",
    )


def keep(entry: Entry, one: Submission) -> None:
    """Writes Kaggle's answer into the run's folder."""
    when = one.when or datetime.now(UTC)
    write_json(
        entry.folder / answers.FILE,
        {
            "public": one.public,
            "private": one.private,
            "ref": one.ref,
            "when": f"{when:%Y-%m-%dT%H:%M:%SZ}",
            "status": one.status,
            "message": one.message or entry.description,
        }
        | ({"error": one.error} if one.error else {}),
    )


def tell(competition: Competition, folder: Path, one: Submission) -> None:
    """Prints the score and where it stands.

    Raises:
        StarshiftError: it could not be scored, or was not in time.
    """
    page = f"https://www.kaggle.com/competitions/{competition.slug}/submissions"
    if one.status == "error":
        raise StarshiftError(
            f"Kaggle could not score submission {one.ref}.",
            expected="a file like the sample submission",
            received=one.error or "no reason",
            remedy=f"look at {page}; with --force the data, and with it the sample, is fetched anew",
        )
    if one.status == "pending":
        raise StarshiftError(
            f"Submission {one.ref} has no score yet.",
            received=f"still pending after {scores.WAIT / 60:.0f} minutes",
            remedy=f"run again later: it is not sent again; {page}",
        )
    known = [(name, value) for name, value in (("public", one.public), ("private", one.private)) if value is not None]
    log.info("score    %s", ", ".join(f"{name} {value:.5f}" for name, value in known) or "none is published")
    board = board_of(competition.slug, competition.metric)
    if board and known:
        kind, value = known[-1]
        top = top_of(board, value)
        rank = f"rank {rank_of(board, top):,} of {board.teams:,}"
        log.info("         the %s score would be %s on the final leaderboard (%s)", kind, rank, percent(top))
    log.info("wrote    %s", paths.shown(folder / answers.FILE))
