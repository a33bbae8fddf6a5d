"""Every task that prints a table prints one JSON document instead, with --json."""

import json
import subprocess
import sys

from invoke import Context

import tasks
from pipeline.cli import inspect, kaggle
from pipeline.paths import REPOSITORY
from tests.cli.test_tasks import invoke
from tests.written import written

WITHOUT_TABLES = {
    "init",
    *(
        "run",
        "kernel.follow",
        "kernel.notebook",
        "kernel.submit",
        "download",
        "features",
        "augmented",
        "report",
        "explain",
        "submit",
        "pretrain",
    ),
    *("export", "layers", "serve"),
    *("runs.note", "runs.delete", "labels.apply"),
    *("store.add", "store.remove", "store.start", "store.push", "store.pull"),
}
"""Tasks that make or send something, and print no table."""


def list_tasks():
    return {name: tasks.ns[name] for name in tasks.ns.task_names}


def test_a_task_prints_json_or_has_no_table():
    without = {name for name, task in list_tasks().items() if "json" not in [one.name for one in task.get_arguments()]}
    assert without <= WITHOUT_TABLES


def test_the_documents_of_all_tasks_are_described():
    text = (REPOSITORY / "docs" / "json.md").read_text(encoding="utf-8")
    assert not {name for name in set(list_tasks()) - WITHOUT_TABLES if f"`{name}`" not in text}


def document_of(capfd, task, **flags):
    """What a task prints with --json."""
    capfd.readouterr()
    task(Context(), json=True, **flags)
    return json.loads(capfd.readouterr().out)


def test_competitions_and_their_numbers(capfd):
    names = [one["name"] for one in document_of(capfd, inspect.comps)["competitions"]]
    assert "dog-breed" in names and "sprouts" in names


def test_a_recipe_with_its_training_and_its_networks(capfd):
    document = document_of(capfd, inspect.show, comp="dog-breed", base=("mobilenet_v2",), strategy="finetune")
    assert document["networks"][0]["name"] == "mobilenet_v2" and document["training"]["schedule"] == "cosine"


def test_an_empty_cache(capfd):
    assert document_of(capfd, inspect.cache) == {"stores": [], "total": {"stores": 0, "rows": 0, "bytes": 0}}


def test_two_runs_compared(capfd):
    before, after = written(1.0), written(3.0, seed=1)
    document = document_of(capfd, inspect.compare, before=before.name, after=after.name)
    assert document["runs"]["B"]["run"] == after.name and document["difference"]["verdict"] == "better"
    assert {one["verdict"] for one in document["classes"]} <= {"better", "worse", "within noise"}


def test_the_weights_of_a_recipe(capfd):
    document = document_of(capfd, kaggle.weights, comp="dog-breed", base=("petite",))
    assert document["models"] == [] and isinstance(document["weights"], list)


def test_a_mistake_prints_no_document():
    done = invoke("runs", "--comp", "sprouts", "--json")
    assert done.returncode == 1 and done.stdout == "" and "There is no run of sprouts yet" in done.stderr


def test_a_reader_who_goes_away_gets_no_traceback(home):
    written(2.0)
    command, pipe = [sys.executable, "-m", "invoke", "runs"], subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 1
