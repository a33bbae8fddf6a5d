"""Private Kaggle datasets: uploads that resume, and versions that are made exactly once.

A version replaces the whole file set, so the whole set is always sent. A manifest whose name ends in a digest of the
set tells what the last version holds. The address of an unfinished upload is stored under the file's name and digest,
so the next process resumes it; the address is a permission, so the folder is the user's alone.
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
from pipeline.kaggle import retry, transfer
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.client import find_username, query

DATASET_FORM, MODEL_FORM = "owner/slug", "owner/model/framework/variation/version"
ATTACHMENT_FORMS = f"{DATASET_FORM} for a dataset, without a version (its newest is taken), or {MODEL_FORM} for a model"
ALLOWED_CHARACTERS = "letters, digits, - and _ in each part"
PART_PATTERN = "[A-Za-z0-9_-]+"
NAME_FORMS = {
    "competition": ("a slug", PART_PATTERN),
    "dataset": (ATTACHMENT_FORMS, f"{PART_PATTERN}/{PART_PATTERN}"),
    # five characters: as the client wants
    "kernel": (f"{DATASET_FORM}, the slug of five characters or more", f"{PART_PATTERN}/[A-Za-z0-9_-]{{5,}}"),
    "model": (ATTACHMENT_FORMS, f"({PART_PATTERN}/){{4}}[1-9][0-9]*"),
}
FRAMEWORKS = (
    *("tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "pyTorch", "jax", "flax", "pax", "maxText", "gemmaCpp", "ggml"),
    *("gguf", "coral", "scikitLearn", "mxnet", "onnx", "keras", "transformers", "api", "other", "tensorRtLlm"),
    *("triton", "vllm"),
)
"""Of models: ModelFramework in kagglesdk 0.1.38."""
PAGE_PREFIXES = {"datasets", "d", "models", "code", "notebooks", "competitions", "c"}
"""Words before a name in the address of its page; nobody's account."""
FILLER_WORDS = {"frameworks", "variations", "versions", "version"}
"""Words between the parts of a name in older addresses."""
ADDRESS_PATTERN = re.compile(r"(https?://)?(www\.)?kaggle\.com/|kaggle://", re.IGNORECASE)


def check_names(kind: str, names: Iterable[str]) -> list[str]:
    """Returns the names of things of one kind, each once.

    Args:
        kind: a key of NAME_FORMS.
        names: what is to be attached to a kernel.

    Raises:
        StarshiftError: Kaggle knows no such names.
    """
    form, pattern = NAME_FORMS[kind]
    unique: dict[str, str] = {}
    for name in names:
        if not re.fullmatch(pattern, name) or name.split("/")[0].lower() in PAGE_PREFIXES:
            suggestion = find_name(name) if form is ATTACHMENT_FORMS else ""
            raise StarshiftError(
                f"This names no {kind} on Kaggle.",
                expected=f"{form}; {ALLOWED_CHARACTERS}",
                received=repr(name),
                remedy=f"--attach {suggestion}" if suggestion else "",
            )
        require(
            kind != "model" or name.split("/")[2].lower() in map(str.lower, FRAMEWORKS),
            "Kaggle has no models of this framework.",
            expected=f"{MODEL_FORM}, the framework one of {', '.join(FRAMEWORKS)}",
            received=name,
        )
        unique.setdefault(name.lower(), name)
    return list(unique.values())


