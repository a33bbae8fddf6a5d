"""Submits a run to Kaggle: its file is checked and sent exactly once, and the score is kept in the run's folder."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import paths
from pipeline.config import Competition, find_comp_argument
from pipeline.data.tables import SampleSubmission, read_csv_as_text, read_sample_submission
from pipeline.errors import StarshiftError, require
from pipeline.evaluation.submission import check_submission
from pipeline.files import format_utc, hash_file, write_json
from pipeline.kaggle import archives, leaderboard, retry, submissions
from pipeline.kaggle.client import authenticate
from pipeline.kaggle.leaderboard import find_leaderboard, format_standing
from pipeline.kaggle.submissions import KaggleSubmission, SubmissionQuota
from pipeline.runs import folder as runs
from pipeline.runs import listing, load
from pipeline.runs.listing import rank_runs

log = logging.getLogger(__name__)
DIGEST_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class SubmissionFile:
    """A submission of a run.

    Args:
        folder: the run's.
        path: its submission.csv.
        rows: number of pictures in it.
        digest: SHA-256 of the file.
        message: of the user.
    """

    folder: Path
    path: Path
    rows: int
    digest: str
    message: str = ""

    @property
    def mark(self) -> str:
        """Identifies the submission in Kaggle's list: the run, and the file's digest."""
        return f"{self.folder.name} sha256:{self.digest[:DIGEST_DIGITS]}"

    @property
    def description(self) -> str:
        """The message on Kaggle: mark and user's message."""
        return f"{self.mark} {self.message}".strip()


def require_slug(competition: Competition) -> str:
    """Returns Kaggle's name of the competition.

    Raises:
        StarshiftError: it is not on Kaggle.
    """
    if competition.slug is None or competition.submission is None:
        raise StarshiftError(
            f"{competition.name} is no competition of Kaggle's.", expected="a competition file with slug and submission"
        )
    return competition.slug


def find_best_run(competition: Competition) -> Path:
    """Finds the finished run with the best score and a submission; one that trained every fold, where there is one.

    Raises:
        StarshiftError: there is none.
    """
    folder = paths.runs_folder(competition.name)
    finished = [
        one
        for one in listing.list_runs(competition.name)
        if one.state == "finished"
        and one.metric == competition.metric
        and (folder / one.run / "submission.csv").exists()
    ]
    whole = [one for one in finished if len(one.folds) == one.of_folds] or finished
    if not whole:
        raise StarshiftError(
            f"There is no run of {competition.name} to submit.",
            expected=f"a finished run with a submission.csv in {paths.format_path(folder)}",
            remedy=f"invoke run --comp {find_comp_argument(competition.name)}",
        )
    return folder / rank_runs(whole, competition.metric)[0].run


def load_sample(competition: Competition, api: Any) -> SampleSubmission | None:
    """Loads the sample submission from the local data, else from Kaggle; None where neither is there."""
    folder = paths.competition_folder(competition.name)
    if (folder / "complete.json").exists() and (folder / "raw").is_dir():
        return read_sample_submission(competition, folder / "raw")
    if api is None:
        log.warning("  warning: the data of %s is not here, so its ids cannot be checked", competition.name)
        return None
    with tempfile.TemporaryDirectory() as place:
        name = str(competition.submission and competition.submission.sample)
        submissions.download_file(api, require_slug(competition), name, Path(place))
        archives.unpack_nested(Path(place))
        return read_sample_submission(competition, Path(place))


def load_submission(
    competition: Competition, folder: Path, sample: SampleSubmission | None, message: str
) -> SubmissionFile:
    """Loads the submission of a run, and checks it against the sample once more.

    Raises:
        StarshiftError: the run is unfinished, a debug run or without submission, or Kaggle would refuse the file.
    """
    path, config = folder / "submission.csv", runs.read_config(folder)
    lacks = "debug run" if config.get("debug") else "" if path.exists() else "no submission.csv"
    if lacks or not runs.is_finished(folder):
        raise StarshiftError(
            f"The run {folder.name} cannot be submitted.",
            expected="a finished run with a submission.csv",
            received=lacks or "unfinished",
            remedy=f"invoke run --comp {find_comp_argument(competition.name)}; invoke runs lists them",
        )
    table = read_csv_as_text(path)
    if competition.submission and competition.submission.layout != "class name":
        numbers = table.columns[1:]
        table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    classes = runs.read_predictions(folder / "test.npz")[1] if (folder / "test.npz").exists() else []
    check_submission(table, competition, sample, classes)
    return SubmissionFile(folder=folder, path=path, rows=len(table), digest=hash_file(path), message=message)


def format_cv_score(folder: Path) -> str:
    """Formats a run's cross-validated score."""
    results = runs.read_metrics(folder)
    spread = f" ± {results['spread']:.5f}" if len(results.get("folds", ())) > 1 else ""
    return f"{results.get('metric')} {results.get('score', float('nan')):.5f}{spread} in cross-validation"


