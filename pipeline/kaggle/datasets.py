"""A private dataset that is kept up to date: created, or given a new version, exactly once, and waited for.

A version replaces the whole file set, so the whole set is always sent. What the last version holds is told by a file in
it whose name ends in a digest of the set.
"""

import logging
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError, require
from pipeline.files import sha256_of_file, sha256_of_json, write_json
from pipeline.kaggle import slugs, uploads
from pipeline.kaggle.client import KaggleError, Purpose, ask, call, username

log = logging.getLogger(__name__)
API = "datasets.dataset_api_client"
READY, ENDED = "ready", ("ready", "failed", "deleted")
FIRST_POLL, LONGEST_POLL = 3.0, 30.0
WAIT = 1800.0
"""Seconds that Kaggle is given to process a version."""
GRACE = 20.0
"""Seconds after a lost reply until a version that is not there is taken for not made."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset as Kaggle has it.

    Args:
        ref: `owner/slug`.
        version: the current one, from 1 on.
        status: `ready`, `failed`, or what Kaggle is doing with it.
    """

    ref: str
    version: int
    status: str


def usable(dataset: str) -> str:
    """A dataset's name, `owner/slug` or a slug, that Kaggle takes.

    Raises:
        StarshiftError: it is too short or too long, or no name.
    """
    require(
        re.fullmatch(f"({slugs.PART}/)?{slugs.PART}", dataset),
        "Unusable name.",
        expected=f"{slugs.DATASET} or a slug, without a version; {slugs.CHARACTERS}",
        received=dataset,
    )
    require(
        6 <= len(dataset.rsplit("/", maxsplit=1)[-1]) <= 50,
        "Unusable name.",
        expected="6 to 50 characters",
        received=dataset,
    )
    return dataset


def reference(api: Any, dataset: str) -> str:
    """`owner/slug` of a dataset; of a slug alone the owner is whoever asks."""
    return dataset if "/" in dataset else f"{username(api)}/{dataset}"


def manifest(prefix: str, files: Iterable[Path]) -> Path:
    """A file that lists a set of files; its name, `prefix` and a digest, tells which set it is."""
    order = sorted(files, key=lambda path: path.name)
    content = {path.name: {"sha256": sha256_of_file(path), "bytes": path.stat().st_size} for path in order}
    path = paths.cache_folder("uploads") / f"{prefix}{sha256_of_json(content)[:12]}.json"
    write_json(path, content)
    return path


def look(api: Any, ref: str) -> Dataset | None:
    """The dataset; None where there is none (of which Kaggle says 403 or 404; any other failure is one).

    Raises:
        KaggleError: Kaggle cannot be asked.
    """
    owner, slug = ref.split("/")[:2]
    fields, purpose = {"ownerSlug": owner, "datasetSlug": slug}, about(ref, "looking at")
    try:
        status = call(ask, api, f"{API}.get_dataset_status", fields, purpose=purpose, safe_to_repeat=True)
        found = call(ask, api, f"{API}.get_dataset", fields, purpose=purpose, safe_to_repeat=True)
    except KaggleError as error:
        if error.status in (403, 404):
            return None
        raise
    return Dataset(ref=ref, version=int(found.current_version_number), status=status.status.name.lower())


def files_in(api: Any, ref: str) -> dict[str, int]:
    """Names and sizes (bytes) of the files of `owner/slug`, or of a version of it, `owner/slug/3`."""
    owner, slug, *version = ref.split("/")
    fields: dict[str, Any] = {"ownerSlug": owner, "datasetSlug": slug, "pageSize": 200}
    fields |= {"datasetVersionNumber": int(version[0])} if version else {}
    found: dict[str, int] = {}
    while True:
        answer = call(ask, api, f"{API}.list_dataset_files", fields, purpose=about(ref, "listing"), safe_to_repeat=True)
        found |= {Path(one.name).name: int(one.total_bytes) for one in answer.files or []}
        if not answer.next_page_token:
            return found
        fields["pageToken"] = answer.next_page_token