def split_attachments(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Splits the names of `--attach` into datasets and models, by the number of parts."""
    models = [name for name in names if name.count("/") == MODEL_FORM.count("/")]
    return [name for name in names if name not in models], models


def strip_version(dataset: str) -> str:
    """Returns `owner/slug` of a dataset."""
    return "/".join(dataset.split("/")[:2])


def find_name(name: str) -> str:
    """Finds the name in the address of a page, or in one with a version or blanks; empty where there is none."""
    text = re.split("[?#]", ADDRESS_PATTERN.sub("", name.strip(), count=1))[0]
    parts = [part.strip() for part in text.split("/") if part.strip()]
    place = parts.pop(0).lower() if parts and parts[0].lower() in PAGE_PREFIXES else ""
    parts = [part for part in parts if part not in FILLER_WORDS]
    kind = "dataset" if place in ("datasets", "d") or (not place and len(parts) in (2, 3)) else "model"
    if place not in ("", "datasets", "d", "models"):
        return ""
    suggestion = "/".join(parts[:2] if kind == "dataset" else parts[:5])
    return suggestion if re.fullmatch(NAME_FORMS[kind][1], suggestion) else ""


log = logging.getLogger(__name__)
DATASET_API = "datasets.dataset_api_client"
READY, FINAL_STATUSES = "ready", ("ready", "failed", "deleted")
URL_LIFETIME = 6 * 24 * 3600
"""Seconds that an address may be used: Google's are valid for a week."""
EXPIRED_STATUSES = (403, 404, 410)


@dataclass(frozen=True, kw_only=True)
class KaggleDataset:
    """A dataset as Kaggle has it.

    Args:
        version: the current one, from 1 on.
        status: `ready`, `failed`, or what Kaggle is doing with it.
    """

    version: int
    status: str


def build_purpose(ref: str, doing: str) -> CallPurpose:
    """Returns the purpose of a call about a dataset."""
    return CallPurpose(doing=f"{doing} the dataset {ref}", kind="dataset", name=strip_version(ref))


def check_dataset_name(dataset: str) -> str:
    """Returns a dataset's name, `owner/slug` or a slug.

    Raises:
        StarshiftError: it is too short or too long, or no name.
    """
    valid = re.fullmatch(f"({PART_PATTERN}/)?[A-Za-z0-9_-]{{6,50}}", dataset)
    form = f"{DATASET_FORM} or a slug, of 6 to 50 characters, without a version; {ALLOWED_CHARACTERS}"
    require(valid, "Unusable name.", expected=form, received=dataset)
    return dataset


def resolve_ref(api: Any, dataset: str) -> str:
    """Returns `owner/slug` of a dataset; a slug alone is the account's own."""
    return dataset if "/" in dataset else f"{find_username(api)}/{dataset}"


def sync_files(
    api: Any, dataset: str, title: str, prefix: str, files: Iterable[Path], notes: str, folders: Iterable[Path] = ()
) -> str:
    """Makes files the newest version of a private dataset, unless it has them already.

    Args:
        api: from `authenticate`.
        dataset: `owner/slug` or a slug; created where there is none.
        title: 6 to 50 characters.
        prefix: of the manifest's name.
        files: with distinct names.
        notes: of the version.
        folders: where to look for the dataset's other files, which are sent again.

    Returns:
        The dataset with its version, `owner/slug/3`.

    Raises:
        StarshiftError: see `publish_version`.
    """
    ref = resolve_ref(api, dataset)
    current = wait_until_idle(api, ref)
    listed = list_files(api, ref) if current else {}
    sent = {path.name: path for path in files}
    others = [name for name in listed if name not in sent and not name.startswith(prefix)]
    sent |= {name: folder / name for name in others for folder in folders if (folder / name).is_file()}
    manifest = write_manifest(prefix, sent.values())
    if current and current.status == READY and {*sent, manifest.name} <= set(listed):
        log.info("dataset  %s version %d has them already", ref, current.version)
        return f"{ref}/{current.version}"
    if lost := sorted(set(others) - set(sent)):
        log.warning("  warning: the new version will be without %s, which are not here", ", ".join(lost))
    made = publish_version(api, ref, title, [*sent.values(), manifest], notes, current)
    log.info("dataset  %s version %d is ready", ref, made.version)
    return f"{ref}/{made.version}"


def write_manifest(prefix: str, files: Iterable[Path]) -> Path:
    """Writes a file that lists a set of files; its name is `prefix` and a digest of the set."""
    content = {path.name: {"sha256": hash_file(path), "bytes": path.stat().st_size} for path in files}
    path = paths.cache_folder("uploads") / f"{prefix}{hash_json(content)[:12]}.json"
    write_json(path, content)
    return path


def find_dataset(api: Any, ref: str) -> KaggleDataset | None:
    """Returns the dataset; None where there is none (Kaggle answers 403 or 404).

    Raises:
        KaggleError: any other failure.
    """
    owner, slug = ref.split("/")[:2]
    fields, purpose = {"ownerSlug": owner, "datasetSlug": slug}, build_purpose(ref, "looking at")
    try:
        status = query(api, f"{DATASET_API}.get_dataset_status", fields, purpose)
        dataset = query(api, f"{DATASET_API}.get_dataset", fields, purpose)
    except KaggleError as error:
        if error.status in (403, 404):
            return None
        raise
    return KaggleDataset(version=int(dataset.current_version_number), status=status.status.name.lower())


def list_files(api: Any, ref: str) -> dict[str, int]:
    """Returns names and sizes (bytes) of the files of `owner/slug`, or of a version of it, `owner/slug/3`."""
    owner, slug, *version = ref.split("/")
    fields: dict[str, Any] = {"ownerSlug": owner, "datasetSlug": slug, "pageSize": 200}
    fields |= {"datasetVersionNumber": int(version[0])} if version else {}
    sizes: dict[str, int] = {}
    while True:
        page = query(api, f"{DATASET_API}.list_dataset_files", fields, build_purpose(ref, "listing"))
        sizes |= {Path(file.name).name: int(file.total_bytes) for file in page.files or []}
        if not page.next_page_token:
            return sizes
        fields["pageToken"] = page.next_page_token


def publish_version(
    api: Any, ref: str, title: str, files: Sequence[Path], notes: str, current: KaggleDataset | None
) -> KaggleDataset:
    """Makes these files the dataset's newest version, and waits until kernels can use it.

    Args:
        api: from `authenticate`.
        ref: `owner/slug`; created, private, where there is none.
        title: 6 to 50 characters.
        files: all of them, with distinct names.
        notes: of the version.
        current: from `wait_until_idle`.

    Raises:
        StarshiftError: an upload failed (the next call resumes it), or Kaggle refuses or fails.
    """
    tokens = [{"token": upload_file(api, path)} for path in files]
    owner, slug = ref.split("/")
    version = current.version + 1 if current else 1
    fields: dict[str, Any] = {"slug": slug, "title": title, "licenseName": "other", "isPrivate": True, "files": tokens}
    if current is not None:
        body = {"versionNotes": notes, "deleteOldVersions": False, "files": tokens}
        fields = {"datasetSlug": slug, "body": body}
    request = "create_dataset_version" if current else "create_dataset"
    _create_version(api, request, fields | {"ownerSlug": owner}, ref, version)
    dataset = wait_until_ready(api, ref, version)
    for path in files:
        find_record_path(path).unlink(missing_ok=True)
    return dataset


def _create_version(api: Any, request: str, fields: dict[str, Any], ref: str, version: int) -> None:
    """Creates a dataset or a version; sent once, and searched for when the reply is lost."""
    purpose = build_purpose(ref, "making a version of")
    try:
        answer = query(api, f"{DATASET_API}.{request}", fields, purpose, safe_to_repeat=False)
    except KaggleError as error:
        if not error.uncertain or not _has_lost_version(api, ref, version):
            raise
        log.info("  the reply was lost, but Kaggle has version %d", version)
        return
    if answer.error or answer.status.lower() != "ok":
        raise KaggleError(
            f"Kaggle refuses the dataset {ref}.",
            received=answer.error or f"status {answer.status!r}",
            remedy=f"look at {purpose.page}, or choose another name with --dataset",
        )


def _has_lost_version(api: Any, ref: str, version: int) -> bool:
    """Returns whether a version whose making was not confirmed appears within LOST_REPLY_SECONDS."""

    def is_there(dataset: KaggleDataset | None) -> bool:
        return dataset is not None and (dataset.version >= version or dataset.status not in FINAL_STATUSES)

    return is_there(retry.poll(lambda: find_dataset(api, ref), is_there, retry.LOST_REPLY_SECONDS))


def wait_until_idle(api: Any, ref: str) -> KaggleDataset | None:
    """Returns the dataset once Kaggle takes a new version: not while it processes one. None where there is none."""
    dataset = find_dataset(api, ref)
    if dataset is None or dataset.status in FINAL_STATUSES:
        return None if dataset and dataset.status == "deleted" else dataset
    log.info("  %s version %d is being processed: %s", ref, dataset.version, dataset.status)
    return wait_until_ready(api, ref, dataset.version)


def wait_until_ready(api: Any, ref: str, version: int) -> KaggleDataset:
    """Returns the dataset when it is ready and has this version or a later one: the old one alone may be `ready`.

    Raises:
        StarshiftError: Kaggle failed to process it, or is not done after POLL_TIMEOUT seconds.
    """

    def is_done(dataset: KaggleDataset | None) -> bool:
        if dataset is None or dataset.status not in FINAL_STATUSES:
            return False
        return dataset.status != READY or dataset.version >= version

    dataset = retry.poll(lambda: find_dataset(api, ref), is_done)
    if dataset is None or not is_done(dataset):
        raise StarshiftError(
            f"The dataset {ref} is not ready yet.",
            expected=f"version {version}",
            received=f"version {dataset.version}, {dataset.status}" if dataset else "not found",
            remedy="run again later: what was sent is not sent again",
        )
    if dataset.status != READY:
        raise StarshiftError(
            f"Kaggle could not process the dataset {ref}.",
            received=dataset.status,
            remedy=f"look at {build_purpose(ref, '').page} and run again",
        )
    return dataset


def upload_file(api: Any, path: Path) -> str:
    """Sends a file, or what is left of it. Returns the token that names it in a dataset's version.

    Raises:
        KaggleError: it did not arrive; the next call resumes it.
    """
    record, purpose = find_record_path(path), CallPurpose(doing=f"sending {path.name}", kind="dataset")
    stored = read_json(record)
    if stored and stored["started"] + URL_LIFETIME > time.time():
        try:
            transfer.upload_resumable(path, stored["url"], purpose, resume=True)
            return str(stored["token"])
        except KaggleError as error:
            if error.status not in EXPIRED_STATUSES:
                raise
    fields = {"type": "DATASET", "name": path.name, **transfer.describe_file(path)}
    upload = query(api, "blobs.blob_api_client.start_blob_upload", fields, purpose)
    record.parent.mkdir(parents=True, exist_ok=True)
    os.chmod(record.parent, 0o700)
    write_json(record, {"token": upload.token, "url": upload.create_url, "started": int(time.time())})
    transfer.upload_resumable(path, upload.create_url, purpose)
    return str(upload.token)


def find_record_path(path: Path) -> Path:
    """Returns where a file's unfinished upload is recorded."""
    return paths.cache_folder("uploads") / f"{hash_json([path.name, hash_file(path)])[:16]}.json"
