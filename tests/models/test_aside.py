"""Work in a process of its own: a user's mistake there is raised here, and anything else is told as it was said."""

import os

import pytest

from pipeline.errors import StarshiftError
from pipeline.models import aside
from pipeline.paths import REPOSITORY


def mistaken():
    raise StarshiftError("No such thing.", expected="one", received="none", remedy="make one")


def test_a_mistake_is_told_by_the_last_line_and_how_the_process_ends(capsys):
    print("something else first")
    assert aside.working(mistaken) == aside.MISTAKE
    assert capsys.readouterr().out.splitlines()[-1] == '["No such thing.", "one", "none", "make one"]'
    assert aside.working(lambda: None) == 0


def test_a_mistake_in_the_process_is_raised_here(tmp_path, monkeypatch):
    (tmp_path / "working.py").write_text(
        "import sys\nfrom pipeline.models import aside\nfrom tests.models.test_aside import mistaken\n"
        'print("[not the last line]")\nsys.exit(aside.working(mistaken))\n'
    )
    found = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    monkeypatch.setattr(aside.paths, "child_environment", lambda: found)
    with pytest.raises(StarshiftError, match=r"No such thing\.\n(.|\n)*remedy: make one"):
        aside.run("working", failed="It failed.")


def test_what_is_no_mistake_of_the_users_is_told_with_what_the_process_said_last():
    with pytest.raises(StarshiftError, match=r"It failed\.(.|\n)*No module named pipeline.models.nowhere(.|\n)*try"):
        aside.run("pipeline.models.nowhere", failed="It failed.", remedy="try again")
