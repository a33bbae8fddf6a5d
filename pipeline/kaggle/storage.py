"""Signed addresses, where Kaggle keeps files: sent and fetched with patience, gone on with after a fault, and checked.

No credentials are sent there: the address itself is the permission, so it is never printed whole (see scrubbing.py).
"""

import base64
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from pipeline.kaggle import patience
from pipeline.kaggle.failures import KaggleError, Purpose, brief, explained
from pipeline.kaggle.kinds import passing

log = logging.getLogger(__name__)
CHUNK = 1 << 20
SHOWN_FROM = 8 << 20
"""Bytes from which on a bar shows the progress."""


def send(path: Path, url: str, start: int = 0) -> None:
    """Puts a file to a signed address, from a byte on, once.

    Raises:
        requests.RequestException: it did not arrive whole.
    """
    size = path.stat().st_size
    headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
    with path.open("rb") as file, _bar(path.name, size, start) as bar, patience.session() as session:
        file.seek(start)
        # requests (checked with 2.34) sends an empty file object chunked, without a Content-Length; b"" has one.
        body = CallbackIOWrapper(bar.update, file, "read") if size else b""
        with session.put(url, data=body, headers=headers) as response:
            _accepted(response)
            # 308 means that only a part arrived; requests does not raise for it.
            if response.status_code not in (200, 201):
                raise requests.ConnectionError(f"only a part arrived ({response.status_code})")


def put(path: Path, url: str, purpose: Purpose, *, begun: bool = False) -> None:
    """Puts a file to a signed address that can be gone on with: after a fault it goes on where the storage says.

    Tried again as long as it gets on; ATTEMPTS times where it does not.

    Source: cloud.google.com/storage/docs/resumable-uploads

    Args:
        path: the file; empty ones are sent as they are.
        url: from StartBlobUpload.
        purpose: what it is for.
        begun: whether something may have been sent to this address before.

    Raises:
        KaggleError: it did not arrive; status 404 says that the address is no longer valid.
    """
    furthest, tries = -1, 0
    while True:
        # A fresh address holds nothing, so it is not asked.
        start = patience.call(_arrived, url, path.stat().st_size, purpose=purpose, safe_to_repeat=True) if begun else 0
        if start is None:
            return
        # Progress resets the count: a bad line may break off more than ATTEMPTS times within a large file.
        tries = 1 if start > furthest else tries + 1
        furthest, begun = max(start, furthest), True
        try:
            send(path, url, start)
            return
        except Exception as error:
            if tries >= patience.ATTEMPTS or not passing(error):
                raise explained(error, purpose) from error
            log.info("  %s: %s; goes on", purpose.doing, brief(error))
            time.sleep(min(patience.FIRST_WAIT * 2**tries, patience.LONGEST_WAIT))


def _arrived(url: str, size: int) -> int | None:
    """How many bytes of a file the storage has; None where it has it whole."""
    with patience.session() as session:
        response = session.put(url, data=b"", headers={"Content-Range": f"bytes */{size}"})
    if response.status_code in (200, 201):
        return None
    _accepted(response)
    # The header reads `bytes=0-LAST`; it is missing while nothing has arrived.
    last = response.headers.get("Range", "").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() else 0


def get(url: str, path: Path, purpose: Purpose) -> Path:
    """Fetches a file from a signed address, whole or not at all, going on after a break.

    Its length is held against Content-Length, and its MD5 against X-Goog-Hash where the storage says one.

    Raises:
        KaggleError: it did not come; 403 or 404 says that the address is no longer valid.
        StarshiftError: what came is not what the storage has.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    # Only within this call does the ETag prove that a partial file belongs to the same content.
    validator: list[str] = []
    try:
        patience.call(_fetch, url, partial, validator, purpose=purpose, safe_to_repeat=True)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _fetch(url: str, partial: Path, validator: list[str]) -> None:
    """One try: what is there already is gone on with, if it is of the same file (RFC 9110, 13.1.5)."""
    have = partial.stat().st_size if partial.exists() and validator else 0
    # Under compression, Content-Length and ranges would count other bytes than those written.
    headers = {"Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={have}-", "If-Range": validator[0]} if have else {}
    with patience.session() as session, session.get(url, stream=True, headers=headers) as response:
        _accepted(response)
        # Any other status carries the whole file: the content changed, or the storage ignores ranges.
        have = have if response.status_code == 206 else 0
        # A weak ETag (W/) does not promise the same bytes, so If-Range must not use it.
        validator[:] = [tag for tag in (response.headers.get("ETag"),) if tag and not tag.startswith("W/")]
        size = have + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        with partial.open("ab" if have else "wb") as file, _bar(partial.name[1:-8], size or 0, have) as bar:
            for piece in response.iter_content(CHUNK):
                file.write(piece)
                bar.update(len(piece))
        _check(partial, size, response)


def _accepted(response: requests.Response) -> None:
    """Tells a refusal, which is the address's and not the account's, from a fault.

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


def _check(partial: Path, size: int | None, response: requests.Response) -> None:
    found = partial.stat().st_size
    if size is not None and found != size:
        # `call` retries a ConnectionError, and the next try resumes from what arrived.
        raise requests.ConnectionError(f"{found} of {size} bytes came")
    said = [part for part in response.headers.get("X-Goog-Hash", "").replace(" ", "").split(",") if part[:4] == "md5="]
    with partial.open("rb") as file:
        if said and base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode() != said[0][4:]:
            # The wrong byte may be anywhere, so the next try must not resume from this file.
            partial.unlink()
            raise requests.exceptions.ContentDecodingError("its MD5 is another one")


@contextlib.contextmanager
def _bar(name: str, size: int, start: int) -> Iterator[Any]:
    with tqdm(total=size, initial=start, desc=name, unit="B", unit_scale=True, disable=size < SHOWN_FROM) as bar:
        yield bar
