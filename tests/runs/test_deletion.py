"""Runs are deleted whole, with a word on what used them, and never while they are under way."""

import json
import shutil
import subprocess
import sys

import pytest

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import write_json, write_text
from pipeline.runs import folder as runs
from pipeline.runs.deletion import delete_runs, list_uses
from tests.cli.test_tasks import invoke
from tests.written import written


def change_config(folder, **entries):
    path = folder / "config.json"
    write_json(path, json.loads(path.read_text()) | entries)


def test_a_run_that_nothing_uses_has_no_uses():
    assert list_uses(written(1.0)) == []


def test_an_ensemble_and_a_student_use_a_run():
    member, ensemble, student = written(1.0), written(2.0), written(3.0)
    change_config(ensemble, made_of=[{"run": member.name}])
    change_config(student, distillation={"strategy": "features", "teachers": [member.name]})
    assert [use.split()[0] for use in list_uses(member)] == [ensemble.name, "it"]
    assert "made of it" in list_uses(member)[0] and list_uses(member)[1] == f"it taught {student.name}"


def test_the_latest_submission_uses_the_run_whose_it_is(home):
    first, second = written(1.0), written(2.0)
    for number, folder in enumerate((first, second)):
        write_text(folder / "submission.csv", f"id,label\n{number}\n")
    (home / "submissions" / "mine").mkdir(parents=True)
    shutil.copy(second / "submission.csv", home / "submissions" / "mine" / "latest.csv")
    assert list_uses(first) == [] and "latest.csv is its submission" in list_uses(second)[0]


def test_a_score_of_kaggle_is_told():
    folder = written(1.0)
    write_json(folder / "leaderboard.json", {"public": 0.71, "private": None})
    assert list_uses(folder) == ["Kaggle has scored it: public 0.71, private None"]


def test_while_one_run_is_under_way_none_is_deleted():
    idle, busy = written(1.0), written(2.0)
    code = (
        "import sys; from pathlib import Path; from pipeline.runs import folder as runs\n"
        f"with runs.lock_run(Path({str(busy)!r})): print('locked', flush=True); sys.stdin.read()"
    )
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, cwd=paths.REPOSITORY, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(StarshiftError, match="Another process is at this very run"):
            delete_runs([idle, busy])
        process.stdin.close()
    assert runs.list_run_folders("mine") == [idle, busy]
    delete_runs([idle, busy])
    assert not idle.exists() and not busy.exists()


def test_what_is_deleted_in_part_is_no_run(monkeypatch):
    folder = written(1.0)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt):
        delete_runs([folder])
    assert folder.exists() and runs.list_run_folders("mine") == []


def test_the_command_line_deletes_only_what_is_confirmed(home):
    first, second = written(1.0), written(2.0)
    refused = invoke("runs.delete", "--comp", "mine", "--run", first.name)
    assert refused.returncode == 1 and "Nobody is there to confirm" in refused.stderr and first.exists()
    done = invoke("runs.delete", "--comp", "mine", "--run", first.name, "--run", first.name, "--yes")
    assert done.returncode == 0 and "MB freed" in done.stdout, done.stderr
    assert not first.exists() and second.exists()
