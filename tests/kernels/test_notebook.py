"""The notebook of a recipe: valid, clean, accepted by Kaggle's client, and it runs from its first cell to its last."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import nbformat
import pandas as pd
import pytest
from invoke import Context

from pipeline.cli import kernel
from pipeline.config import RunOptions
from pipeline.kaggle.client import authenticate
from pipeline.kernels import bundle
from pipeline.kernels.job import parse_job
from pipeline.kernels.notebook import build_notebook, list_inputs, write_notebook
from pipeline.kernels.push import build_metadata
from pipeline.kernels.run import build_job
from tests.kaggle.serving_kernels import lacking, without_network
from tests.kernels.conftest import PETS, SLUG

pytestmark = pytest.mark.filterwarnings("ignore")
IPYTHON = "class HTML:\n    def __init__(self, text):\n        assert 'iframe' in text and 'not here' not in text\n"
"""Stands for IPython's module, which Kaggle has."""


@pytest.fixture
def packed(monkeypatch):
    monkeypatch.setattr(bundle, "XZ_PRESET", 0)
    return bundle.build_bundle(build_job(PETS, RunOptions(engine="keras")))


def test_it_is_valid_and_has_no_outputs(packed):
    notebook = nbformat.from_dict(build_notebook(packed))
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            compile("".join(cell.source), "cell", "exec")


def test_all_that_is_long_is_in_one_hidden_cell(packed):
    cells = build_notebook(packed)["cells"]
    long = [cell for cell in cells if len("".join(cell["source"])) > 1000]
    assert len(long) == 1 and long[0]["metadata"]["_kg_hide-input"] is True


def test_its_first_cell_names_what_to_attach():
    assert list_inputs(PETS) == [f"the competition `{SLUG}`"]
    bases = ("mobilenet_025", "mobilenet_025:64", "xception", "hub:dinov2_small")
    inputs = list_inputs(replace(PETS, recipe=replace(PETS.recipe, bases=bases)))
    assert inputs[1] == "the model `keras/dinov2/keras/dinov2_small/1`" and len(inputs) == 4
    assert "starshift-weights" in inputs[2] and "gaborfodor/keras-pretrained-models" in inputs[3]


def test_kaggles_client_takes_it(packed, kernels, tmp_path):
    metadata = build_metadata("cpu", internet=False, sources={"competition_sources": [SLUG]})
    metadata |= {"id": "tester/pets-notebook", "title": "Pets notebook", "kernel_type": "notebook"}
    (tmp_path / "kernel-metadata.json").write_text(json.dumps(metadata | {"code_file": "pets.ipynb"}))
    write_notebook(packed, tmp_path / "pets.ipynb")
    assert authenticate().kernels_push(str(tmp_path)).version_number == 1
    body = kernels.latest().body
    assert body["kernelType"] == "notebook" and json.loads(body["text"])["nbformat"] == 4


def test_the_command_writes_it_with_the_flags_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "XZ_PRESET", 0)
    kernel.notebook(Context(), comp="dog-breed", base=("petite",), set_=("folds=3",), out=str(tmp_path / "dogs.ipynb"))
    assert "dog-breed: features, petite" in (tmp_path / "dogs.ipynb").read_text()


@pytest.mark.slow
def test_it_runs_the_recipe_from_its_first_cell_to_its_last_without_a_network(packed, pets, tmp_path):
    root = tmp_path / "kaggle"
    for name in ("input/competitions", "working"):
        (root / name).mkdir(parents=True)
    (root / "input" / "competitions" / SLUG).symlink_to(pets)
    cells = build_notebook(packed)["cells"]
    (tmp_path / "cells.py").write_text("\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code"))
    path = lacking(tmp_path)
    site = tmp_path / "lacking" / "sitecustomize.py"
    site.write_text(site.read_text().replace("'jinja2', ", ""))  # Jupyter itself needs it
    (tmp_path / "lacking" / "IPython").mkdir()
    (tmp_path / "lacking" / "IPython" / "__init__.py").write_text("")
    (tmp_path / "lacking" / "IPython" / "display.py").write_text(IPYTHON)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": path,
                   "KAGGLE_KERNEL_RUN_TYPE": "Interactive", "STARSHIFT_KAGGLE_ROOT": str(root)}  # fmt: skip
    command = [*without_network(), sys.executable, str(tmp_path / "cells.py")]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "binary_log_loss" in done.stdout and pd.read_csv(root / "working" / "submission.csv").shape == (6, 2)


def test_its_job_is_that_of_a_kernel(packed):
    assert parse_job(packed.job.text()) == build_job(PETS, RunOptions(engine="keras"))
