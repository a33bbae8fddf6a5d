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

from pipeline.kaggle.client import KaggleError
from pipeline.remote import kernel
from pipeline.remote.pushed import Pushed
from pipeline.remote.session import PROGRESS

log = logging.getLogger(__name__)
ENDED = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
POLL = 20.0
"""Seconds between two questions for the status; the log comes by itself."""
LONGEST = 300.0
"""Seconds between two tries while Kaggle cannot be reached: a laptop may sleep for hours."""
PAUSE = 5.0
"""Seconds between two requests for the log."""
SILENCE = 90.0
"""Seconds without a word from the log after which it is asked for anew: a connection that slept says nothing."""
TRIES = 3
"""Of reading a log to its end."""
NOT_YET = 5
"""Times that Kaggle may not know a kernel which it has just taken."""


class Stream:
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
            if self.reading and time.monotonic() - self.heard > SILENCE:
                self.reading = False
            if not self.reading and time.monotonic() - self.begun >= PAUSE:
                self._begin()
            yield from self._heard(min(left, PAUSE))

    def remaining(self) -> Iterator[str]:
        """The lines up to the end of a log that has one."""
        for _ in range(TRIES):
            self._begin()
            while self.reading:
                yield from self._heard(SILENCE)
                self.reading = self.reading and time.monotonic() - self.heard < SILENCE
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
class Screen:
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


def follow(api: Any, pushed: Pushed, screen: Screen | None = None) -> tuple[str, str]:
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
    screen, stream = screen or Screen(), Stream(api, pushed.ref)
    status, failure, faults, how_far, asked = "", "", 0, "", -float("inf")
    wait = POLL
    while True:
        if time.monotonic() - asked >= wait:
            asked = time.monotonic()
            try:
                status, failure = kernel.status(api, pushed)
                faults, wait = 0, POLL
            except KaggleError as error:
                faults += 1
                if error.status == 401 or (error.status in (403, 404) and faults >= NOT_YET):
                    raise
                wait = min(LONGEST, POLL * 2 ** min(faults, 8))
                screen.state(f"{error.message} Again in {wait:.0f} s; the kernel goes on")
        for line in stream.remaining() if status in ENDED else stream.lines(min(wait, POLL)):
            if line.startswith(PROGRESS):
                how_far = line.removeprefix(PROGRESS).strip()
            elif line.strip():
                screen.line(line)
        if status in ENDED:
            screen.clear()
            return status, failure
        if not faults:
            screen.state(f"{status.lower()} {how_far}".strip())
