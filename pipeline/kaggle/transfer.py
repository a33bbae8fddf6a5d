"""Uploads to the signed addresses of Kaggle's storage, resumed after a fault.

No credentials are sent: the address itself is the permission, so it is never printed whole (see redact.py).
"""

import logging
import time
from pathlib import Path
from typing import Any

import requests
from tqdm.utils import CallbackIOWrapper

from pipeline.kaggle import retry
from pipeline.kaggle.api_errors import CallPurpose, KaggleError, explain_error, format_error, is_transient
from pipeline.terminal import open_bar

log = logging.getLogger(__name__)


def describe_file(path: Path) -> dict[str, Any]:
    """Returns a file's size and time as the request for an address wants them."""
    return {"contentLength": path.stat().st_size, "lastModifiedEpochSeconds": int(path.stat().st_mtime)}


def send_file(path: Path, url: str, start: int = 0) -> None:
    """Puts a file to a signed address, from a byte on, once.

    Raises:
        requests.RequestException: it did not arrive whole.
    """
    size = path.stat().st_size
    headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
    bar = open_bar(total=size, initial=start, desc=path.name, unit="B", unit_scale=True)
    with path.open("rb") as file, bar, retry.build_session() as session:
        file.seek(start)
        # requests (checked with 2.34) sends an empty file object chunked, without a Content-Length; b"" has one.
        body = CallbackIOWrapper(bar.update, file, "read") if size else b""
        with session.put(url, data=body, headers=headers) as response:
            check_response(response)
            # 308 means that only a part arrived; requests does not raise for it.
            if response.status_code not in (200, 201):
                raise requests.ConnectionError(f"only a part arrived ({response.status_code})")


def upload_resumable(path: Path, url: str, purpose: CallPurpose, *, resume: bool = False) -> None:
    """Puts a file to a resumable signed address: after a fault it continues where the storage says.

    Tries again while bytes arrive, and MAX_ATTEMPTS times where none do.

    Source: cloud.google.com/storage/docs/resumable-uploads

    Args:
        path: the file; empty ones are sent as they are.
        url: from StartBlobUpload.
        purpose: what it is for.
        resume: whether something may have been sent to this address before.

    Raises:
        KaggleError: it did not arrive; status 404 says that the address is no longer valid.
    """
    furthest, tries, size = -1, 0, path.stat().st_size
    while True:
        start = 0  # a fresh address holds nothing
        if resume:
            start = retry.call_with_retries(_find_resume_offset, url, size, purpose=purpose, safe_to_repeat=True)
        if start is None:
            return
        # Progress resets the count: a bad line may break off more than MAX_ATTEMPTS times within a large file.
        tries = 1 if start > furthest else tries + 1
        furthest, resume = max(start, furthest), True
        try:
            send_file(path, url, start)
            return
        except Exception as error:
            if tries >= retry.MAX_ATTEMPTS or not is_transient(error):
                raise explain_error(error, purpose) from error
            log.info("  %s: %s; goes on", purpose.doing, format_error(error))
            time.sleep(min(retry.FIRST_WAIT * 2**tries, retry.MAX_WAIT))


def _find_resume_offset(url: str, size: int) -> int | None:
    """Returns how many bytes of a file the storage has; None where it has all."""
    with retry.build_session() as session:
        response = session.put(url, data=b"", headers={"Content-Range": f"bytes */{size}"})
    if response.status_code in (200, 201):
        return None
    check_response(response)
    # The header reads `bytes=0-LAST`; it is missing while nothing has arrived.
    last = response.headers.get("Range", "").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() else 0


def check_response(response: requests.Response) -> None:
    """Raises the error of an answer: a refusal is about the address, not the account.

    Raises:
        KaggleError: refused; the next run takes a new address.
        requests.HTTPError: a fault that may pass.
    """
    # 429 passes with time; any other refusal stays for this address.
    if 400 <= response.status_code < 500 and response.status_code != 429:
        raise KaggleError(
            "Kaggle's storage refuses the file: its address is no longer valid.",
            status=response.status_code,
            received=f"{response.status_code} {response.reason}",
            remedy="run again: it takes a new one",
        )
    response.raise_for_status()
