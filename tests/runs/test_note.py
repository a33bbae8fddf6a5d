"""A run's name and note: written at any time, shown wherever runs are, and no part of what decides the result."""

import json

import pytest

from pipeline.config import RunOptions
from pipeline.errors import StarshiftError
from pipeline.run_report.results import build_headline
from pipeline.runs import folder as runs
from pipeline.runs import listing
from pipeline.runs.load import find_run_folder, load_run
from pipeline.runs.note import RunNote, read_note, write_note
from pipeline.workflow import run as flow
from tests.cli.test_tasks import invoke
from tests.written import MINE, written


def test_a_run_is_found_by_the_name_that_it_was_given():
    folder = written(1.0)
    written(2.0)
    write_note(folder, "warm-start")
    assert find_run_folder("warm-start", None) == find_run_folder("warm-start", "mine") == folder


def test_a_note_is_written_without_a_name_and_leaves_the_fingerprint():
    folder = written(1.0)
    before = (folder / "config.json").read_bytes()
    assert write_note(folder, note="with the new labels") == RunNote(note="with the new labels")
    assert (folder / "config.json").read_bytes() == before


def test_what_is_not_written_stays_and_an_empty_text_removes():
    folder = written(1.0)
    write_note(folder, "first", "a remark")
    assert write_note(folder, "second") == RunNote(name="second", note="a remark")
    assert write_note(folder, note="") == read_note(folder) == RunNote(name="second")


@pytest.mark.parametrize("name", ["latest", "best", "ensemble", "store:pets", "20261124", "a b", "ä", "-a"])
def test_a_name_that_means_something_else_is_refused(name):
    folder = written(1.0)
    with pytest.raises(StarshiftError, match="Unusable name of a run"):
        write_note(folder, name)
    assert not (folder / runs.NOTE_FILE).exists()


def test_a_name_is_given_once_in_a_competition():
    first, second = written(1.0), written(2.0)
    write_note(first, "mine")
    write_note(first, "mine", "its own name is free to itself")
    with pytest.raises(StarshiftError, match=f"called 'mine'[^$]*{first.name}"):
        write_note(second, "mine")


def test_a_name_that_a_finished_run_has_is_refused_before_any_data_is_read():
    write_note(written(1.0), "mine")
    with pytest.raises(StarshiftError, match="Another run of mine is called 'mine'"):
        flow.run(MINE, RunOptions(), name="mine")


def test_a_run_that_a_mistake_ends_at_once_leaves_no_note():
    folder = runs.create_run_folder("pets", "features", {}, "0" * 64)
    with pytest.raises(StarshiftError, match="does not fit"), runs.lock_run(folder):
        write_note(folder, "mine")
        raise StarshiftError("That does not fit.")
    assert not folder.exists()


def test_the_list_and_the_report_show_name_and_note():
    folder = written(1.0)
    assert "name" not in listing.format_run_table(listing.list_runs("mine"))[0].split()
    write_note(folder, "warm-start", "with the new labels")
    table = listing.format_run_table(listing.list_runs("mine"))
    assert "warm-start" in table[1] and table[1].endswith("with the new labels")
    assert build_headline(load_run(folder))["note"] == {"name": "warm-start", "note": "with the new labels"}


def test_the_command_line_names_a_finished_run_and_lists_it(home):
    folder = written(1.0)
    done = invoke("runs.note", "--run", folder.name, "--name", "first", "--note", "a remark")
    assert done.returncode == 0 and "name first, note a remark" in done.stdout, done.stderr
    (listed,) = json.loads(invoke("runs", "--json").stdout)["mine"]
    assert (listed["name"], listed["note"]) == ("first", "a remark")
    assert "Which run?" in invoke("runs.note", "--name", "x").stderr
