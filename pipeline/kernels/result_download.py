"""Coming home: a session's parcel fetched whole, whatever the network does, and handed to merging.py.

What came home put in its place: a run into data/runs, features into the cache, folds and submission where they lie.

Nothing finished is ever overwritten. Features need no translation: their keys depend on content, here as there.
"""

import io
import json
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import requests

from pipeline import paths
from pipeline.data.row_store import RowStore
from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_atomic, write_json
from pipeline.kaggle import transfer
from pipeline.kaggle.api_errors import CallPurpose
from pipeline.kaggle.retry import call_with_retries
from pipeline.kernels import result_archive
from pipeline.kernels.records import KernelRecord
from pipeline.kernels.result_archive import ResultArchive
from pipeline.runs import folder as runs

log = logging.getLogger(__name__)


def merge_features(found: ResultArchive) -> int:
    """Puts a parcel's features into the cache: rows that it lacks; those that are here stay. Returns their number."""
    rows = 0
    for name in [name for name in found.below("data/cache/features") if name.endswith("/spec.json")]:
        spec, folder = json.loads(found.read(name)), str(PurePosixPath(name).parent)
        store = RowStore(paths.cache_folder("features"), spec)
        if store.key != PurePosixPath(folder).name:
            log.warning("  warning: features %s are not what their key says, and are left out", folder)
            continue
        for sidecar in found.below(folder):
            if sidecar.endswith(".json") and sidecar != name:
                rows += _merge_shard(found, sidecar, store)
    return rows


def _merge_shard(found: ResultArchive, sidecar: str, store: RowStore) -> int:
    """Puts those rows of a parcel's shard into a store that it lacks. Returns their number."""
    content = json.loads(found.read(sidecar))
    lacking = set(store.missing([*content["ids"], *content["unreadable"]]))
    kept = [number for number, identity in enumerate(content["ids"]) if identity in lacking]
    unreadable = {identity: why for identity, why in content["unreadable"].items() if identity in lacking}
    if not lacking:
        return 0
    array = found.read(f"{sidecar.removesuffix('.json')}.npy") if kept else b""
    rows = np.load(io.BytesIO(array))[kept] if kept else np.empty(0, np.float32)
    store.append([content["ids"][n] for n in kept], rows, [content["digests"][n] for n in kept], unreadable)
    return len(kept)


def merge_folds(found: ResultArchive, competition: str) -> None:
    """Keeps the folds that were made there, where there are none here."""
    folder = f"data/competitions/{competition}"
    places = {name: paths.home_folder() / name for name in found.below(folder)}
    found.extract({name: place for name, place in places.items() if not place.exists()})


def merge_run(found: ResultArchive, pushed: KernelRecord) -> Path | None:
    """Puts the newest run of a parcel into data/runs, with kernel.json and session.log. Returns its folder.

    metrics.json is written last, as a run does it, so that one half merged does not count. An unfinished folder of this
    run is replaced; a finished one stays, and the new one lies beside it.
    """
    parent = f"data/runs/{pushed.competition}"
    folders = sorted(
        {PurePosixPath(name).parts[3] for name in found.below(parent) if len(PurePosixPath(name).parts) > 4}
    )
    if not folders:
        return None
    inside = f"{parent}/{folders[-1]}"
    folder = _find_run_folder(paths.runs_folder(pushed.competition), folders[-1], pushed)
    names = [name for name in found.below(inside) if PurePosixPath(name).name != "config.json"]
    last = f"{inside}/metrics.json"
    below = {name: folder / PurePosixPath(name).relative_to(inside) for name in names}
    write_json(folder / "config.json", {**pushed.config, "fingerprint": pushed.fingerprint})
    found.extract({name: place for name, place in below.items() if name != last})
    said = {**found.words, "kernel": pushed.ref, "version": pushed.version, "url": pushed.url, "pushed": pushed.date}
    write_json(folder / "kernel.json", said)
    if f"{parent}/session.log" in found.files:
        found.extract({f"{parent}/session.log": folder / "session.log"})
    if last in found.files:
        found.extract({last: folder / "metrics.json"})
        _copy_submission(folder, pushed.competition)
    return folder


