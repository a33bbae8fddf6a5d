"""Follows a kernel's status and log until it ends; faults of the network only delay what is shown.

Ctrl-C ends the following only: the kernel is recorded (records.py), and `invoke kernel` follows it again.
"""

import contextlib
import logging
import queue
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.kaggle.api_errors import KaggleError
from pipeline.kernels import push
from pipeline.kernels.records import KernelRecord
from pipeline.kernels.session import PROGRESS_PREFIX
from pipeline.terminal import find_width

log = logging.getLogger(__name__)
END_STATUSES = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
POLL_SECONDS = 20.0
"""Seconds between two requests for the status; the log is a stream."""
MAX_POLL_SECONDS = 300.0
"""Seconds between two tries while Kaggle cannot be reached: a laptop may sleep for hours."""
LOG_PAUSE = 5.0
"""Seconds between two requests for the log."""
MAX_SILENCE = 90.0
"""Seconds without output after which a finished log is given up."""
MAX_UNKNOWN = 5
"""Times that Kaggle may not know a kernel that was just pushed."""


class LogStream:
    """A kernel's log, read by a daemon thread, so that a dead connection blocks nothing.

    The server sends the log from its beginning each time, so earlier pieces are counted and skipped. A log that ended
    or broke off is requested again; a silent connection breaks off after retry.TIMEOUT.

    Args:
        api: from `authenticate`.
        name: `owner/slug`.
    """

    def __init__(self, api: Any, name: str) -> None:
        self.api, self.name, self.rest, self.is_open = api, name, "", True
        self.queue: queue.Queue[str | float] = queue.Queue()
        """Pieces of the log; after its end, the time at which the request for it was sent."""
        threading.Thread(target=self._read, daemon=True).start()

    def lines(self, wait: float) -> Iterator[str]:
        """Yields the lines of the next `wait` seconds."""
        until = time.monotonic() + wait
        with contextlib.suppress(queue.Empty):
            while (left := until - time.monotonic()) > 0:
                yield from self._split_lines(self.queue.get(timeout=left))

    def remaining(self) -> Iterator[str]:
        """Yields the lines up to the end of a finished log, and at last one that does not end."""
        since = time.monotonic()
        piece: str | float = 0.0
        with contextlib.suppress(queue.Empty):
            while isinstance(piece, str) or piece < since:
                piece = self.queue.get(timeout=MAX_SILENCE)
                yield from self._split_lines(piece)
        self.is_open = False
        yield self.rest

    def _split_lines(self, piece: str | float) -> list[str]:
        """Returns the lines that a piece completes."""
        *lines, self.rest = (self.rest + (piece if isinstance(piece, str) else "")).split("\n")
        return lines

    def _read(self) -> None:
        """Puts new pieces into the queue until the log is closed."""
        pieces = 0
        while self.is_open:
            request_time = time.monotonic()
            try:
                for number, event in enumerate(self.api.kernels_logs_stream(self.name)):
                    if number >= pieces:
                        self.queue.put(str(event.get("data") or ""))
                        pieces = number + 1
                self.queue.put(request_time)
            except Exception as error:  # only the status counts; the log is requested again
                log.debug("log of %s: %s", self.name, error)
            time.sleep(LOG_PAUSE)


@dataclass
class LogView:
    """Shows a kernel's lines, and below them one line of progress."""

    terminal: bool = field(default_factory=sys.stdout.isatty)
    shown: str = ""

    def line(self, text: str) -> None:
        """Prints a line of the kernel's."""
        self.clear()
        print(text, flush=True)

    def state(self, text: str) -> None:
        """Shows the progress: over the last one on a terminal, elsewhere when it changed."""
        if self.terminal:
            print(f"\r\x1b[K{text[: (find_width() or 120) - 2]}", end="", flush=True)
        elif text != self.shown:
            print(text, flush=True)
        self.shown = text

    def clear(self) -> None:
        """Removes the line of progress."""
        if self.terminal and self.shown:
            print("\r\x1b[K", end="", flush=True)


def follow_kernel(api: Any, record: KernelRecord, screen: LogView | None = None) -> tuple[str, str]:
    """Shows a kernel until it ends.

    Args:
        api: from `authenticate`.
        record: the kernel.
        screen: shows its lines.

    Returns:
        The last status, one of END_STATUSES, and Kaggle's message of a failure.

    Raises:
        KaggleError: the credentials are refused, or Kaggle does not know the kernel.
    """
    stream = LogStream(api, record.ref)
    try:
        return _follow(api, record, screen or LogView(), stream)
    finally:
        stream.is_open = False


def _follow(api: Any, record: KernelRecord, screen: LogView, stream: LogStream) -> tuple[str, str]:
    """Does the work of `follow_kernel` while the log is read."""
    status, failure, faults, progress = "", "", 0, ""
    while True:
        try:
            status, failure = push.fetch_status(api, record)
            faults, wait = 0, POLL_SECONDS
        except KaggleError as error:
            faults += 1
            if error.status == 401 or (error.status in (403, 404) and faults >= MAX_UNKNOWN):
                raise
            wait = min(MAX_POLL_SECONDS, POLL_SECONDS * 2 ** min(faults, 8))
            screen.state(f"{error.message} Again in {wait:.0f} s; the kernel goes on")
        for line in stream.remaining() if status in END_STATUSES else stream.lines(wait):
            if line.startswith(PROGRESS_PREFIX):
                progress = line.removeprefix(PROGRESS_PREFIX).strip()
            elif line.strip():
                screen.line(line)
        if status in END_STATUSES:
            screen.clear()
            return status, failure
        if not faults:
            screen.state(f"{status.lower()} {progress}".strip())