def submit_run(
    competition: Competition, run: str | None = None, message: str | None = None, *, dry: bool = False
) -> Path:
    """Submits a run's predictions and waits for their score. What was submitted before is not submitted again.

    Args:
        competition: of Kaggle's.
        run: its name, or the beginning of its name; None takes the best run.
        message: goes with it, after the run's name and the file's digest.
        dry: only check it, and show what would be sent.

    Returns:
        The run's folder; its leaderboard.json has Kaggle's answer.

    Raises:
        StarshiftError: there is nothing to submit, the file is wrong, no submission is left, or it could not be scored.
    """
    slug = require_slug(competition)
    folder = load.find_run_folder(run, competition.name) if run else find_best_run(competition)
    api = None if dry else authenticate()
    entry = load_submission(competition, folder, load_sample(competition, api), message or "")
    log.info("run      %s: %s", folder.name, format_cv_score(folder))
    log.info(
        "file     %s: %s rows, %.2f MB",
        paths.format_path(entry.path),
        f"{entry.rows:,}",
        entry.path.stat().st_size / 1e6,
    )
    log.info("message  %s", entry.description)
    if api is None:
        log.info("dry run  nothing was sent to %s", slug)
        return folder
    ref = submit_once(api, slug, entry, lambda before: _send_file(api, slug, entry, before))
    return wait_and_keep(api, competition, entry, ref)


def wait_and_keep(api: Any, competition: Competition, entry: SubmissionFile, ref: int) -> Path:
    """Waits for the score of a submission, and keeps it in the run's folder, which is returned."""
    write_scores(entry, KaggleSubmission(ref=ref, status="pending", message=entry.description))
    answer = submissions.wait_for_score(api, require_slug(competition), ref)
    write_scores(entry, answer)
    log_score(competition, entry.folder, answer)
    return entry.folder


def submit_once(api: Any, slug: str, entry: SubmissionFile, send: Callable[[set[int]], int]) -> int:
    """Submits, unless that was done before. Returns Kaggle's number of the submission.

    Args:
        api: from `authenticate`.
        slug: of the competition.
        entry: what is submitted; its mark is looked for.
        send: makes the submission; takes the numbers of those that have the mark, and returns the new one.
    """
    earlier = submissions.list_submissions(api, slug, entry.mark)
    good = [one for one in earlier if one.status != "error"]
    if good:
        log.info("sent     this very file was submitted before: submission %d", good[0].ref)
        return good[0].ref
    check_quota(submissions.fetch_submission_quota(api, slug), slug)
    ref = send({one.ref for one in earlier})
    log.info("sent     submission %d", ref)
    return ref


def _send_file(api: Any, slug: str, entry: SubmissionFile, before: set[int]) -> int:
    """Sends the file.

    Raises:
        StarshiftError: the competition takes kernels only.
    """
    require(
        not submissions.is_code_competition(api, slug),
        f"{slug} is a code competition.",
        expected="a kernel that predicts its hidden test set",
        received=entry.path.name,
        remedy=f"invoke kernel.submit --run {entry.folder.name}",
    )
    return submissions.submit(api, slug, entry.path, entry.description, entry.mark, before)


def check_quota(quota: SubmissionQuota, slug: str) -> None:
    """Logs how many submissions are left.

    Raises:
        StarshiftError: none is left.
    """
    if quota.left > 0:
        log.info("limit    %d made today, %d left", quota.today, quota.left)
        return
    page = f"https://www.kaggle.com/competitions/{slug}"
    if not quota.today and not quota.total:
        raise StarshiftError(
            f"This account does not take part in {slug}.", received="no submission is allowed, and none was ever made",
            remedy=f"accept the rules at {page}/rules and run again",
        )  # fmt: skip
    now = datetime.now(UTC)
    wait = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1) - now
    hours, minutes = divmod(int(wait.total_seconds()) // 60, 60)
    raise StarshiftError(
        f"No submission to {slug} is left {'at all' if quota.by_total else 'today'}.",
        received=f"{quota.today} made today, {quota.total} in all",
        remedy=f"choose among those at {page}/submissions"
        if quota.by_total
        else f"Kaggle's day ends at 00:00 UTC, in {hours} h {minutes} min: run again then",
    )


def write_scores(entry: SubmissionFile, one: KaggleSubmission) -> None:
    """Writes Kaggle's scores into the run's folder."""
    write_json(
        entry.folder / leaderboard.LEADERBOARD_FILE,
        {
            "public": one.public,
            "private": one.private,
            "ref": one.ref,
            "when": format_utc(one.when),
            "status": one.status,
            "message": one.message or entry.description,
        }
        | ({"error": one.error} if one.error else {}),
    )


def log_score(competition: Competition, folder: Path, one: KaggleSubmission) -> None:
    """Logs the score and its rank on the final leaderboard.

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
            received=f"still pending after {retry.POLL_TIMEOUT / 60:.0f} minutes",
            remedy=f"run again later: it is not sent again; {page}",
        )
    published = [
        (name, value) for name, value in (("public", one.public), ("private", one.private)) if value is not None
    ]
    log.info("score    %s", ", ".join(f"{name} {value:.5f}" for name, value in published) or "none is published")
    board = find_leaderboard(competition.slug, competition.metric)
    if board:
        for kind, value in published:
            log.info("         the %s score would be %s", kind, format_standing(board, value))
    log.info("wrote    %s", paths.format_path(folder / leaderboard.LEADERBOARD_FILE))
