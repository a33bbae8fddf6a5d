"""Writes a notebook that runs a recipe on Kaggle step by step, with the same code, folds and weights as a kernel does.

All that it needs is in it: the code cell that holds the repository is hidden on Kaggle's page.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.config import Competition, find_comp_argument
from pipeline.files import write_text
from pipeline.kaggle.inputs import find_public_dataset
from pipeline.kernels import bundle, weights
from pipeline.kernels.bundle import CodeBundle

SETTINGS = {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}
"""Of a cell whose code is hidden, on Kaggle and in JupyterLab."""
UNPACK = """
code, environment = unpack(DIGEST, PAYLOAD)
os.environ.update(environment)
os.chdir(code)
sys.path.insert(0, str(code))
"""
LOAD = """
from pipeline.kernels.job import read_job

job = read_job(code / "order.json")
job.competition.recipe
"""
RUN = """
import pipeline
from pipeline.kernels.session_run import run_job
from pipeline.logs import set_up

set_up()
run = pipeline.load_run(run_job(job))
print(run.results["metric"], run.results["score"], "over folds:", run.results["folds"])
"""
EVALUATE = """
evaluation = pipeline.evaluate(run)
print("accuracy", evaluation.accuracy.estimate, "chance", evaluation.chance)
evaluation.classes.sort_values("f1").head(10)
"""
REPORT = """
import html

from IPython.display import HTML

report = run.folder / "report.html"
page = html.escape(report.read_text(encoding="utf-8")) if report.is_file() else "Jinja2, which writes it, is not here."
HTML(f'<iframe srcdoc="{page}" width="100%" height="900"></iframe>')
"""
SUBMIT = """
import shutil

from pipeline import paths

submission = shutil.copy(run.folder / "submission.csv", paths.kaggle_folder("working") / "submission.csv")
print(open(submission).read(500))
"""


def build_notebook(packed: CodeBundle) -> dict[str, Any]:
    """Builds the notebook of a job, nbformat 4.5.

    Args:
        packed: the repository and the job.
    """
    competition = packed.job.competition
    recipe = competition.recipe
    inputs = "\n".join(f"- {line}" for line in list_inputs(competition))
    title = f"{competition.name}: {recipe.strategy}, {', '.join(recipe.bases)}"
    parts: list[tuple[str, str] | tuple[str, str, dict[str, Any]]] = [
        ("markdown", f"# {title}\n\nMade by `invoke kernel.notebook --comp {find_comp_argument(competition.name)}` of "
         "Starshift: the recipe that runs here is the one that runs there.\n\n## Before you run it\n\nSwitch on a GPU, "
         f"and add these by *Add input*:\n\n{inputs}\n\n"
         "The internet may stay off. Where it is on, weights are downloaded."),
        ("markdown", "## Install\n\nThe hidden cell holds the repository and the job, and unpacks them after a look at "
         "their digest."),
        ("code", f"{bundle.format_bootstrap(packed)}\n{UNPACK}", SETTINGS),
        ("markdown", "## The recipe\n\nBases are pretrained networks without their classifier; "
         f"`{recipe.strategy}` is how they are trained. `help(type(job.competition.recipe))` describes every field."),
        ("code", LOAD),
        ("markdown", "## Run\n\nEight stages, a line each, from data to the submission. "
         "The score is cross-validated: a picture is predicted by models that have not seen it."),
        ("code", RUN),
        ("markdown", "## Where it is wrong\n\nThe classes with the lowest F1 first, on held-out pictures."),
        ("code", EVALUATE),
        ("markdown", "## The report\n\nConfusions, reliability, the worst pictures and the environment."),
        ("code", REPORT),
        ("markdown", "## The submission\n\nIts rows are in the order of the sample submission. *Save version*, and "
         "submit it from the output."),
        ("code", SUBMIT),
    ]  # fmt: skip
    return {
        "cells": [_build_cell(number, *part) for number, part in enumerate(parts)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _build_cell(number: int, kind: str, text: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    cell = {
        "id": f"cell-{number}",
        "cell_type": kind,
        "metadata": settings or {},
        "source": text.strip("\n").splitlines(True),
    }
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def list_inputs(competition: Competition) -> list[str]:
    """Lists what has to be attached to the notebook, in words."""
    lines = [f"the competition `{competition.slug}`"] if competition.slug else ["a dataset of your pictures"]
    lines += [f"the model `{handle}`" for handle in weights.list_models(competition)]
    own = f"your dataset `{weights.DATASET_SLUG}`, which `invoke weights --upload` makes"
    names = dict.fromkeys(spec.name for spec in weights.list_weights(competition))
    return [*lines, *(f"`{name}`, of {find_public_dataset(name) or own}" for name in names)]


def write_notebook(packed: CodeBundle, path: Path) -> Path:
    """Writes the notebook of a job."""
    write_text(path, json.dumps(build_notebook(packed), indent=1, ensure_ascii=False) + "\n")
    return path
