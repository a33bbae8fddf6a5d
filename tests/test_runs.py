"""Run folders: a mistake that ends a run at once leaves none, and what was interrupted later is gone on with."""

import subprocess
import sys

import pytest

from pipeline import paths, runs
from pipeline.errors import StarshiftError
from pipeline.results import keep_model


def test_a_run_that_a_mistake_ends_at_once_leaves_no_folder(home):
    folder = runs.create("pets", "features", {}, "0" * 64)
    with pytest.raises(StarshiftError, match="does not fit"), runs.begun(folder):
        raise StarshiftError("That does not fit.")
    assert not folder.exists()


@pytest.mark.parametrize("raised", [StarshiftError("Out of memory."), KeyboardInterrupt()])
def test_a_run_with_something_in_it_stays(home, raised):
    folder = runs.create("pets", "finetune", {}, "0" * 64)
    with pytest.raises(type(raised)), runs.begun(folder):
        (folder / "folds").mkdir()
        raise raised
    assert (folder / "config.json").exists()
    assert runs.create("pets", "finetune", {}, "0" * 64) == folder, "it is gone on with"


def test_an_interrupted_run_stays(home):
    folder = runs.create("pets", "features", {}, "0" * 64)
    with pytest.raises(KeyboardInterrupt), runs.begun(folder):
        raise KeyboardInterrupt
    assert folder.exists()


def test_a_run_belongs_to_one_process_until_that_ends(home):
    folder = runs.create("pets", "features", {}, "0" * 64)
    code = f"from pathlib import Path; from pipeline import runs; runs.begun(Path({str(folder)!r})).__enter__()"
    command = [sys.executable, "-c", code]
    with runs.begun(folder):
        refused = subprocess.run(command, cwd=paths.REPOSITORY, capture_output=True, text=True, check=False)
        assert refused.returncode == 1 and "Another process is at this very run" in refused.stderr
        assert folder.exists(), "who is refused leaves the other's folder alone"
    assert subprocess.run(command, cwd=paths.REPOSITORY, check=False).returncode == 0


def test_a_model_that_a_killed_process_left_half_written_is_none(home):
    models = runs.create("pets", "finetune", {}, "0" * 64) / "models"
    models.mkdir()
    (models / ".7.partial.fold1.keras").write_text("half")
    (models / "fold0.keras").write_text("whole")
    keep_model(models.parent)
    assert (models.parent / "model.keras").read_text() == "whole"
