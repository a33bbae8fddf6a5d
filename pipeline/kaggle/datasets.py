"""A private dataset that is kept up to date: created, or given a new version, exactly once, and waited for.

A version replaces the whole file set, so the whole set is always sent. What the last version holds is told by a file in
it whose name ends in a digest of the set.

Files on their way into a dataset: an upload that was broken off goes on in the next process where it stood.

Each upload's address is remembered under what the file is (its name and digest) until the dataset has it. The address
is a permission, so the folder is the user's alone.
"""

import logging
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError, require
from pipeline.files import hash_file, hash_json, read_json, write_json
from pipeline.kaggle import slugs, transfer
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.client import find_username, send_request
from pipeline.kaggle.retry import call_with_retries

URL_LIFETIME = 6 * 24 * 3600
"""Seconds that an address may be used: Google's are valid for a week."""
EXPIRED_STATUSES = (403, 404, 410)


def upload_file(api: Any, path: Path) -> str:
    """Sends a file, or what is left of it. Returns the token that a dataset's version names it by.

    Raises:
        KaggleError: it did not arrive; the next call goes on.
    """
    record, purpose = find_record_path(path), CallPurpose(doing=f"sending {path.name}", kind="dataset")
    remembered = read_json(record)
    if remembered and remembered["started"] + URL_LIFETIME > time.time():
        try:
            transfer.upload_resumable(path, remembered["url"], purpose, begun=True)
            return str(remembered["token"])
        except KaggleError as error:
            if error.status not in EXPIRED_STATUSES:
                raise
    fields = {
        "type": "DATASET",
        "name": path.name,
        "contentLength": path.stat().st_size,
        "lastModifiedEpochSeconds": int(path.stat().st_mtime),
    }
    request = "blobs.blob_api_client.start_blob_upload"
    started = call_with_retries(send_request, api, request, fields, purpose=purpose, safe_to_repeat=True)
    write_record(record, started.token, started.create_url)
    transfer.upload_resumable(path, started.create_url, purpose)
    return str(started.token)


def find_record_path(path: Path) -> Path:
    """Where an upload is remembered."""
    what = hash_json([path.name, hash_file(path)])
    return paths.cache_folder("uploads") / f"{what[:16]}.json"


def write_record(record: Path, token: str, url: str) -> None:
    """Keeps an upload's address, for this user only."""
    record.parent.mkdir(parents=True, exist_ok=True)
    os.chmod(record.parent, 0o700)
    write_json(record, {"token": token, "url": url, "started": int(time.time())})


def delete_record(path: Path) -> None:
    """Called when the dataset has the file."""
    find_record_path(path).unlink(missing_ok=True)


log = logging.getLogger(__name__)
DATASET_API = "datasets.dataset_api_client"
READY, FINAL_STATUSES = "ready", ("ready", "failed", "deleted")
FIRST_POLL, MAX_POLL = 3.0, 30.0
POLL_TIMEOUT = 1800.0
"""Seconds that Kaggle is given to process a version."""
LOST_REPLY_SECONDS = 20.0
"""Seconds after a lost reply until a version that is not there is taken for not made."""


@dataclass(frozen=True, kw_only=True)
class KaggleDataset:
    """A dataset as Kaggle has it.

    Args:
        ref: `owner/slug`.
        version: the current one, from 1 on.
        status: `ready`, `failed`, or what Kaggle is doing with it.
    """

    ref: str
    version: int
    status: str


def check_dataset_name(dataset: str) -> str:
    """A dataset's name, `owner/slug` or a slug, that Kaggle takes.

    Raises:
        StarshiftError: it is too short or too long, or no name.
    """
    require(
        re.fullmatch(f"({slugs.PART_PATTERN}/)?{slugs.PART_PATTERN}", dataset),
        "Unusable name.",
        expected=f"{slugs.DATASET_FORM} or a slug, without a version; {slugs.ALLOWED_CHARACTERS}",
        received=dataset,
    )
    require(
        6 <= len(dataset.rsplit("/", maxsplit=1)[-1]) <= 50,
        "Unusable name.",
        expected="6 to 50 characters",
        received=dataset,
    )
    return dataset


def resolve_ref(api: Any, dataset: str) -> str:
    """`owner/slug` of a dataset; of a slug alone the owner is whoever asks."""
    return dataset if "/" in dataset else f"{find_username(api)}/{dataset}"


def write_manifest(prefix: str, files: Iterable[Path]) -> Path:
    """A file that lists a set of files; its name, `prefix` and a digest, tells which set it is."""
    order = sorted(files, key=lambda path: path.name)
    content = {path.name: {"sha256": hash_file(path), "bytes": path.stat().st_size} for path in order}
    path = paths.cache_folder("uploads") / f"{prefix}{hash_json(content)[:12]}.json"
    write_json(path, content)
    return path


def find_dataset(api: Any, ref: str) -> KaggleDataset | None:
    """The dataset; None where there is none (of which Kaggle says 403 or 404; any other failure is one).

    Raises:
        KaggleError: Kaggle cannot be asked.
    """
    owner, slug = ref.split("/")[:2]
    fields, purpose = {"ownerSlug": owner, "datasetSlug": slug}, build_purpose(ref, "looking at")
    try:
        status = call_with_retries(
            send_request, api, f"{DATASET_API}.get_dataset_status", fields, purpose=purpose, safe_to_repeat=True
        )
        found = call_with_retries(
            send_request, api, f"{DATASET_API}.get_dataset", fields, purpose=purpose, safe_to_repeat=True
        )
    except KaggleError as error:
        if error.status in (403, 404):
            return None
        raise
    return KaggleDataset(ref=ref, version=int(found.current_version_number), status=status.status.name.lower())


