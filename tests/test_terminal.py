"""The terminal gets colours and bars; a pipe and a file get plain text."""

import io
import os
import pty
import subprocess
import sys

import pytest

from pipeline import terminal
from pipeline.paths import REPOSITORY


class Screen(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def run_in_terminal(command, columns=60, **environment):
    """What a command writes on a terminal of this width, standard error with it."""
    leader, follower = pty.openpty()
    os.set_blocking(leader, True)
    subprocess.run(["stty", "columns", str(columns), "rows", "40"], stdin=follower, check=True)
    env = {**os.environ, **environment}
    process = subprocess.Popen(command, stdout=follower, stderr=follower, cwd=REPOSITORY, env=env)
    os.close(follower)
    pieces = []
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux: the last process has closed it
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(leader)
    assert process.wait() == 0, b"".join(pieces)
    return b"".join(pieces).decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours():
    assert terminal.paint("better", "green", Screen()) == "\x1b[32mbetter\x1b[0m"


def test_a_pipe_gets_no_colours():
    assert terminal.paint("better", "green", io.StringIO()) == "better"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("NO_COLOR", "false"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_none(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert terminal.paint("better", "green", Screen()) == "better"


def test_an_empty_no_color_asks_for_nothing(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    assert terminal.has_colours(Screen())


def test_colours_can_be_forced_into_a_pipe_but_not_against_no_color(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert terminal.has_colours(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.has_colours(io.StringIO())


@pytest.mark.parametrize(
    ("text", "painted"),
    [
        ("B is better than A", "B is \x1b[32mbetter\x1b[0m than A"),
        ("worse", "\x1b[31mworse\x1b[0m"),
        ("within noise of the best", "\x1b[2mwithin noise\x1b[0m of the best"),
        ("nothing to say", "nothing to say"),
    ],
)
def test_the_verdict_in_a_line_is_painted(text, painted, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Screen())
    assert terminal.paint_verdict(text) == painted


def test_colours_take_no_columns():
    assert terminal.measure_width("\x1b[32mbetter\x1b[0m") == len("better")


BAR = """
import logging, time
from pipeline import logs, terminal
logs.set_up()
terminal.BAR_DELAY = {delay}
for number in terminal.open_bar(range(4), desc="pictures", unit="picture", mininterval=0.01):
    time.sleep(0.05)
    if number == 1:
        logging.info("a line between")
"""


def bar_of(delay):
    return [sys.executable, "-c", BAR.format(delay=delay)]


def test_a_bar_fills_the_terminal_and_tells_the_time_left():
    shown = run_in_terminal(bar_of(0.0), columns=70)
    bars = [line for line in shown.replace("\n", "\r").split("\r") if line.startswith("pictures:") and "%" in line]
    assert len(bars) > 1 and {len(line) for line in bars} == {69} and all("<" in line for line in bars)


def test_a_line_that_is_logged_stands_on_its_own_above_the_bar():
    shown = run_in_terminal(bar_of(0.0)).replace("\n", "\r").split("\r")
    assert "a line between" in shown


def test_a_step_of_less_than_three_seconds_shows_no_bar():
    assert terminal.BAR_DELAY == 3 and run_in_terminal(bar_of(3.0)) == "a line between\n"


def test_a_pipe_gets_no_bar():
    done = subprocess.run(bar_of(0.0), capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "a line between\n" and done.stderr == ""