def publish(api: Any, ref: str, title: str, files: Sequence[Path], notes: str, before: Dataset | None) -> Dataset:
    """Makes these files the dataset's newest version, and waits until kernels can have it.

    Args:
        api: from `authenticated`.
        ref: `owner/slug`; created, private, where there is none.
        title: 6 to 50 characters.
        files: all of them, with distinct names.
        notes: of the version.
        before: as `settled` found it.

    Raises:
        StarshiftError: an upload failed (the next call goes on with it), or Kaggle refuses or fails.
    """
    tokens = [{"token": uploads.upload(api, path)} for path in files]
    owner, slug = ref.split("/")
    if before is None:
        fields = {"ownerSlug": owner, "slug": slug, "title": title, "licenseName": "other", "isPrivate": True}
        _made(api, f"{API}.create_dataset", fields | {"files": tokens}, ref, 1)
    else:
        body = {"versionNotes": notes, "deleteOldVersions": False, "files": tokens}
        fields = {"ownerSlug": owner, "datasetSlug": slug, "body": body}
        _made(api, f"{API}.create_dataset_version", fields, ref, before.version + 1)
    done = waited(api, ref, before.version + 1 if before else 1)
    for path in files:
        uploads.forget(path)
    return done


def settled(api: Any, ref: str) -> Dataset | None:
    """The dataset once Kaggle is not working at it: while it is, it takes no new version. None where there is none."""
    found = look(api, ref)
    if found is None or found.status in ENDED:
        return None if found and found.status == "deleted" else found
    log.info("  %s version %d is being processed: %s", ref, found.version, found.status)
    return waited(api, ref, found.version)


def _made(api: Any, request: str, fields: dict[str, Any], ref: str, version: int) -> None:
    """Creates a dataset or a version; asked once, and looked for when the reply is lost."""
    try:
        answer = call(ask, api, request, fields, purpose=about(ref, "making a version of"), safe_to_repeat=False)
    except KaggleError as error:
        if not error.uncertain or not _there(api, ref, version):
            raise
        log.info("  the reply was lost, but Kaggle has version %d", version)
        return
    if answer.error or answer.status.lower() != "ok":
        raise KaggleError(
            f"Kaggle refuses the dataset {ref}.",
            received=answer.error or f"status {answer.status!r}",
            remedy=f"look at {about(ref, '').page}, or choose another name with --dataset",
        )


def _there(api: Any, ref: str, version: int) -> bool:
    """Whether a version whose making was not confirmed is there, or appears within GRACE seconds."""
    started = time.monotonic()
    while True:
        found = look(api, ref)
        if found and (found.version >= version or found.status not in ENDED):
            return True
        if time.monotonic() - started > GRACE:
            return False
        time.sleep(FIRST_POLL)


def waited(api: Any, ref: str, version: int) -> Dataset:
    """The dataset when it is ready and has this version or a later one: `ready` alone can be said of the old one.

    Raises:
        StarshiftError: Kaggle failed to process it, or is not done after WAIT seconds.
    """
    started, pause = time.monotonic(), FIRST_POLL
    while True:
        found = look(api, ref)
        if found and found.status == READY and found.version >= version:
            return found
        if found and found.status in ENDED and found.status != READY:
            raise StarshiftError(
                f"Kaggle could not process the dataset {ref}.",
                received=found.status,
                remedy=f"look at {about(ref, '').page} and run again",
            )
        if time.monotonic() - started > WAIT:
            raise StarshiftError(
                f"The dataset {ref} is not ready yet.",
                expected=f"version {version}",
                received=f"version {found.version}, {found.status}" if found else "not found",
                remedy="run again later: what was sent is not sent again",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL)


def about(ref: str, doing: str) -> Purpose:
    """What a call about a dataset is for."""
    return Purpose(doing=f"{doing} the dataset {ref}", kind="dataset", name="/".join(ref.split("/")[:2]))