def list_files(api: Any, ref: str) -> dict[str, int]:
    """Names and sizes (bytes) of the files of `owner/slug`, or of a version of it, `owner/slug/3`."""
    owner, slug, *version = ref.split("/")
    fields: dict[str, Any] = {"ownerSlug": owner, "datasetSlug": slug, "pageSize": 200}
    fields |= {"datasetVersionNumber": int(version[0])} if version else {}
    found: dict[str, int] = {}
    while True:
        answer = call_with_retries(
            send_request,
            api,
            f"{DATASET_API}.list_dataset_files",
            fields,
            purpose=build_purpose(ref, "listing"),
            safe_to_repeat=True,
        )
        found |= {Path(one.name).name: int(one.total_bytes) for one in answer.files or []}
        if not answer.next_page_token:
            return found
        fields["pageToken"] = answer.next_page_token


def publish_version(
    api: Any, ref: str, title: str, files: Sequence[Path], notes: str, before: KaggleDataset | None
) -> KaggleDataset:
    """Makes these files the dataset's newest version, and waits until kernels can have it.

    Args:
        api: from `authenticated`.
        ref: `owner/slug`; created, private, where there is none.
        title: 6 to 50 characters.
        files: all of them, with distinct names.
        notes: of the version.
        before: as `wait_until_idle` found it.

    Raises:
        StarshiftError: an upload failed (the next call goes on with it), or Kaggle refuses or fails.
    """
    tokens = [{"token": upload_file(api, path)} for path in files]
    owner, slug = ref.split("/")
    if before is None:
        fields = {"ownerSlug": owner, "slug": slug, "title": title, "licenseName": "other", "isPrivate": True}
        _create_version(api, f"{DATASET_API}.create_dataset", fields | {"files": tokens}, ref, 1)
    else:
        body = {"versionNotes": notes, "deleteOldVersions": False, "files": tokens}
        fields = {"ownerSlug": owner, "datasetSlug": slug, "body": body}
        _create_version(api, f"{DATASET_API}.create_dataset_version", fields, ref, before.version + 1)
    done = wait_until_ready(api, ref, before.version + 1 if before else 1)
    for path in files:
        delete_record(path)
    return done


def wait_until_idle(api: Any, ref: str) -> KaggleDataset | None:
    """The dataset once Kaggle is not working at it: while it is, it takes no new version. None where there is none."""
    found = find_dataset(api, ref)
    if found is None or found.status in FINAL_STATUSES:
        return None if found and found.status == "deleted" else found
    log.info("  %s version %d is being processed: %s", ref, found.version, found.status)
    return wait_until_ready(api, ref, found.version)


def _create_version(api: Any, request: str, fields: dict[str, Any], ref: str, version: int) -> None:
    """Creates a dataset or a version; asked once, and looked for when the reply is lost."""
    try:
        answer = call_with_retries(
            send_request, api, request, fields, purpose=build_purpose(ref, "making a version of"), safe_to_repeat=False
        )
    except KaggleError as error:
        if not error.uncertain or not _has_lost_version(api, ref, version):
            raise
        log.info("  the reply was lost, but Kaggle has version %d", version)
        return
    if answer.error or answer.status.lower() != "ok":
        raise KaggleError(
            f"Kaggle refuses the dataset {ref}.",
            received=answer.error or f"status {answer.status!r}",
            remedy=f"look at {build_purpose(ref, '').page}, or choose another name with --dataset",
        )


def _has_lost_version(api: Any, ref: str, version: int) -> bool:
    """Whether a version whose making was not confirmed is there, or appears within GRACE seconds."""
    started = time.monotonic()
    while True:
        found = find_dataset(api, ref)
        if found and (found.version >= version or found.status not in FINAL_STATUSES):
            return True
        if time.monotonic() - started > LOST_REPLY_SECONDS:
            return False
        time.sleep(FIRST_POLL)


def wait_until_ready(api: Any, ref: str, version: int) -> KaggleDataset:
    """The dataset when it is ready and has this version or a later one: `ready` alone can be said of the old one.

    Raises:
        StarshiftError: Kaggle failed to process it, or is not done after WAIT seconds.
    """
    started, pause = time.monotonic(), FIRST_POLL
    while True:
        found = find_dataset(api, ref)
        if found and found.status == READY and found.version >= version:
            return found
        if found and found.status in FINAL_STATUSES and found.status != READY:
            raise StarshiftError(
                f"Kaggle could not process the dataset {ref}.",
                received=found.status,
                remedy=f"look at {build_purpose(ref, '').page} and run again",
            )
        if time.monotonic() - started > POLL_TIMEOUT:
            raise StarshiftError(
                f"The dataset {ref} is not ready yet.",
                expected=f"version {version}",
                received=f"version {found.version}, {found.status}" if found else "not found",
                remedy="run again later: what was sent is not sent again",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, MAX_POLL)


def build_purpose(ref: str, doing: str) -> CallPurpose:
    """What a call about a dataset is for."""
    return CallPurpose(doing=f"{doing} the dataset {ref}", kind="dataset", name="/".join(ref.split("/")[:2]))
