"""One script holds the repository and the order, exactly, and refuses to run when it is not what was pushed."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

import competitions
from pipeline.config import RunOptions, Training
from pipeline.errors import StarshiftError
from pipeline.kernels import bundle as bundling
from pipeline.kernels import job
from pipeline.kernels.bundle import build_bundle
from pipeline.kernels.run import build_job
from tests.kernels.conftest import PETS

SESSION = {"number": 1, "seconds": 60, "kernel": 'me/it\'s a "name"', "accelerator": "cpu"}


@pytest.fixture(scope="module")
def packed():
    return build_bundle(build_job(PETS, RunOptions(engine="keras")))


def run(script, folder):
    folder.mkdir()
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "STARSHIFT_KAGGLE_ROOT": str(folder), "PYTHONPATH": ""}
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_the_same_order_gives_the_same_script_and_it_is_small(packed):
    again = build_bundle(build_job(PETS, RunOptions(engine="keras")))
    assert packed.digest == again.digest and packed.script(SESSION) == again.script(SESSION)
    assert len(packed.script(SESSION)) < 700_000
    other = build_bundle(build_job(replace(PETS, metric="auc"), RunOptions(engine="keras")))
    assert other.digest != packed.digest


def test_the_sessions_of_a_run_have_one_payload(packed):
    first, second = (packed.script({**SESSION, "number": number}) for number in (1, 2))
    different = [one for one, other in zip(first.splitlines(), second.splitlines(), strict=True) if one != other]
    assert len(different) == 1 and different[0].startswith("SESSION = ")


def test_every_module_travels_and_no_weights_do():
    found = bundling.read_sources()
    assert {
        "pipeline/workflow/run.py",
        "pipeline/kernels/session_run.py",
        "pipeline/models/weights/petite.json",
    } <= set(found)
    assert "competitions/dog_breed.py" in found and not [name for name in found if name.endswith((".h5", ".pyc"))]


def test_a_changed_payload_is_refused_before_anything_is_unpacked(packed, tmp_path):
    script = packed.script(SESSION)
    place = script.index("PAYLOAD = ") + 5000
    changed = script[:place] + ("A" if script[place] != "A" else "B") + script[place + 1 :]
    done = run(changed, tmp_path / "kernel")
    assert done.returncode == 1 and "not what was pushed" in done.stderr and packed.digest in done.stderr
    assert not (tmp_path / "kernel" / "tmp").exists()


def test_a_script_that_is_too_large_is_refused(packed, monkeypatch):
    monkeypatch.setattr(bundling, "MAX_SCRIPT_BYTES", 1000)
    with pytest.raises(StarshiftError, match="too large"):
        packed.script(SESSION)


@pytest.mark.parametrize("name", competitions.names())
def test_every_competition_reads_back_as_it_was(name):
    found = competitions.find(name)
    training = Training(sizes=(64, 128), epochs=3)
    found = replace(found, recipe=replace(found.recipe, strategy="finetune", training=training))
    order = build_job(found, RunOptions(folds=(1,), debug=True))
    again = job.parse_job(order.text())
    assert again == order and again.competition.fingerprint() == found.fingerprint()


def test_a_competition_file_outside_the_repository_travels_whole(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from pipeline.config import Competition, Recipe\n"
        'COMPETITION = Competition(name="mine", slug="their-slug", metric="accuracy", recipe=Recipe(seed=7))\n'
    )
    order = build_job(competitions.find(str(file)), RunOptions())
    assert job.parse_job(order.text()).competition.slug == "their-slug"
    assert json.loads(order.text())["competition"]["recipe"]["seed"] == 7


def test_the_folds_that_are_used_here_are_used_there(home):
    file = home / "data" / "competitions" / "pets" / "folds-3-seed0.csv"
    file.parent.mkdir(parents=True)
    file.write_text("id,fold\na,0\n")
    assert build_job(PETS, RunOptions()).split == (file.name, "id,fold\na,0\n")


@pytest.mark.parametrize("option", [{"force": True}, {"resplit": True}])
def test_what_has_no_meaning_there_is_refused(option):
    with pytest.raises(StarshiftError, match="no meaning on Kaggle"):
        build_job(PETS, RunOptions(**option))
