"""Submitting to a competition: the day's limit, and sending a file exactly once.

A submission is recognised by a mark that its message begins with, so that one whose reply was lost is found in Kaggle's
list rather than sent again.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.kaggle import storage
from pipeline.kaggle.client import KaggleError, Purpose, ask, call
from pipeline.kaggle.scores import API, about, listed

log = logging.getLogger(__name__)
LOOKS = 4
LOOK_WAIT = 5.0
"""Seconds between looks for a submission whose reply was lost: the list may lag."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """How many submissions were made today and ever, how many are left today, and whether the total limits them."""

    today: int
    total: int
    left: int
    by_total: bool


def allowance(api: Any, slug: str) -> Allowance:
    """How many submissions are left today."""
    found = call(
        api.competition_get_submission_limits,
        slug,
        purpose=about("asking how many submissions are left", slug),
        safe_to_repeat=True,
    )
    return Allowance(
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
    token = call(_upload, api, slug, path, purpose=about("sending the submission", slug), safe_to_repeat=True)
    fields = {"competitionName": slug, "blobFileTokens": token, "submissionDescription": message}
    purpose = about("submitting", slug)
    try:
        answer = call(ask, api, f"{API}.create_submission", fields, purpose=purpose, safe_to_repeat=False)
    except KaggleError as error:
        if not error.uncertain:
            raise
        log.info("  the reply was lost; looking whether Kaggle has it")
        return _recognised(api, slug, mark, before, error)
    if not answer.ref:
        raise KaggleError(
            "Kaggle did not take the submission.", received=answer.message or "an answer without a number",
            remedy="run again",
        )  # fmt: skip
    return int(answer.ref)


def _upload(api: Any, slug: str, path: Path) -> str:
    """Sends the file to an address of its own, each time a new one; returns the token that stands for it."""
    fields = {
        "competitionName": slug,
        "contentLength": path.stat().st_size,
        "lastModifiedEpochSeconds": int(path.stat().st_mtime),
        "fileName": path.name,
    }
    started = ask(api, f"{API}.start_submission_upload", fields)
    if not started.token or not started.create_url:
        raise KaggleError("Kaggle gave no address to send the submission to.", remedy="run again later")
    storage.send(path, started.create_url)
    return str(started.token)


def _recognised(api: Any, slug: str, mark: str, before: Collection[int], error: KaggleError) -> int:
    """The number of the submission whose reply was lost.

    Raises:
        KaggleError: it is not there.
    """
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_WAIT)
        if new := [one.ref for one in listed(api, slug, mark) if one.ref not in before]:
            return new[0]
    raise KaggleError(
        "The submission did not arrive: Kaggle broke off, and its list does not have it.",
        uncertain=True,
        received=error.received,
        remedy=f"run again, which looks for it first; https://www.kaggle.com/competitions/{slug}/submissions",
    ) from error


def one_file(api: Any, slug: str, name: str, folder: Path) -> None:
    """Downloads one file of a competition's data, which may come as an archive, into an empty folder.

    Raises:
        KaggleError: there is none, or it did not come.
    """
    purpose = Purpose(doing=f"downloading {name}", kind="competition", name=slug, folder=folder)
    how = {"path": str(folder), "force": True, "quiet": True}
    for wanted in (name, f"{name}.zip"):
        try:
            call(api.competition_download_file, slug, wanted, **how, purpose=purpose, safe_to_repeat=True)
            return
        except KaggleError as error:
            if error.status != 404:
                raise
    raise KaggleError(
        f"The competition {slug} has no file {name}.",
        status=404,
        remedy=f"look at {purpose.page}/data and set Submission(sample=...) in the competition file",
    )
