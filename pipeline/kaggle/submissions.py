"""Submissions to a competition: the day's quota, sending a file exactly once, and its score.

A submission's message begins with a mark, so one whose reply was lost is found in Kaggle's list and not sent again.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle import retry, transfer
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.client import query, send_request

log = logging.getLogger(__name__)
COMPETITION_API = "competitions.competition_api_client"


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


@dataclass(frozen=True, kw_only=True)
class SubmissionQuota:
    """How many submissions were made today and ever, how many are left today, and whether the total limits them."""

    today: int
    total: int
    left: int
    by_total: bool


def build_purpose(doing: str, slug: str, folder: Path = Path()) -> CallPurpose:
    """Returns the purpose of a call about a competition."""
    return CallPurpose(doing=doing, kind="competition", name=slug, folder=folder)


def fetch_submission_quota(api: Any, slug: str) -> SubmissionQuota:
    """Returns how many submissions are left today."""
    purpose = build_purpose("asking how many submissions are left", slug)
    limits = retry.call_with_retries(api.competition_get_submission_limits, slug, purpose=purpose, safe_to_repeat=True)
    return SubmissionQuota(
        today=limits.num_today, total=limits.num_total, left=limits.num_allowed_now, by_total=limits.limited_by_total
    )


def is_code_competition(api: Any, slug: str) -> bool:
    """Returns whether a competition takes kernels only, no files; False where Kaggle does not tell."""
    purpose = build_purpose("looking at the competition", slug)
    try:
        answer = query(api, f"{COMPETITION_API}.get_competition", {"competitionName": slug}, purpose)
    except KaggleError:  # what is sent next is refused in its own words
        return False
    return bool(answer.is_kernels_submissions_only)


def list_submissions(api: Any, slug: str, mark: str = "") -> list[KaggleSubmission]:
    """Returns the latest submissions whose message begins with the mark, the newest first."""
    purpose = build_purpose("looking at the submissions", slug)
    answer = retry.call_with_retries(
        api.competition_submissions, slug, page_size=100, purpose=purpose, safe_to_repeat=True
    )
    submissions = [_parse_submission(one) for one in answer or []]
    return sorted((one for one in submissions if one.message.startswith(mark)), key=lambda one: one.ref, reverse=True)


def wait_for_score(api: Any, slug: str, ref: int) -> KaggleSubmission:
    """Returns the submission once it is scored, or as it stands after POLL_TIMEOUT seconds; see its `status`.

    Raises:
        KaggleError: Kaggle cannot be reached.
    """
    purpose = build_purpose(f"asking for the score of submission {ref}", slug)
    return retry.poll(lambda: _fetch_submission(api, ref, purpose), lambda one: one.status != "pending")


def _fetch_submission(api: Any, ref: int, purpose: CallPurpose) -> KaggleSubmission:
    """Returns a submission's present state; a new one that is not found yet is pending."""
    try:
        return _parse_submission(query(api, f"{COMPETITION_API}.get_submission", {"ref": ref}, purpose))
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
    """Returns a score, which Kaggle writes as text, empty until it is known.

    Raises:
        StarshiftError: it is something else.
    """
    try:
        return float(text) if text else None
    except ValueError as error:
        raise StarshiftError("Kaggle's score is no number.", expected="e.g. 0.61", received=repr(text)) from error


def submit(api: Any, slug: str, path: Path, message: str, mark: str, before: Collection[int] = ()) -> int:
    """Sends a file, and returns Kaggle's number of the submission.

    The upload is repeated until it is there. The request that makes a submission of it is sent once, and the
    submission is searched for when the reply is lost.

    Args:
        api: from `authenticate`.
        slug: of the competition.
        path: the CSV file.
        message: shown in Kaggle's list; begins with the mark.
        mark: identifies submissions of this file.
        before: numbers of the submissions that have the mark already.

    Raises:
        KaggleError: refused, or not known to have been taken.
    """
    purpose = build_purpose("sending the submission", slug)
    token = retry.call_with_retries(_upload_file, api, slug, path, purpose=purpose, safe_to_repeat=True)
    fields = {"competitionName": slug, "blobFileTokens": token, "submissionDescription": message}
    return _create_submission(api, slug, "create_submission", fields, mark, before)


def submit_kernel(
    api: Any, slug: str, kernel: str, name: str, message: str, mark: str, before: Collection[int] = ()
) -> int:
    """Submits a kernel to a code competition, which runs it again on the hidden test set. See `submit`.

    Args:
        api: from `authenticate`.
        slug: of the competition.
        kernel: `owner/slug/version`, whose session is complete.
        name: of the file that it writes.
        message: see `submit`.
        mark: see `submit`.
        before: see `submit`.
    """
    owner, kernel_slug, version = kernel.split("/")
    fields = {"competitionName": slug, "kernelOwner": owner, "kernelSlug": kernel_slug, "kernelVersion": int(version)}
    fields |= {"fileName": name, "submissionDescription": message}
    return _create_submission(api, slug, "create_code_submission", fields, mark, before)


def _create_submission(
    api: Any, slug: str, request: str, fields: dict[str, Any], mark: str, before: Collection[int]
) -> int:
    """Makes a submission by one request, and searches for it when the reply is lost. Returns Kaggle's number of it."""
    try:
        answer = query(
            api, f"{COMPETITION_API}.{request}", fields, build_purpose("submitting", slug), safe_to_repeat=False
        )
    except KaggleError as error:
        if not error.uncertain:
            raise
        log.info("  the reply was lost; looking whether Kaggle has it")
        return _find_lost_submission(api, slug, mark, before, error)
    if not answer.ref:
        received = answer.message or "an answer without a number"
        raise KaggleError("Kaggle did not take the submission.", received=received, remedy="run again")
    return int(answer.ref)


def _upload_file(api: Any, slug: str, path: Path) -> str:
    """Sends the file to an address of its own, each time a new one. Returns its token."""
    fields = {"competitionName": slug, "fileName": path.name, **transfer.describe_file(path)}
    upload = send_request(api, f"{COMPETITION_API}.start_submission_upload", fields)
    if not upload.token or not upload.create_url:
        raise KaggleError("Kaggle gave no address to send the submission to.", remedy="run again later")
    transfer.send_file(path, upload.create_url)
    return str(upload.token)


def _find_lost_submission(api: Any, slug: str, mark: str, before: Collection[int], error: KaggleError) -> int:
    """Returns the number of the submission whose reply was lost.

    Raises:
        KaggleError: it is not there.
    """

    def list_new() -> list[int]:
        return [one.ref for one in list_submissions(api, slug, mark) if one.ref not in before]

    if new := retry.poll(list_new, bool, retry.LOST_REPLY_SECONDS):
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
    purpose = build_purpose(f"downloading {name}", slug, folder)
    options: dict[str, Any] = {"path": str(folder), "force": True, "quiet": True, "purpose": purpose}
    for stored_name in (name, f"{name}.zip"):
        try:
            retry.call_with_retries(api.competition_download_file, slug, stored_name, **options, safe_to_repeat=True)
            return
        except KaggleError as error:
            if error.status != 404:
                raise
    raise KaggleError(
        f"The competition {slug} has no file {name}.",
        status=404,
        remedy=f"look at {purpose.page}/data and set Submission(sample=...) in the competition file",
    )
