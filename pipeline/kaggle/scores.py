"""The submissions that Kaggle has, and their scores: listed by the mark that their message begins with, waited for."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle.client import KaggleError, Purpose, ask, call

API = "competitions.competition_api_client"
FIRST_POLL, LONGEST_POLL = 3.0, 30.0
WAIT = 1800.0
"""Seconds that a score is waited for."""


@dataclass(frozen=True, kw_only=True)
class Submission:
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


def listed(api: Any, slug: str, mark: str = "") -> list[Submission]:
    """The latest submissions whose message begins with the mark, the newest first."""
    found = call(
        api.competition_submissions,
        slug,
        page_size=100,
        purpose=about("looking at the submissions", slug),
        safe_to_repeat=True,
    )
    every = [_read(one) for one in found or []]
    return sorted((one for one in every if one.message.startswith(mark)), key=lambda one: one.ref, reverse=True)


def scored(api: Any, slug: str, ref: int) -> Submission:
    """The submission once it is scored, or as it stands after WAIT seconds; `status` tells.

    Raises:
        KaggleError: Kaggle cannot be asked.
    """
    started, pause = time.monotonic(), FIRST_POLL
    purpose = about(f"asking for the score of submission {ref}", slug)
    while True:
        one = _look(api, ref, purpose)
        if one.status != "pending" or time.monotonic() - started > WAIT:
            return one
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL)


def _look(api: Any, ref: int, purpose: Purpose) -> Submission:
    """A submission as it is now; a new one may not be found for a moment, which is as if it were pending."""
    try:
        return _read(call(ask, api, f"{API}.get_submission", {"ref": ref}, purpose=purpose, safe_to_repeat=True))
    except KaggleError as error:
        if error.status != 404:
            raise
    return Submission(ref=ref, status="pending")


def _read(one: Any) -> Submission:
    return Submission(
        ref=int(one.ref),
        status=one.status.name.lower(),
        public=_number(one.public_score),
        private=_number(one.private_score),
        message=one.description,
        error=one.error_description.strip(),
        when=one.date,
    )


def _number(text: str) -> float | None:
    """A score, which Kaggle writes as text, empty until it is known.

    Raises:
        StarshiftError: it is something else.
    """
    try:
        return float(text) if text else None
    except ValueError as error:
        raise StarshiftError("Kaggle's score is no number.", expected="e.g. 0.61", received=repr(text)) from error


def about(doing: str, slug: str) -> Purpose:
    """What a call about a competition is for."""
    return Purpose(doing=doing, kind="competition", name=slug)
