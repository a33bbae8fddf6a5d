"""The whole way: a run on Kaggle is the run that would have been made here."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline import paths
from pipeline.config import RunOptions, Training
from pipeline.features.extractor import Extractor
from pipeline.kernels import bundle, records
from pipeline.kernels import run as attending
from pipeline.kernels.result_archive import ARCHIVE_NAME, load_archive
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


def run_there(kernels, competition, folder, monkeypatch):
    """Makes a run on Kaggle from a home that knows nothing of it."""
    monkeypatch.setenv("STARSHIFT_HOME", str(folder / "home"))
    kernels.sessions, kernels.folder = {}, folder / "kernels"
    return attending.run_on_kaggle(competition, RunOptions(engine="keras"), KernelOptions())


def end_sessions(kernels):
    """Stops the first session in the first fold, and kills the second one once the first fold is in its parcel."""

    def has_checkpoint(session):
        return any(session.home.glob("data/runs/pets/*/folds/fold0-*.npz"))

    def has_packed_a_fold(session):
        parcel = session.working / ARCHIVE_NAME
        return parcel.exists() and any(name.endswith("/folds/fold0.json") for name in load_archive(parcel).files)

    def wait_for(number, condition):
        while len(kernels.sessions) < number or not condition(kernels.latest()):
            time.sleep(0.05)
        return kernels.latest()

    os.kill(wait_for(1, has_checkpoint).process.pid, signal.SIGTERM)
    wait_for(2, has_packed_a_fold).expire(kernels.clock.keeps)


@pytest.mark.slow
def test_training_in_three_sessions_ends_as_in_one_to_the_bit(kernels, tmp_path, monkeypatch):
    training = Training(unfreeze="conv_pw_2", epochs=3, patience=3)
    tuned = replace(PETS, recipe=replace(PETS.recipe, strategy="finetune", folds=2, training=training))
    sources = bundle.read_sources()
    watch = sources["pipeline/kernels/session.py"].replace(b"PROGRESS_SECONDS = 10.0", b"PROGRESS_SECONDS = 0.2")
    monkeypatch.setattr(bundle, "read_sources", lambda: sources | {"pipeline/kernels/session.py": watch})
    kernels.python, kernels.clock.keeps, kernels.layouts = sys.executable, True, ("new", "old", "other")
    kernels.clock.queue, kernels.clock.startup = 0.5, 0.5
    one = run_there(kernels, tuned, tmp_path / "one", monkeypatch)
    threading.Thread(target=end_sessions, args=(kernels,), daemon=True).start()
    three = run_there(kernels, tuned, tmp_path / "three", monkeypatch)
    assert [each.state for each in records.list_records("pets")] == ["interrupted", "killed", "complete"]
    for name in ("oof.npz", "test.npz"):
        (ids, _, whole), (same, _, parts) = (runs.read_predictions(folder / name) for folder in (one, three))
        assert ids == same and np.array_equal(whole, parts)
    for name in ("history.csv", "submission.csv"):
        assert (one / name).read_text() == (three / name).read_text()


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
