"""Inside the kernel: weights are those that were ordered, and the folds are those of home."""

import hashlib
from dataclasses import replace

import pytest

from pipeline import paths
from pipeline.config import RunOptions
from pipeline.data.corrections import find_corrections_path
from pipeline.errors import StarshiftError
from pipeline.files import write_text
from pipeline.kernels import run, session_run
from pipeline.kernels.job import WeightsSpec, parse_job
from pipeline.models import base
from tests.kernels.conftest import PETS


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setenv("STARSHIFT_KAGGLE_ROOT", str(tmp_path / "kaggle"))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    return tmp_path / "kaggle" / "input"


def attach(inputs, name, data, owner="me"):
    path = inputs / "datasets" / owner / "weights" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def recipe(*names):
    return replace(PETS, recipe=replace(PETS.recipe, bases=names, size=224))


def test_of_two_files_of_one_name_the_ordered_one_is_taken(inputs):
    path = base.find_weights_path(base.parse_base("mobilenet_v2", 224))
    attach(inputs, path.name, b"another", "a")
    attach(inputs, path.name, b"right", "b")
    wanted = WeightsSpec(base="mobilenet_v2", name=path.name, sha256=hashlib.sha256(b"right").hexdigest())
    assert session_run.link_weights(recipe("mobilenet_v2"), (wanted,)) == recipe("mobilenet_v2")
    assert path.read_bytes() == b"right"


def test_other_weights_of_that_name_are_refused(inputs):
    attach(inputs, "w.h5", b"another")
    wanted = WeightsSpec(base="mobilenet_v2", name="w.h5", sha256="0" * 64)
    with pytest.raises(StarshiftError, match="another file than the one that was ordered"):
        session_run.link_weights(recipe("mobilenet_v2"), (wanted,))


def test_a_weights_file_that_the_recipe_names_is_found_and_named_anew(inputs, tmp_path):
    mine = tmp_path / "mine.weights.h5"
    mine.write_bytes(b"mine")
    text = f"mobilenet_v2+both={mine}"
    order = run.build_job(recipe("resnet50=none", text), RunOptions())
    assert [one.name for one in order.weights] == ["mine.weights.h5"] and order.weights[0].sha256
    mine.unlink()
    place = attach(inputs, "mine.weights.h5", b"mine")
    found = session_run.link_weights(order.competition, order.weights)
    assert found.recipe.bases == ("resnet50=none", f"mobilenet_v2+both={place}")


def test_the_folds_of_home_are_the_folds_there(inputs, monkeypatch):
    monkeypatch.setattr(session_run.flow, "run", lambda *_: None)
    order = replace(run.build_job(PETS, RunOptions()), split=("folds-3-seed0.csv", "id,fold\n"))
    session_run.run_job(order)
    assert (paths.competition_folder("pets") / "folds-3-seed0.csv").read_text() == "id,fold\n"


def test_a_debug_run_has_there_the_fingerprint_that_it_has_here():
    order = run.build_job(PETS, RunOptions(debug=True))
    assert order.config["competition"]["recipe"]["folds"] == 2 and order.config["folds"] == [0, 1]


def test_the_corrected_labels_of_home_are_the_labels_there(inputs, monkeypatch):
    monkeypatch.setattr(session_run.flow, "run", lambda *_: None)
    path, text = find_corrections_path("pets"), "id,label,corrected\na,cat,dog\n"
    write_text(path, text)
    order = parse_job(run.build_job(PETS, RunOptions()).text())
    path.unlink()
    session_run.run_job(order)
    assert path.read_text() == text and order.config["labels"]["corrected"] == 1
