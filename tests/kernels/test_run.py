"""The whole way: a run on Kaggle is the run that would have been made here."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline import paths
from pipeline.config import RunOptions, Training
from pipeline.features.extractor import Extractor
from pipeline.kernels import planning, records
from pipeline.kernels import run as attending
from pipeline.kernels.run import KernelOptions
from pipeline.models.base import parse_base
from pipeline.runs import folder as runs
from pipeline.workflow import run
from tests.kaggle.serving_kernels import lacking, without_network
from tests.kernels.conftest import PETS

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_run_on_kaggle_is_the_run_made_here(kernels, bundle_by_hand, home, tmp_path, monkeypatch, capsys):
    here = run.run(PETS, RunOptions(engine="keras", bundle=bundle_by_hand))
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "other"))
    kernels.python = sys.executable
    there = attending.run_on_kaggle(PETS, RunOptions(engine="keras"), KernelOptions())
    said = capsys.readouterr().out
    assert "features" in said, said
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (here, there))
    assert abs(ours["score"] - theirs["score"]) < 1e-3 and np.allclose(ours["folds"], theirs["folds"], atol=1e-3)
    assert (here / "config.json").read_text() == (there / "config.json").read_text()
    for name in ("oof.npz", "test.npz"):
        (ids, _, one), (same, _, other) = (runs.read_predictions(folder / name) for folder in (here, there))
        assert ids == same and np.allclose(one, other, atol=1e-4)
    assert {p.name for p in here.iterdir()} | {"kernel.json", "session.log"} == {p.name for p in there.iterdir()}
    assert pd.read_csv(paths.submissions_folder("pets") / "latest.csv").shape == (6, 2)
    assert [one.state for one in records.list_records("pets")] == ["complete"]
    again = run.prepare_dataset(PETS, [parse_base(PETS.recipe.bases[0], 32)], RunOptions(bundle=bundle_by_hand))
    extractor = Extractor(parse_base(PETS.recipe.bases[0], 32), again.files, wanted="keras")
    extractor.features(sorted(again.files), "flip")
    assert extractor.computed == 0, "the features that were computed there are not computed again"


@pytest.mark.slow
def test_training_that_takes_two_sessions_ends_as_one_that_does_not(kernels, bundle_by_hand, tmp_path, monkeypatch):
    training = Training(unfreeze="conv_pw_2", epochs=6, patience=6)
    tuned = replace(PETS, recipe=replace(PETS.recipe, strategy="finetune", folds=2, training=training))
    started = time.monotonic()
    here = run.run(tuned, RunOptions(engine="keras", bundle=bundle_by_hand))
    half = (time.monotonic() - started) / 2
    monkeypatch.setenv("STARSHIFT_HOME", str(tmp_path / "other"))
    kernels.python = sys.executable
    hours = iter([half / 3600 + planning.MARGIN_HOURS, 1.0])
    monkeypatch.setattr(planning, "compute_session_hours", lambda *_: next(hours))
    there = attending.run_on_kaggle(tuned, RunOptions(engine="keras"), KernelOptions())
    assert [one.state for one in records.list_records("pets")] == ["interrupted", "complete"]
    first_words = kernels.latest().events[0]["data"]
    assert "session 2" in first_words and ": 0 files" not in first_words
    for name in ("oof.npz", "test.npz"):
        (ids, _, one), (same, _, other) = (runs.read_predictions(folder / name) for folder in (here, there))
        assert ids == same and np.allclose(one, other, atol=1e-4)
    assert (here / "history.csv").read_text() == (there / "history.csv").read_text()


NOTEBOOK = """
import competitions
from pipeline.config import RunOptions
from pipeline.workflow.run import run
run(competitions.find("{file}"), RunOptions())
"""
MINE = """
from pipeline.config import Competition, Labels, Recipe, Submission
COMPETITION = Competition(
    name="pets", slug="pets-slug", labels=Labels(positive="red"), submission=Submission(layout="probability"),
    metric="binary_log_loss", recipe=Recipe(bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=3),
)
"""


@pytest.mark.slow
def test_in_a_notebook_the_repository_is_used_directly_without_credentials(pets, tmp_path):
    root = tmp_path / "kaggle"
    for name in ("input/competitions", "working"):
        (root / name).mkdir(parents=True)
    (root / "input" / "competitions" / "pets-slug").symlink_to(pets)
    (tmp_path / "mine.py").write_text(MINE)
    code = NOTEBOOK.format(file=tmp_path / "mine.py")
    told = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "STARSHIFT_KAGGLE_ROOT": str(root), "HOME": str(tmp_path)}
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{lacking(tmp_path)}{os.pathsep}{paths.REPOSITORY}",
        **told,
    }
    command = [*without_network(), sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(root / "working" / "submissions" / "pets" / "latest.csv").shape == (6, 2)
