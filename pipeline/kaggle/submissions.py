"""Submitting to a competition: the day's limit, and sending a file exactly once.

A submission is recognised by a mark that its message begins with, so that one whose reply was lost is found in Kaggle's
list rather than sent again.

The submissions that Kaggle has, and their scores: listed by the mark that their message begins with, waited for.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle import transfer
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.client import send_request
from pipeline.kaggle.retry import call_with_retries

COMPETITION_API = "competitions.competition_api_client"
FIRST_POLL, MAX_POLL = 3.0, 30.0
POLL_TIMEOUT = 1800.0
"""Seconds that a score is waited for."""


@dataclass(frozen=True, kw_only=True)
class KaggleSubmission:
    """One submission as Kaggle has it.

    Args:
        ref: Kaggle's number of it.
        status: `pending`, `complete` or `error`.
        public: its public score; None until it is known.
        private: its private score; None until it is known.
        message: as it was sent.
        error: why it was not scored.
        when: it was sent (UTC).
    """

    ref: int
    status: str
    public: float | None = None
    private: float | None = None
    message: str = ""
    error: str = ""
    when: datetime | None = None


def list_submissions(api: Any, slug: str, mark: str = "") -> list[KaggleSubmission]:
    """The latest submissions whose message begins with the mark, the newest first."""
    found = call_with_retries(
        api.competition_submissions,
        slug,
        page_size=100,
        purpose=build_purpose("looking at the submissions", slug),
        safe_to_repeat=True,
    )
    every = [_parse_submission(one) for one in found or []]
    return sorted((one for one in every if one.message.startswith(mark)), key=lambda one: one.ref, reverse=True)


def wait_for_score(api: Any, slug: str, ref: int) -> KaggleSubmission:
    """The submission once it is scored, or as it stands after WAIT seconds; `status` tells.

    Raises:
        KaggleError: Kaggle cannot be asked.
    """
    started, pause = time.monotonic(), FIRST_POLL
    purpose = build_purpose(f"asking for the score of submission {ref}", slug)
    while True:
        one = _fetch_submission(api, ref, purpose)
        if one.status != "pending" or time.monotonic() - started > POLL_TIMEOUT:
            return one
        time.sleep(pause)
        pause = min(pause * 1.5, MAX_POLL)


def _fetch_submission(api: Any, ref: int, purpose: CallPurpose) -> KaggleSubmission:
    """A submission as it is now; a new one may not be found for a moment, which is as if it were pending."""
    try:
        return _parse_submission(
            call_with_retries(
                send_request,
                api,
                f"{COMPETITION_API}.get_submission",
                {"ref": ref},
                purpose=purpose,
                safe_to_repeat=True,
            )
        )
    except KaggleError as error:
        if error.status != 404:
            raise
    return KaggleSubmission(ref=ref, status="pending")


def _parse_submission(one: Any) -> KaggleSubmission:
    return KaggleSubmission(
        ref=int(one.ref),
        status=one.status.name.lower(),
        public=_parse_score(one.public_score),
        private=_parse_score(one.private_score),
        message=one.description,
        error=one.error_description.strip(),
        when=one.date,
    )


def _parse_score(text: str) -> float | None:
    """A score, which Kaggle writes as text, empty until it is known.

    Raises:
        StarshiftError: it is something else.
    """
    try:
        return float(text) if text else None
    except ValueError as error:
        raise StarshiftError("Kaggle's score is no number.", expected="e.g. 0.61", received=repr(text)) from error


def build_purpose(doing: str, slug: str) -> CallPurpose:
    """What a call about a competition is for."""
    return CallPurpose(doing=doing, kind="competition", name=slug)


log = logging.getLogger(__name__)
LOOK_ATTEMPTS = 4
LOOK_SECONDS = 5.0
"""Seconds between looks for a submission whose reply was lost: the list may lag."""


@dataclass(frozen=True, kw_only=True)
class SubmissionQuota:
    """How many submissions were made today and ever, how many are left today, and whether the total limits them."""

    today: int
    total: int
    left: int
    by_total: bool


def fetch_submission_quota(api: Any, slug: str) -> SubmissionQuota:
    """How many submissions are left today."""
    found = call_with_retries(
        api.competition_get_submission_limits,
        slug,
        purpose=build_purpose("asking how many submissions are left", slug),
        safe_to_repeat=True,
    )
    return SubmissionQuota(
        today=found.num_today, total=found.num_total, left=found.num_allowed_now, by_total=found.limited_by_total
    )


def submit(api: Any, slug: str, path: Path, message: str, mark: str, before: Collection[int] = ()) -> int:
    """Sends a file, and returns Kaggle's number of the submission.

    Sending it is repeated until it is there; what makes a submission of it is asked once, and looked for when its reply
    is lost.

    Args:
        api: from `authenticated`.
        slug: of the competition.
        path: the CSV file.
        message: shown in Kaggle's list; begins with the mark.
        mark: what a submission of this file is recognised by.
        before: numbers of the submissions that bear it already.

    Raises:
        KaggleError: refused, or not known to have been taken.
    """
    token = call_with_retries(
        _upload_file, api, slug, path, purpose=build_purpose("sending the submission", slug), safe_to_repeat=True
    )
    fields = {"competitionName": slug, "blobFileTokens": token, "submissionDescription": message}
    purpose = build_purpose("submitting", slug)
    try:
        answer = call_with_retries(
            send_request, api, f"{COMPETITION_API}.create_submission", fields, purpose=purpose, safe_to_repeat=False
        )
    except KaggleError as error:
        if not error.uncertain:
            raise
        log.info("  the reply was lost; looking whether Kaggle has it")
        return _find_lost_submission(api, slug, mark, before, error)
    if not answer.ref:
        raise KaggleError(
            "Kaggle did not take the submission.", received=answer.message or "an answer without a number",
            remedy="run again",
        )  # fmt: skip
    return int(answer.ref)


def _upload_file(api: Any, slug: str, path: Path) -> str:
    """Sends the file to an address of its own, each time a new one; returns the token that stands for it."""
    fields = {
        "competitionName": slug,
        "contentLength": path.stat().st_size,
        "lastModifiedEpochSeconds": int(path.stat().st_mtime),
        "fileName": path.name,
    }
    started = send_request(api, f"{COMPETITION_API}.start_submission_upload", fields)
    if not started.token or not started.create_url:
        raise KaggleError("Kaggle gave no address to send the submission to.", remedy="run again later")
    transfer.send_file(path, started.create_url)
    return str(started.token)


def _find_lost_submission(api: Any, slug: str, mark: str, before: Collection[int], error: KaggleError) -> int:
    """The number of the submission whose reply was lost.

    Raises:
        KaggleError: it is not there.
    """
    for look in range(LOOK_ATTEMPTS):
        if look:
            time.sleep(LOOK_SECONDS)
        if new := [one.ref for one in list_submissions(api, slug, mark) if one.ref not in before]:
            return new[0]
    raise KaggleError(
        "The submission did not arrive: Kaggle broke off, and its list does not have it.",
        uncertain=True,
        received=error.received,
        remedy=f"run again, which looks for it first; https://www.kaggle.com/competitions/{slug}/submissions",
    ) from error


def download_file(api: Any, slug: str, name: str, folder: Path) -> None:
    """Downloads one file of a competition's data, which may come as an archive, into an empty folder.

    Raises:
        KaggleError: there is none, or it did not come.
    """
    purpose = CallPurpose(doing=f"downloading {name}", kind="competition", name=slug, folder=folder)
    how = {"path": str(folder), "force": True, "quiet": True}
    for wanted in (name, f"{name}.zip"):
        try:
            call_with_retries(api.competition_download_file, slug, wanted, **how, purpose=purpose, safe_to_repeat=True)
            return
        except KaggleError as error:
            if error.status != 404:
                raise
    raise KaggleError(
        f"The competition {slug} has no file {name}.",
        status=404,
        remedy=f"look at {purpose.page}/data and set Submission(sample=...) in the competition file",
    )
