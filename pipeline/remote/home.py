"""Coming home: a session's parcel fetched whole, whatever the network does, and handed to merging.py."""

import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from pipeline.errors import StarshiftError
from pipeline.kaggle import storage
from pipeline.kaggle.client import Purpose, call
from pipeline.remote import merging, parcel
from pipeline.remote.parcel import Parcel
from pipeline.remote.pushed import Pushed

log = logging.getLogger(__name__)
PAGE = 200
"""Outputs in one answer, the most that Kaggle gives."""
TRIES = 3
AGAIN = (None, 400, 403, 404, 410)
"""Statuses after which a new address may help; None is a file that is not whole. `call` has repeated all others."""


class NoResultsError(StarshiftError):
    """A kernel that ended before it could pack anything."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """What came home.

    Args:
        state: `complete`, `interrupted` or `failed`.
        run: the run's folder; None where there was none yet.
        rows: of features that were not here before.
        words: what the session says of itself.
    """

    state: str
    run: Path | None
    rows: int
    words: dict[str, Any]


def fetch(api: Any, pushed: Pushed, folder: Path, tries: int = TRIES) -> Parcel:
    """A session's parcel, fetched into a folder and held against its manifest.

    Args:
        api: from `authenticated`.
        pushed: the kernel.
        folder: where to.
        tries: a page that says something went wrong may come in place of a file, and addresses expire.

    Raises:
        NoResultsError: the kernel has no parcel.
        StarshiftError: it cannot be fetched whole.
    """
    path = folder / parcel.NAME
    purpose = Purpose(doing=f"fetching the results of {pushed.ref}", kind="kernel", name=pushed.ref, folder=folder)
    try:
        call(_download, api, pushed, folder, purpose=purpose, safe_to_repeat=True)
        if path.is_file():
            return parcel.opened(path)
    except StarshiftError as error:
        if tries <= 1 or getattr(error, "status", None) not in AGAIN:
            raise
        log.warning("  warning: %s; fetching again", error.message)
    else:
        raise NoResultsError(
            f"{pushed.ref} has no results.",
            expected=f"the output {parcel.NAME}",
            received="a kernel that ended before it could pack them",
            remedy=f"its log says why: {pushed.url or 'https://www.kaggle.com/code/' + pushed.ref}",
        )
    path.unlink(missing_ok=True)
    return fetch(api, pushed, folder, tries - 1)


def _download(api: Any, pushed: Pushed, folder: Path) -> None:
    """Downloads the parcel, where the kernel has one. A download that breaks off goes on where it stood.

    Raises:
        KaggleError: the storage refuses its address.
    """
    pattern = rf"\A{re.escape(parcel.NAME)}\Z"
    try:
        kernel = f"{pushed.ref}/{pushed.version}"
        api.kernels_output(kernel, str(folder), file_pattern=pattern, page_size=PAGE)
    except ValueError as error:  # whatever refuses the listing, the client says that the slug is wrong
        raise error.__context__ or error from None
    except requests.HTTPError as error:
        if error.response is not None and error.response.request.method == "GET":  # the storage's: Kaggle's are POST
            storage.check_response(error.response)
        raise


def bring(api: Any, pushed: Pushed) -> Home:
    """Fetches a session's parcel and merges it. The run's folder is then as if it had been made here.

    Args:
        api: from `authenticated`.
        pushed: the kernel.

    Raises:
        StarshiftError: see `fetch`; or the parcel answers another order.
    """
    with tempfile.TemporaryDirectory(prefix="starshift-") as folder:
        found = fetch(api, pushed, Path(folder))
        if found.words["order"] != pushed.order:
            raise StarshiftError(
                f"The results of {pushed.ref} answer another order.",
                expected=pushed.order,
                received=str(found.words["order"]),
                remedy="invoke run --on kaggle pushes it again",
            )
        rows = merging.features(found)
        merging.split(found, pushed.competition)
        run = merging.run(found, pushed)
    return Home(state=found.words["state"], run=run, rows=rows, words=found.words)
