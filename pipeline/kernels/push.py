"""Pushes kernels: explicit metadata, and errors for refusals, which Kaggle sends as HTTP 200."""

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import StarshiftError, require, suggest_name
from pipeline.kaggle.api_errors import VERIFY_PHONE, CallPurpose, KaggleError
from pipeline.kaggle.client import query
from pipeline.kaggle.retry import call_with_retries
from pipeline.kernels.records import KernelRecord, list_records

log = logging.getLogger(__name__)
DEFAULT_ACCELERATOR = "NvidiaTeslaT4"
CPU = "cpu"
RETIRED_ACCELERATOR = "NvidiaTeslaP100"
"""Kaggle puts another machine in its place and does not say so."""
SCRIPT_FILE = "kernel.py"
SOURCE_KINDS = ("tags", "dataset_sources", "competition_sources", "kernel_sources", "model_sources")
REMEDIES = {
    "session count": "wait until one of the sessions ends (those of a run that failed may linger for hours): "
    "https://www.kaggle.com/code?scroll=true shows them; or --accelerator cpu",
    "quota": "wait for the week's new quota (invoke kernel --comp COMP shows it), or --accelerator cpu",
    "not found": "run again: it takes a fresh name",
    "phone": VERIFY_PHONE,
}


def check_accelerator(name: str) -> None:
    """Checks the name of an accelerator.

    Raises:
        StarshiftError: the pipeline cannot use it: it is retired, or a TPU.
    """
    require(
        name == CPU or (name.startswith("Nvidia") and name != RETIRED_ACCELERATOR),
        "The pipeline has not been made for this accelerator, or Kaggle has retired it.",
        expected=f"{DEFAULT_ACCELERATOR} (two of them in a session), {CPU}, or another Nvidia machine of Kaggle's, not "
        f"{RETIRED_ACCELERATOR}: Kaggle replaces it without a word",
        received=name,
        remedy=suggest_name(name, (DEFAULT_ACCELERATOR, CPU)),
    )


def build_metadata(accelerator: str, *, internet: bool, sources: Mapping[str, list[str]]) -> dict[str, Any]:
    """Builds kernel-metadata.json without `id` and `title`, which each session has of its own.

    Nothing is left to a default: the client's would turn the internet on.

    Args:
        accelerator: see `check_accelerator`.
        internet: whether the session reaches it.
        sources: what is attached, by the keys of kernel-metadata.json.
    """
    gpu = accelerator != CPU
    return {
        "code_file": SCRIPT_FILE,
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": gpu,
        "enable_tpu": False,
        "enable_internet": internet,
        "kernel_sources": [],
        **sources,
        "keywords": [],
        "docker_image_pinning_type": "original",
        **({"machine_shape": accelerator} if gpu else {}),
    }


def build_purpose(record: KernelRecord, doing: str, folder: Path = Path()) -> CallPurpose:
    """Returns the purpose of a call about a kernel."""
    return CallPurpose(doing=doing, kind="kernel", name=record.ref, folder=folder)


def push_kernel(api: Any, record: KernelRecord, script: str) -> KernelRecord:
    """Pushes a kernel that is remembered as `pushing`. Returns it as it is remembered now.

    Raises:
        StarshiftError: Kaggle refuses, or takes the kernel without what is to be attached.
    """
    purpose = build_purpose(record, f"pushing {record.ref}")
    options: dict[str, Any] = {"timeout": str(int(record.seconds)), "purpose": purpose}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "kernel-metadata.json").write_text(json.dumps(record.metadata), encoding="utf-8")
        (place / SCRIPT_FILE).write_text(script, encoding="utf-8")
        try:
            answer = call_with_retries(api.kernels_push, folder, **options, safe_to_repeat=False)
        except KaggleError as error:
            if error.uncertain and has_arrived(api, record):
                return record.save(state="pushed")
            if not error.uncertain:
                record.save(state="refused")
            raise
    return record.save(state="pushed", **parse_push_answer(answer, record))


def parse_push_answer(answer: Any, record: KernelRecord) -> dict[str, Any]:
    """Returns the changes of a record after a push: owner, slug, version, url.

    Raises:
        StarshiftError: the answer is a refusal, or lists sources that it did not take.
    """
    if answer is None or answer.error or not answer.version_number:
        record.save(state="refused")
        reason = (answer.error if answer is not None else "") or "nothing"
        remedy = next((text for part, text in REMEDIES.items() if part in reason.lower()), "look at the kernel's page")
        raise StarshiftError("Kaggle refuses the kernel.", received=reason, remedy=remedy)
    # A killed session's output may not be attachable; the session goes on from those before it.
    spare = {one.ref for one in list_records(record.competition) if one.state == "killed"}
    invalid = {kind: sorted({*(getattr(answer, f"invalid_{kind}", None) or ())} - spare) for kind in SOURCE_KINDS}
    if any(invalid.values()):
        record.save(state="failed", version=answer.version_number, url=answer.url)
        listed = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in invalid.items() if names)
        raise StarshiftError(
            "Kaggle has taken the kernel without what was to be attached; it runs, and cannot succeed.",
            expected="every source attached",
            received=f"not valid: {listed}",
            remedy=f"stop it at {answer.url}; see that the names are right and that the rules are accepted",
        )
    owner, slug = _read_owner_slug(answer, record)
    return {"version": int(answer.version_number), "url": answer.url, "owner": owner, "slug": slug}


def _read_owner_slug(answer: Any, record: KernelRecord) -> tuple[str, str]:
    """Returns owner and slug as Kaggle has them: it makes the slug from the title, whatever was requested."""
    parts = [part for part in urlsplit(str(answer.ref or answer.url or "")).path.split("/") if part]
    if record.slug in parts or len(parts) < 2:
        return record.owner, record.slug
    record.path.unlink(missing_ok=True)
    return parts[-2], parts[-1]


def has_arrived(api: Any, record: KernelRecord) -> bool:
    """Returns whether a push whose answer was lost reached Kaggle: the slug is fresh, so any status is its own."""
    try:
        fetch_status(api, record)
    except KaggleError as error:
        if error.status in (403, 404):
            return False
        raise
    return True


def fetch_status(api: Any, record: KernelRecord) -> tuple[str, str]:
    """Returns the session's status, such as `RUNNING`, and Kaggle's message of a failure."""
    answer = _query_kernel(api, record, "get_kernel_session_status", "asking how the kernel is")
    return str(answer.status.name), str(answer.failure_message or "")


def fetch_image(api: Any, record: KernelRecord) -> dict[str, str]:
    """Returns the metadata that keeps the next session in a kernel's image; none where its digest is not told."""
    try:
        answer = _query_kernel(api, record, "get_kernel", "asking which image the kernel has")
        image = str(answer.metadata.docker_image or "")
    except KaggleError as error:
        if error.status == 401:
            raise
        image = error.message
    if "@sha256:" in image:
        return {"docker_image": image}
    log.warning("  warning: the next session may have another image than %s: %s", record.ref, image or "not told")
    return {}


def _query_kernel(api: Any, record: KernelRecord, request: str, doing: str) -> Any:
    """Sends a request about this version of a kernel."""
    fields = {"userName": record.owner, "kernelSlug": record.slug, "versionLabel": f"v{record.version}"}
    return query(api, f"kernels.kernels_api_client.{request}", fields, build_purpose(record, doing))
