"""Coming home: a session's parcel fetched whole, whatever the network does, and handed to merging.py."""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle import storage
from pipeline.kaggle.client import Purpose, ask, call
from pipeline.remote import merging, parcel
from pipeline.remote.parcel import Parcel
from pipeline.remote.pushed import Pushed

log = logging.getLogger(__name__)
PAGE = 100
TRIES = 3


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


def outputs(api: Any, pushed: Pushed) -> Iterator[tuple[str, str]]:
    """Name and signed address of each of a kernel's outputs, page by page."""
    owner, slug = pushed.ref.split("/")
    fields = {"userName": owner, "kernelSlug": slug, "versionLabel": pushed.label, "pageSize": PAGE}
    purpose = Purpose(doing=f"listing the outputs of {pushed.ref}", kind="kernel", name=pushed.ref)
    request, token, seen = "kernels.kernels_api_client.list_kernel_session_output", "", set[str]()
    while token not in seen:
        seen.add(token)
        page = {**fields, "pageToken": token} if token else fields
        answer = call(ask, api, request, page, purpose=purpose, safe_to_repeat=True)
        yield from ((one.file_name, one.url) for one in answer.files or ())
        token = answer.next_page_token or ""


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
    address = next((url for name, url in outputs(api, pushed) if name == parcel.NAME), None)
    if address is None:
        raise NoResultsError(
            f"{pushed.ref} has no results.",
            expected=f"the output {parcel.NAME}",
            received="a kernel that ended before it could pack them",
            remedy=f"its log says why: {pushed.url or 'https://www.kaggle.com/code/' + pushed.ref}",
        )
    purpose = Purpose(doing=f"fetching the results of {pushed.ref}", kind="kernel", name=pushed.ref, folder=folder)
    try:
        storage.get(address, path, purpose)
        return parcel.opened(path)
    except StarshiftError as error:
        if tries <= 1:
            raise
        log.warning("  warning: %s; fetching again", error.message)
    path.unlink(missing_ok=True)
    return fetch(api, pushed, folder, tries - 1)


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
