"""What the terminal can show: its width, colours, and progress bars.

A pipe or a file gets plain text: no line is fitted, no colour is used and no bar is drawn.
"""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterable
from typing import IO, Any

from tqdm import tqdm

PROGRAM_VARIABLE = "STARSHIFT_PROGRAM"
"""Environment variable with the name of the command line, where it is not invoke; child processes see it, too."""
COMMAND = re.compile(r"\binvoke (?=[a-z])")
COLOURS = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
ESCAPE = re.compile(r"\x1b\[\d+m")
VERDICT_COLOURS = {"better": "green", "worse": "red", "within noise": "dim"}
VERDICT = re.compile("|".join(VERDICT_COLOURS))
BAR_DELAY = 3.0
"""Seconds before a bar appears: shorter steps stay quiet."""


def has_colours(stream: IO[str] | None = None) -> bool:
    """Returns whether a stream (standard output where None) shows colours.

    NO_COLOR (no-color.org), FORCE_COLOR and TERM=dumb are honoured, in this order.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: IO[str] | None = None) -> str:
    """Returns a text in one of COLOURS where the stream (standard output where None) shows them."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if text and has_colours(stream) else text


def name_program(text: str) -> str:
    """Returns a text whose commands `invoke ...` begin with the name of the command line that runs."""
    program = os.environ.get(PROGRAM_VARIABLE)
    return COMMAND.sub(f"{program} ", text) if program else text


def paint_verdict(text: str) -> str:
    """Returns a text with its first verdict in colour: better, worse or within noise."""
    return VERDICT.sub(lambda match: paint(match[0], VERDICT_COLOURS[match[0]]), text, count=1)


def measure_width(text: str) -> int:
    """Returns how many columns a text takes, without its colours."""
    return len(ESCAPE.sub("", text))


def find_width() -> int | None:
    """Returns the columns of the terminal; None where standard output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """A bar that stays hidden for its delay, even where a line is logged meanwhile: tqdm 4.67 would show it then."""

    @property
    def is_hidden(self) -> bool:
        """Whether the delay has not passed yet."""
        return time.time() < getattr(self, "start_t", time.time()) + self.delay

    def display(self, *args: Any, **options: Any) -> None:
        """See tqdm."""
        if not self.is_hidden:
            super().display(*args, **options)

    def clear(self, *args: Any, **options: Any) -> None:
        """See tqdm."""
        if not self.is_hidden:
            super().clear(*args, **options)


def open_bar(items: Iterable[Any] | None = None, **options: Any) -> Any:
    """Opens a progress bar of the terminal's width with the time left; silent where standard error is no terminal.

    Args:
        items: to iterate over; None where the caller updates the bar.
        options: of tqdm, such as `desc`, `unit` and `total`.
    """
    return ProgressBar(items, **{"disable": None, "leave": False, "dynamic_ncols": True, "delay": BAR_DELAY, **options})
