"""Masks credentials in printed, logged and stored text: tokens, keys, Authorization values, signed addresses."""

import base64
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from pipeline.files import read_json

MASK = "***"
MIN_SECRET_LENGTH = 6
SECRET_VARIABLES = ("KAGGLE_KEY", "KAGGLE_TOKEN", "KAGGLE_API_TOKEN", "KAGGLE_API_V1_TOKEN", "KAGGLE_IAP_TOKEN")
TOKEN_FILES = ("~/.kaggle/access_token", "~/.kaggle/access_token.txt")
CREDENTIAL_FILES = ("~/.kaggle/kaggle.json", "~/.config/kaggle/kaggle.json", "~/.kaggle/credentials.json")
SECRET_FIELDS = ("key", "password", "token", "access_token", "refresh_token")
SECRET_PATTERNS = (
    re.compile(r"(?i)(authorization\W{1,4})(?:(?:bearer|basic)\s+)?[^\s'\",}]+"),
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?i)([?&;](?:x-goog-[a-z-]+|signature|sig|token|access_token|upload_id|googleaccessid|key)=)[^&\s'\"<>)]+"),
    re.compile(r"(?i)(\b[a-z_]*(?:tokens?|password|secret|api_?key|kaggle_key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',}&\])]{4,}"),
    re.compile(r"(?i)([\"']key[\"']\s*:\s*[\"'])[^\"']+"),
    re.compile(r"()\bKGAT_[A-Za-z0-9]+"),
    re.compile(r"(://)[^/\s@'\"]+(?=@)"),
)  # fmt: skip


def redact_text(text: str) -> str:
    """Masks this machine's Kaggle credentials, and whatever looks like credentials."""
    for secret in sorted(find_secrets(), key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern in SECRET_PATTERNS:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


@contextlib.contextmanager
def redact_output() -> Iterator[None]:
    """Masks credentials in output to both streams: Kaggle's client prints failed addresses whole."""
    out, err = (cast(TextIO, _RedactingStream(stream)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


class _RedactingStream:
    """A stream that masks credentials on their way to another one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(redact_text(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def find_secrets() -> set[str]:
    """Returns this machine's Kaggle credentials, also as Basic authentication encodes them."""
    secrets = {secret for secret in _find_stored_secrets() if len(secret) >= MIN_SECRET_LENGTH}
    names = {value for record in _read_credentials() if isinstance(value := record.get("username"), str)}
    names |= {os.environ["KAGGLE_USERNAME"]} if os.environ.get("KAGGLE_USERNAME") else set()
    return secrets | {base64.b64encode(f"{name}:{secret}".encode()).decode() for name in names for secret in secrets}


def _find_stored_secrets() -> Iterator[str]:
    """Yields the values of variables, of the files that they name, and of the client's own files."""
    for value in map(os.environ.get, SECRET_VARIABLES):
        if value:
            yield _read_text(Path(value)) or value
    yield from map(_read_text, (Path(name).expanduser() for name in TOKEN_FILES))
    for record in _read_credentials():
        yield from (value for name in SECRET_FIELDS if isinstance(value := record.get(name), str))


def _read_credentials() -> Iterator[dict[str, Any]]:
    own = os.environ.get("KAGGLE_CONFIG_DIR")
    for path in [Path(name).expanduser() for name in CREDENTIAL_FILES] + ([Path(own) / "kaggle.json"] if own else []):
        if isinstance(record := read_json(path), dict):
            yield record


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
