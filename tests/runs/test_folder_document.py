"""docs/run-folder.md describes every file and field that a run writes, and none that the code does not know."""

import ast
import csv
import re
from dataclasses import replace
from fnmatch import fnmatch

import numpy as np
import pytest

import competitions
from pipeline.config import RunOptions, Training
from pipeline.files import read_json
from pipeline.paths import REPOSITORY
from pipeline.run_report.provenance import FILES
from pipeline.workflow import run as flow
from tests.conftest import write_competition
from tests.ensemble import test_run as ensembles

DOCUMENT = (REPOSITORY / "docs" / "run-folder.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))
RECORDS = {
    **{f"{name}.json": f"{name}.json" for name in ("config", "environment", "metrics", "leaderboard")},
    **dict.fromkeys(("model.json", "final.json"), "model.json and final.json"),
}
"""The section that describes a JSON file."""


def list_names(section):
    """The first column of the tables of a section."""
    return re.findall(r"^\| `(.+?)` \|", SECTIONS[section], re.MULTILINE)


def find_unknown(value, names, prefix=""):
    """Paths of fields that `names` does not describe; what is described as a whole is not looked into."""
    if isinstance(value, list):
        return [path for each in value for path in find_unknown(each, names, f"{prefix}[]")]
    if not isinstance(value, dict):
        return [] if prefix in names else [prefix]
    missing = []
    for key, each in value.items():
        path = f"{prefix}.{key}".removeprefix(".")
        inside = [name for name in names if name.startswith((f"{path}.", f"{path}[]"))]
        starred = f"{prefix}.*"
        if any(name.startswith(starred) for name in names):
            missing += find_unknown(each, names, starred)
        elif inside:
            missing += find_unknown(each, names, path)
        elif path not in names:
            missing.append(path)
    return missing


def check_folder(folder):
    """Holds a run folder against the document."""
    assert {path.name for path in folder.iterdir()} <= {*FILES}
    for name, section in RECORDS.items():
        if (stored := read_json(folder / name)) is not None:
            assert find_unknown(stored, list_names(section)) == [], name
    inside = [str(path.relative_to(folder)) for path in folder.glob("*/*")]
    assert [name for name in inside if not any(fnmatch(name, known) for known in list_names("Files of networks"))] == []
    for name, more in (("folds.csv", []), ("history.csv", list_step_fields())):
        with (folder / name).open(newline="") as file:
            assert {*next(csv.reader(file))} <= {*list_names("Tables"), *more}, name
    for name in ("oof.npz", "test.npz"):
        with np.load(folder / name) as arrays:
            assert all(any(fnmatch(one, known) for known in list_names("Arrays")) for one in arrays.files)


def list_step_fields():
    """The fields of a step, which docs/json.md describes."""
    line = (REPOSITORY / "docs" / "json.md").read_text().partition("- **step**: ")[2].partition("\n\n")[0]
    return re.findall(r"`(\w+)`", line)


@pytest.fixture(scope="module")
def made(shared):
    """A run of heads on features, finished."""
    return flow.run(competitions.find(write_competition(shared)), RunOptions(engine="keras"))


def test_the_files_of_a_run_are_those_of_its_report():
    rows = dict(re.findall(r"^\| `(.+?)` \| (.+) \|$", SECTIONS["Files"], re.MULTILINE))
    assert rows == FILES


def test_a_run_of_heads_writes_what_the_document_describes(made):
    check_folder(made)


def test_every_path_of_the_folder_data_is_described(made):
    data, patterns = made.parents[2], [name.replace("COMPETITION", "*") for name in list_names("The folder data")]
    patterns += [f"{pattern}/*" for pattern in patterns]
    paths = [str(path.relative_to(data)) for path in data.glob("*/*/*")]
    assert paths and [path for path in paths if not any(fnmatch(path, pattern) for pattern in patterns)] == []


def test_an_ensemble_writes_what_the_document_describes(tmp_path):
    comp = ensembles.write_competition_of_many(tmp_path)
    for seed in (1, 2):
        ensembles.write_run(comp, seed)
    check_folder(ensembles.made(comp))


@pytest.mark.slow
def test_a_run_of_networks_writes_what_the_document_describes(mine):
    competition = competitions.find(mine)
    recipe = replace(
        competition.recipe, strategy="finetune", training=Training(epochs=1, unfreeze="conv_pw_2"), folds=2
    )
    check_folder(flow.run(replace(competition, recipe=recipe), RunOptions(engine="keras"), final=True))


def test_the_code_knows_every_field_that_is_described():
    nodes = [node for path in (REPOSITORY / "pipeline").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    known = {node.value for node in nodes if isinstance(node, ast.Constant)}
    known |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    known |= {node.arg for node in nodes if isinstance(node, ast.keyword)}
    names = {name for section in {*RECORDS.values(), "Tables"} for name in list_names(section)}
    leaves = {name.replace("[]", "").split(".")[-1] for name in names}
    assert len(leaves) > 60 and leaves - known == set()
