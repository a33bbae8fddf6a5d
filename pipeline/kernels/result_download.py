"""Downloads a session's results and merges them into the run folder, the feature cache and the folds.

Nothing finished is ever overwritten. Features need no translation: their keys depend on content only.
"""

import io
import json
import logging
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import requests

from pipeline import paths
from pipeline.data.row_store import RowStore
from pipeline.errors import StarshiftError, require
from pipeline.files import read_json, write_json
from pipeline.kaggle import transfer
from pipeline.kaggle.retry import call_with_retries
from pipeline.kernels.push import build_purpose
from pipeline.kernels.records import KernelRecord
from pipeline.kernels.result_archive import ARCHIVE_NAME, ResultArchive, load_archive
from pipeline.kernels.session import PROGRESS_PREFIX
from pipeline.runs import folder as runs
from pipeline.workflow.finish import write_report

log = logging.getLogger(__name__)


def merge_features(archive: ResultArchive) -> int:
    """Adds an archive's features to the cache where it lacks them. Returns the number of rows."""
    rows = 0
    for name in (name for name in archive.below("data/cache/features") if name.endswith("/spec.json")):
        spec, folder = json.loads(archive.read(name)), str(PurePosixPath(name).parent)
        store = RowStore(paths.cache_folder("features"), spec)
        if store.key != PurePosixPath(folder).name:
            log.warning("  warning: features %s are not what their key says, and are left out", folder)
            continue
        for sidecar in archive.below(folder):
            if sidecar.endswith(".json") and sidecar != name:
                rows += _merge_shard(archive, sidecar, store)
    return rows


def _merge_shard(archive: ResultArchive, sidecar: str, store: RowStore) -> int:
    """Adds the rows of an archive's shard that a store lacks. Returns their number."""
    content = json.loads(archive.read(sidecar))
    missing = set(store.missing([*content["ids"], *content["unreadable"]]))
    if not missing:
        return 0
    numbers = [number for number, identity in enumerate(content["ids"]) if identity in missing]
    unreadable = {identity: reason for identity, reason in content["unreadable"].items() if identity in missing}
    rows = np.empty(0, np.float32)
    if numbers:
        rows = np.load(io.BytesIO(archive.read(f"{sidecar.removesuffix('.json')}.npy")))[numbers]
    store.append([content["ids"][n] for n in numbers], rows, [content["digests"][n] for n in numbers], unreadable)
    return len(numbers)


def merge_folds(archive: ResultArchive, competition: str) -> None:
    """Extracts the folds of the session where there are none here."""
    folder = f"data/competitions/{competition}"
    places = {name: paths.home_folder() / name for name in archive.below(folder)}
    archive.extract({name: place for name, place in places.items() if not place.exists()})


def merge_run(archive: ResultArchive, record: KernelRecord) -> Path | None:
    """Extracts the newest run into data/runs, with kernel.json and session.log. Returns its folder.

    metrics.json is written last, as a run does it, so that a half-merged one does not count. An unfinished folder of
    this run is replaced; a finished one stays, and the new one is put beside it.
    """
    parent = f"data/runs/{record.competition}"
    names = sorted(parts[3] for name in archive.below(parent) if len(parts := PurePosixPath(name).parts) > 4)
    if not names:
        return None
    inside = f"{parent}/{names[-1]}"
    folder = _find_run_folder(paths.runs_folder(record.competition), names[-1], record)
    targets = {name: folder / PurePosixPath(name).relative_to(inside) for name in archive.below(inside)}
    last = f"{inside}/metrics.json"
    runs.write_config(folder, record.config, record.fingerprint)
    first = {name: path for name, path in targets.items() if name != last and path.name != "config.json"}
    log_name = f"{parent}/session.log"
    archive.extract(first | ({log_name: folder / "session.log"} if log_name in archive.files else {}))
    kernel = {"kernel": record.ref, "version": record.version, "url": record.url, "pushed": record.date}
    write_json(folder / "kernel.json", {**archive.summary, **kernel})
    if last in archive.files:
        archive.extract({last: folder / "metrics.json"})
        if f"{inside}/submission.csv" in archive.files:  # where a local run copies it to
            place = paths.submissions_folder(record.competition)
            archive.extract({f"{inside}/submission.csv": place / f"{folder.name}.csv"})
            archive.extract({f"{inside}/submission.csv": place / "latest.csv"})
        if not (folder / "report.html").is_file():  # the image there may lack what a report is made with
            write_report(folder, record.competition)
    return folder


