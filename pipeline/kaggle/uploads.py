"""Files on their way into a dataset: an upload that was broken off goes on in the next process where it stood.

Each upload's address is remembered under what the file is (its name and digest) until the dataset has it. The address
is a permission, so the folder is the user's alone.
"""

import os
import time
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.files import read_json, sha256_of_file, sha256_of_json, write_json
from pipeline.kaggle import storage
from pipeline.kaggle.client import KaggleError, Purpose, ask, call

VALID = 6 * 24 * 3600
"""Seconds that an address may be used: Google's are valid for a week."""
GONE = (403, 404, 410)


def upload(api: Any, path: Path) -> str:
    """Sends a file, or what is left of it. Returns the token that a dataset's version names it by.

    Raises:
        KaggleError: it did not arrive; the next call goes on.
    """
    record, purpose = record_of(path), Purpose(doing=f"sending {path.name}", kind="dataset")
    remembered = read_json(record)
    if remembered and remembered["started"] + VALID > time.time():
        try:
            storage.put(path, remembered["url"], purpose, begun=True)
            return str(remembered["token"])
        except KaggleError as error:
            if error.status not in GONE:
                raise
    fields = {
        "type": "DATASET",
        "name": path.name,
        "contentLength": path.stat().st_size,
        "lastModifiedEpochSeconds": int(path.stat().st_mtime),
    }
    request = "blobs.blob_api_client.start_blob_upload"
    started = call(ask, api, request, fields, purpose=purpose, safe_to_repeat=True)
    remember(record, started.token, started.create_url)
    storage.put(path, started.create_url, purpose)
    return str(started.token)


def record_of(path: Path) -> Path:
    """Where an upload is remembered."""
    what = sha256_of_json([path.name, sha256_of_file(path)])
    return paths.cache_folder("uploads") / f"{what[:16]}.json"


def remember(record: Path, token: str, url: str) -> None:
    """Keeps an upload's address, for this user only."""
    record.parent.mkdir(parents=True, exist_ok=True)
    os.chmod(record.parent, 0o700)
    write_json(record, {"token": token, "url": url, "started": int(time.time())})


def forget(path: Path) -> None:
    """Called when the dataset has the file."""
    record_of(path).unlink(missing_ok=True)