def _find_run_folder(parent: Path, name: str, pushed: KernelRecord) -> Path:
    """Where the run goes: its name has the fingerprint that it has here."""
    rung = pushed.config["competition"]["recipe"]["rung"]
    stem, _, ending = name.rpartition(f"-{rung}-")
    ending = f"{rung}-{pushed.fingerprint[:8]}{'-debug' if ending.endswith('-debug') else ''}"
    number = 1
    while (folder := parent / (f"{stem}-{ending}" if number == 1 else f"{stem}.{number}-{ending}")).exists():
        same = (read_json(folder / "config.json") or {}).get("fingerprint") == pushed.fingerprint
        if same and not runs.is_finished(folder):
            break
        number += 1
    return folder


def _copy_submission(folder: Path, competition: str) -> None:
    """Puts a finished run's submission where submissions lie, as a run made here does."""
    source = folder / "submission.csv"
    if source.exists():
        for name in (f"{folder.name}.csv", "latest.csv"):
            write_atomic(paths.submissions_folder(competition) / name, lambda file: file.write(source.read_bytes()))


PAGE_SIZE = 200
"""Outputs in one answer, the most that Kaggle gives."""
FETCH_TRIES = 3
AGAIN = (None, 400, 403, 404, 410)
"""Statuses after which a new address may help; None is a file that is not whole. All others were repeated already."""


class NoResultsError(StarshiftError):
    """A kernel that ended before it could pack anything."""


@dataclass(frozen=True, kw_only=True)
class SessionResult:
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


def fetch_archive(api: Any, pushed: KernelRecord, folder: Path, tries: int = FETCH_TRIES) -> ResultArchive:
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
    path = folder / result_archive.ARCHIVE_NAME
    purpose = CallPurpose(doing=f"fetching the results of {pushed.ref}", kind="kernel", name=pushed.ref, folder=folder)
    try:
        call_with_retries(_download, api, pushed, folder, purpose=purpose, safe_to_repeat=True)
        if path.is_file():
            return result_archive.load_archive(path)
    except StarshiftError as error:
        if tries <= 1 or getattr(error, "status", None) not in AGAIN:
            raise
        log.warning("  warning: %s; fetching again", error.message)
    else:
        raise NoResultsError(
            f"{pushed.ref} has no results.",
            expected=f"the output {result_archive.ARCHIVE_NAME}",
            received="a kernel that ended before it could pack them",
            remedy=f"its log says why: {pushed.url or 'https://www.kaggle.com/code/' + pushed.ref}",
        )
    path.unlink(missing_ok=True)
    return fetch_archive(api, pushed, folder, tries - 1)


def _download(api: Any, pushed: KernelRecord, folder: Path) -> None:
    """Downloads the parcel, where the kernel has one. A download that breaks off goes on where it stood.

    Raises:
        KaggleError: the storage refuses its address.
    """
    pattern = rf"\A{re.escape(result_archive.ARCHIVE_NAME)}\Z"
    try:
        kernel = f"{pushed.ref}/{pushed.version}"
        api.kernels_output(kernel, str(folder), file_pattern=pattern, page_size=PAGE_SIZE)
    except ValueError as error:  # whatever refuses the listing, the client says that the slug is wrong
        raise error.__context__ or error from None
    except requests.HTTPError as error:
        if error.response is not None and error.response.request.method == "GET":  # the storage's: Kaggle's are POST
            transfer.check_response(error.response)
        raise


def fetch_and_merge(api: Any, pushed: KernelRecord) -> SessionResult:
    """Fetches a session's parcel and merges it. The run's folder is then as if it had been made here.

    Args:
        api: from `authenticated`.
        pushed: the kernel.

    Raises:
        StarshiftError: see `fetch_archive`; or the parcel answers another order.
    """
    with tempfile.TemporaryDirectory(prefix="starshift-") as folder:
        found = fetch_archive(api, pushed, Path(folder))
        if found.words["order"] != pushed.order:
            raise StarshiftError(
                f"The results of {pushed.ref} answer another order.",
                expected=pushed.order,
                received=str(found.words["order"]),
                remedy="invoke run --on kaggle pushes it again",
            )
        rows = merge_features(found)
        merge_folds(found, pushed.competition)
        run = merge_run(found, pushed)
    return SessionResult(state=found.words["state"], run=run, rows=rows, words=found.words)