def _find_run_folder(parent: Path, name: str, record: KernelRecord) -> Path:
    """Returns the run's folder; its name has this machine's fingerprint."""
    strategy = record.config["competition"]["recipe"]["strategy"]
    stem, _, ending = name.rpartition(f"-{strategy}-")
    ending = f"{strategy}-{record.fingerprint[:8]}{'-debug' if ending.endswith('-debug') else ''}"
    number = 1
    while (folder := parent / (f"{stem}-{ending}" if number == 1 else f"{stem}.{number}-{ending}")).exists():
        same = runs.read_config(folder).get("fingerprint") == record.fingerprint
        if same and not runs.is_finished(folder):
            break
        number += 1
    return folder


PAGE_SIZE = 200
"""Outputs in one answer, the most that Kaggle gives."""
FETCH_TRIES = 3
RETRY_STATUSES = (None, 400, 403, 404, 410)
"""Statuses after which a new address may help; None: a damaged file. All others were repeated already."""


def fetch_archive(api: Any, record: KernelRecord, folder: Path, tries: int = FETCH_TRIES) -> ResultArchive | None:
    """Downloads a session's archive into a folder and checks it against its manifest; None where there is none.

    Args:
        api: from `authenticate`.
        record: the kernel.
        folder: of the download.
        tries: an error page may come in place of a file, and addresses expire.

    Raises:
        StarshiftError: it cannot be downloaded whole.
    """
    path = folder / ARCHIVE_NAME
    purpose = build_purpose(record, f"fetching the results of {record.ref}", folder)
    try:
        call_with_retries(_download, api, record, folder, purpose=purpose, safe_to_repeat=True)
        return load_archive(path) if path.is_file() else None
    except StarshiftError as error:
        if tries <= 1 or getattr(error, "status", None) not in RETRY_STATUSES:
            raise
        log.warning("  warning: %s; fetching again", error.message)
    path.unlink(missing_ok=True)
    return fetch_archive(api, record, folder, tries - 1)


def _download(api: Any, record: KernelRecord, folder: Path) -> None:
    """Downloads the archive, where the kernel has one. A download that breaks off is resumed.

    Raises:
        KaggleError: the storage refuses its address.
    """
    pattern = rf"\A{re.escape(ARCHIVE_NAME)}\Z"
    try:
        kernel = f"{record.ref}/{record.version}"
        api.kernels_output(kernel, str(folder), file_pattern=pattern, page_size=PAGE_SIZE)
    except ValueError as error:  # whatever refuses the listing, the client says that the slug is wrong
        raise error.__context__ or error from None
    except requests.HTTPError as error:
        if error.response is not None and error.response.request.method == "GET":  # the storage's: Kaggle's are POST
            transfer.check_response(error.response)
        raise


def find_log_end(folder: Path, record: KernelRecord) -> float:
    """Returns the seconds from a session's start to the end of its log; 0 where its run never began.

    Args:
        folder: that the outputs were downloaded to; the client puts the log there too.
        record: the kernel.
    """
    events = read_json(folder / f"{record.slug}.log") or []
    return max(float(one["time"]) for one in events) if any(PROGRESS_PREFIX in one["data"] for one in events) else 0.0


def fetch_and_merge(api: Any, record: KernelRecord) -> KernelRecord:
    """Downloads a session's archive and merges it. The run's folder is then like that of a local run.

    Args:
        api: from `authenticate`.
        record: the kernel.

    Returns:
        The record with the results, saved. Where there are none, it is `killed`, and `failed` if no run ever began.

    Raises:
        StarshiftError: see `fetch_archive`; or the archive is another job's.
    """
    with tempfile.TemporaryDirectory(prefix="starshift-") as folder:
        archive = fetch_archive(api, record, Path(folder))
        took = find_log_end(Path(folder), record)
        if archive is None:
            state = "killed" if took or record.metadata["kernel_sources"] else "failed"
            return record.save(state=state, summary=record.summary | {"took": took})
        require(
            archive.summary["order"] == record.job_digest,
            f"The results of {record.ref} answer another order.",
            expected=record.job_digest,
            received=archive.summary["order"],
            remedy="invoke run --on kaggle pushes it again",
        )
        rows = merge_features(archive)
        merge_folds(archive, record.competition)
        run = merge_run(archive, record)
    summary, name = archive.summary, run.name if run else ""
    summary["took"] = max(summary["took"], took if summary["state"] == "killed" else 0.0)
    line = "home      %s after %.0f s: run %s, %d rows of features that were not here"
    log.info(line, summary["state"], summary["took"], name or "none", rows)
    return record.save(state=summary["state"], run=name, summary=summary)
