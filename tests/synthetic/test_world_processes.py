"""Drawing in processes: in order, and a process that is killed is an error, not a wait without end."""

import os
import signal

import pytest

from pipeline.errors import StarshiftError
from pipeline.synthetic.world import draw_in_processes


def square(number):
    return number**2


def kill_itself(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_the_order_of_their_jobs():
    assert list(draw_in_processes(square, range(100), "square")) == [number**2 for number in range(100)]


def test_a_process_that_is_killed_is_an_error_that_says_what_to_do():
    with pytest.raises(StarshiftError, match=r"was killed(.|\n)*the same command"):
        list(draw_in_processes(kill_itself, range(100), "draw"))
