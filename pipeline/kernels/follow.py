"""Following a kernel: its status, and what it prints, until it ends. Faults of the network only delay what is shown.

Ctrl-C ends the following and nothing else: the kernel is remembered (pushed.py) and picked up by `invoke kernel`.
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
"""Seconds between two questions for the status; the log comes by itself."""
MAX_POLL_SECONDS = 300.0
"""Seconds between two tries while Kaggle cannot be reached: a laptop may sleep for hours."""
LOG_PAUSE = 5.0
"""Seconds between two requests for the log."""
MAX_SILENCE = 90.0
"""Seconds without a word from the log after which it is asked for anew: a connection that slept says nothing."""
LOG_TRIES = 3
"""Of reading a log to its end."""
MAX_UNKNOWN = 5
"""Times that Kaggle may not know a kernel which it has just taken."""


class LogStream:
    """A kernel's log, read by a thread that may be left behind, so that a dead connection holds nothing up.

    The server tells the log from its beginning each time, so what was told is counted and skipped.

    Args:
        api: from `authenticated`.
        name: `owner/slug`.
    """

    def __init__(self, api: Any, name: str) -> None:
        self.api, self.name = api, name
        self.told, self.rest = 0, ""
        self.begun = self.heard = -math.inf
        self.reading = False
        self.found: queue.Queue[str | bool] = queue.Queue()

    def lines(self, wait: float) -> Iterator[str]:
        """The lines that come in so many seconds. A log that ended is asked for again, but not all the time."""
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            if self.reading and time.monotonic() - self.heard > MAX_SILENCE:
                self.reading = False
            if not self.reading and time.monotonic() - self.begun >= LOG_PAUSE:
                self._begin()
            yield from self._heard(min(left, LOG_PAUSE))

    def remaining(self) -> Iterator[str]:
        """The lines up to the end of a log that has one."""
        for _ in range(LOG_TRIES):
            self._begin()
            while self.reading:
                yield from self._heard(MAX_SILENCE)
                self.reading = self.reading and time.monotonic() - self.heard < MAX_SILENCE
            if self.whole:
                break
        if self.rest:
            yield self.rest

    def _heard(self, wait: float) -> Iterator[str]:
        """The lines of the next piece; none where none comes in so many seconds."""
        try:
            piece = self.found.get(timeout=wait)
        except queue.Empty:
            return
        if isinstance(piece, bool):
            self.reading, self.whole = False, piece
            return
        self.told, self.heard = self.told + 1, time.monotonic()
        *ended, self.rest = (self.rest + piece).split("\n")
        yield from ended

    def _begin(self) -> None:
        self.found, self.reading, self.whole = queue.Queue(), True, False
        self.begun = self.heard = time.monotonic()
        threading.Thread(target=self._read, args=(self.found, self.told), daemon=True).start()

    def _read(self, found: "queue.Queue[str | bool]", known: int) -> None:
        """Puts what was not told yet into the queue, and at last whether the log came to its end."""
        whole = False
        try:
            for number, event in enumerate(self.api.kernels_logs_stream(self.name)):
                if number >= known:
                    found.put(str(event.get("data") or ""))
            whole = True
        except Exception as error:  # the status is what counts; the log is asked for again
            log.debug("log of %s: %s", self.name, error)
        finally:
            found.put(whole)


@dataclass
class LogView:
    """What is shown: the kernel's lines, and below them one line that says how far it is."""

    terminal: bool = field(default_factory=sys.stdout.isatty)
    shown: str = ""

    def line(self, text: str) -> None:
        """A line of the kernel's."""
        self.clear()
        print(text, flush=True)

    def state(self, text: str) -> None:
        """How far it is; written over the last on a terminal, and elsewhere told when it has changed."""
        if self.terminal:
            print(f"\r\x1b[K{text[:118]}", end="", flush=True)
        elif text != self.shown:
            print(text, flush=True)
        self.shown = text

    def clear(self) -> None:
        """Makes room for a line."""
        if self.terminal and self.shown:
            print("\r\x1b[K", end="", flush=True)


def follow_kernel(api: Any, pushed: KernelRecord, screen: LogView | None = None) -> tuple[str, str]:
    """Shows a kernel until it ends.

    Args:
        api: from `authenticated`.
        pushed: the kernel.
        screen: where to.

    Returns:
        The last status, one of ENDED, and what Kaggle says of a failure.

    Raises:
        KaggleError: the credentials are refused, or Kaggle does not know the kernel.
    """
    screen, stream = screen or LogView(), LogStream(api, pushed.ref)
    status, failure, faults, how_far, asked = "", "", 0, "", -float("inf")
    wait = POLL_SECONDS
    while True:
        if time.monotonic() - asked >= wait:
            asked = time.monotonic()
            try:
                status, failure = push.fetch_status(api, pushed)
                faults, wait = 0, POLL_SECONDS
            except KaggleError as error:
                faults += 1
                if error.status == 401 or (error.status in (403, 404) and faults >= MAX_UNKNOWN):
                    raise
                wait = min(MAX_POLL_SECONDS, POLL_SECONDS * 2 ** min(faults, 8))
                screen.state(f"{error.message} Again in {wait:.0f} s; the kernel goes on")
        for line in stream.remaining() if status in END_STATUSES else stream.lines(min(wait, POLL_SECONDS)):
            if line.startswith(PROGRESS_PREFIX):
                how_far = line.removeprefix(PROGRESS_PREFIX).strip()
            elif line.strip():
                screen.line(line)
        if status in END_STATUSES:
            screen.clear()
            return status, failure
        if not faults:
            screen.state(f"{status.lower()} {how_far}".strip())
