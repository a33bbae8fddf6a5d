"""Follows a kernel's status and log until it ends; faults of the network only delay what is shown.

Ctrl-C ends the following only: the kernel is recorded (records.py), and `invoke kernel` follows it again.
"""

import logging
import math
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

log = logging.getLogger(__name__)
END_STATUSES = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
POLL_SECONDS = 20.0
"""Seconds between two requests for the status; the log is a stream."""
MAX_POLL_SECONDS = 300.0
"""Seconds between two tries while Kaggle cannot be reached: a laptop may sleep for hours."""
LOG_PAUSE = 5.0
"""Seconds between two requests for the log."""
MAX_SILENCE = 90.0
"""Seconds without output after which the log is requested again: a connection that slept is silent."""
LOG_TRIES = 3
"""Attempts to read a log to its end."""
MAX_UNKNOWN = 5
"""Times that Kaggle may not know a kernel that was just pushed."""


class LogStream:
    """A kernel's log, read by a daemon thread, so that a dead connection blocks nothing.

    The server sends the log from its beginning each time, so earlier pieces are counted and skipped.

    Args:
        api: from `authenticate`.
        name: `owner/slug`.
    """

    def __init__(self, api: Any, name: str) -> None:
        self.api, self.name = api, name
        self.pieces, self.rest = 0, ""
        self.start_time = self.piece_time = -math.inf
        self.reading = False
        self.queue: queue.Queue[str | bool] = queue.Queue()

    def lines(self, wait: float) -> Iterator[str]:
        """Yields the lines of the next `wait` seconds. A log that ended is requested again, every LOG_PAUSE seconds."""
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            if self.reading and time.monotonic() - self.piece_time > MAX_SILENCE:
                self.reading = False
            if not self.reading and time.monotonic() - self.start_time >= LOG_PAUSE:
                self._start()
            yield from self._next_lines(min(left, LOG_PAUSE))

    def remaining(self) -> Iterator[str]:
        """Yields the lines up to the end of a finished log."""
        for _ in range(LOG_TRIES):
            self._start()
            while self.reading:
                yield from self._next_lines(MAX_SILENCE)
                self.reading = self.reading and time.monotonic() - self.piece_time < MAX_SILENCE
            if self.whole:
                break
        if self.rest:
            yield self.rest

    def _next_lines(self, wait: float) -> Iterator[str]:
        """Yields the lines of the next piece; none where none comes in `wait` seconds."""
        try:
            piece = self.queue.get(timeout=wait)
        except queue.Empty:
            return
        if isinstance(piece, bool):
            self.reading, self.whole = False, piece
            return
        self.pieces, self.piece_time = self.pieces + 1, time.monotonic()
        *lines, self.rest = (self.rest + piece).split("\n")
        yield from lines

    def _start(self) -> None:
        self.queue, self.reading, self.whole = queue.Queue(), True, False
        self.start_time = self.piece_time = time.monotonic()
        threading.Thread(target=self._read, args=(self.queue, self.pieces), daemon=True).start()

    def _read(self, pieces: "queue.Queue[str | bool]", skipped: int) -> None:
        """Puts new pieces into a queue, and at last whether the log came to its end."""
        whole = False
        try:
            for number, event in enumerate(self.api.kernels_logs_stream(self.name)):
                if number >= skipped:
                    pieces.put(str(event.get("data") or ""))
            whole = True
        except Exception as error:  # only the status counts; the log is requested again
            log.debug("log of %s: %s", self.name, error)
        finally:
            pieces.put(whole)


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
            print(f"\r\x1b[K{text[:118]}", end="", flush=True)
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
    screen, stream = screen or LogView(), LogStream(api, record.ref)
    status, failure, faults, progress = "", "", 0, ""
    poll_time, wait = -math.inf, POLL_SECONDS
    while True:
        if time.monotonic() - poll_time >= wait:
            poll_time = time.monotonic()
            try:
                status, failure = push.fetch_status(api, record)
                faults, wait = 0, POLL_SECONDS
            except KaggleError as error:
                faults += 1
                if error.status == 401 or (error.status in (403, 404) and faults >= MAX_UNKNOWN):
                    raise
                wait = min(MAX_POLL_SECONDS, POLL_SECONDS * 2 ** min(faults, 8))
                screen.state(f"{error.message} Again in {wait:.0f} s; the kernel goes on")
        for line in stream.remaining() if status in END_STATUSES else stream.lines(min(wait, POLL_SECONDS)):
            if line.startswith(PROGRESS_PREFIX):
                progress = line.removeprefix(PROGRESS_PREFIX).strip()
            elif line.strip():
                screen.line(line)
        if status in END_STATUSES:
            screen.clear()
            return status, failure
        if not faults:
            screen.state(f"{status.lower()} {progress}".strip())
