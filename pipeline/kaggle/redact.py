"""Masks credentials in printed, logged and stored text: tokens, keys, Authorization values, signed addresses."""

import base64
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from pipeline.kaggle import credentials

MASK = "***"
MIN_SECRET_LENGTH = 6
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

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def find_secrets() -> set[str]:
    """Returns this machine's Kaggle credentials, also as Basic authentication encodes them."""
    stored, names = credentials.find_secrets()
    secrets = {secret for secret in stored if len(secret) >= MIN_SECRET_LENGTH}
    return secrets | {base64.b64encode(f"{name}:{secret}".encode()).decode() for name in names for secret in secrets}
