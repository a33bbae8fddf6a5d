"""Writes a notebook that runs a recipe on Kaggle step by step, with the same code, folds and weights as a kernel does.

All that it needs is in it. notebook.json is its text; the cell that holds the repository is hidden on Kaggle's page.
"""

import json
from pathlib import Path
from string import Template
from typing import Any

from pipeline.config import Competition, find_comp_argument
from pipeline.files import read_json, write_text
from pipeline.kaggle.inputs import find_public_dataset
from pipeline.kernels import weights
from pipeline.kernels.bundle import CodeBundle, format_bootstrap

TEMPLATE = Path(__file__).with_name("notebook.json")


def build_notebook(packed: CodeBundle) -> dict[str, Any]:
    """Builds the notebook of a job, nbformat 4.5.

    Args:
        packed: the repository and the job.
    """
    competition = packed.job.competition
    values = {
        "title": f"{competition.name}: {competition.recipe.strategy}, {', '.join(competition.recipe.bases)}",
        "comp": find_comp_argument(competition.name),
        "inputs": "\n".join(f"- {line}" for line in list_inputs(competition)),
        "strategy": competition.recipe.strategy,
        "bootstrap": format_bootstrap(packed),
    }
    notebook: dict[str, Any] = read_json(TEMPLATE)
    for cell in notebook["cells"]:
        cell["source"] = Template("".join(cell["source"])).substitute(values).splitlines(keepends=True)
    return notebook


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
