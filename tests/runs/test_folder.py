"""Run folders: a mistake that ends a run at once leaves none, and what was interrupted later is gone on with."""

import errno
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions
from pipeline.data import folds as splits
from pipeline.errors import StarshiftError
from pipeline.files import write_json, write_text
from pipeline.kernels import result_archive
from pipeline.runs import folder as runs
from pipeline.training.fold_average import save_fold_average
from pipeline.workflow.finish import (
    compute_weights_digests,
    find_finished_run,
    measure_peak_memory,
    open_run_folder,
)


def test_a_run_that_a_mistake_ends_at_once_leaves_no_folder(home):
    folder = runs.create_run_folder("pets", "features", {}, "0" * 64)
    with pytest.raises(StarshiftError, match="does not fit"), runs.lock_run(folder):
        raise StarshiftError("That does not fit.")
    assert not folder.exists()


@pytest.mark.parametrize("raised", [StarshiftError("Out of memory."), KeyboardInterrupt()])
def test_a_run_with_something_in_it_stays(home, raised):
    folder = runs.create_run_folder("pets", "finetune", {}, "0" * 64)
    with pytest.raises(type(raised)), runs.lock_run(folder):
        (folder / "folds").mkdir()
        raise raised
    assert (folder / "config.json").exists()
    assert runs.create_run_folder("pets", "finetune", {}, "0" * 64) == folder, "it is gone on with"


def test_an_interrupted_run_stays(home):
    folder = runs.create_run_folder("pets", "features", {}, "0" * 64)
    with pytest.raises(KeyboardInterrupt), runs.lock_run(folder):
        raise KeyboardInterrupt
    assert folder.exists()


def test_a_run_belongs_to_one_process_until_that_ends(home):
    folder = runs.create_run_folder("pets", "features", {}, "0" * 64)
    begin = f"runs.lock_run(Path({str(folder)!r})).__enter__()"
    code = f"from pathlib import Path; from pipeline.runs import folder as runs; {begin}"
    command = [sys.executable, "-c", code]
    with runs.lock_run(folder):
        refused = subprocess.run(command, cwd=paths.REPOSITORY, capture_output=True, text=True, check=False)
        assert refused.returncode == 1 and "Another process is at this very run" in refused.stderr
        assert folder.exists(), "who is refused leaves the other's folder alone"
    assert subprocess.run(command, cwd=paths.REPOSITORY, check=False).returncode == 0


def test_a_lock_ends_with_a_process_that_is_killed(home):
    folder = runs.create_run_folder("pets", "features", {}, "0" * 64)
    begin = f"held = runs.lock_run(Path({str(folder)!r})); held.__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    code = f"import os, signal; from pathlib import Path; from pipeline.runs import folder as runs; {begin}"
    killed = subprocess.run([sys.executable, "-c", code], cwd=paths.REPOSITORY, check=False)
    assert killed.returncode == -9 and len(list(paths.locks_folder().iterdir())) == 1
    with runs.lock_run(folder):
        pass
    assert not list(paths.locks_folder().iterdir())


def test_a_lock_lies_neither_in_the_run_nor_beside_it_nor_in_a_parcel(home):
    folder = runs.create_run_folder("pets", "features", {}, "0" * 64)
    with runs.lock_run(folder):
        there = [path for path in (home / "data" / "runs").rglob("*") if path.is_file()]
        assert there == result_archive.list_result_files(home, "pets") == [folder / "config.json"]


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_no_hindrance(home, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = runs.create_run_folder("pets", "features", {}, "0" * 64)
    with runs.lock_run(folder) as begun:
        assert begun == folder


def test_a_model_that_a_killed_process_left_half_written_is_none(home):
    models = runs.create_run_folder("pets", "finetune", {}, "0" * 64) / "models"
    models.mkdir()
    (models / ".7.partial.fold1.keras").write_text("half")
    (models / "fold0.keras").write_text("whole")
    save_fold_average(models.parent, (0,))
    assert (models.parent / "model.keras").read_text() == "whole"


def test_a_run_counts_as_finished_on_the_folds_and_from_the_weights_of_today_only(home, tmp_path):
    weights = tmp_path / "own.weights.h5"
    weights.write_bytes(b"one")
    recipe = Recipe(bases=(f"mobilenet_025={weights}",), folds=2)
    pets, options = Competition(name="pets", data=".", metric="accuracy", recipe=recipe), RunOptions()
    folder, place = open_run_folder(pets, options, (0, 1)), paths.competition_folder("pets")
    write_json(folder / "metrics.json", {})
    write_json(folder / "environment.json", {"weights": compute_weights_digests(pets)})
    (folder / "folds.csv").write_text("id,label,fold,group\nNA,cat,0,1\nb,dog,1,2\n")
    assert find_finished_run(pets, options) is None, "there are no folds"
    folds = place / splits.build_folds_name(recipe)
    write_text(folds, "id,fold\nb,1\nNA,0\n")
    assert find_finished_run(pets, options) == folder
    assert (
        find_finished_run(pets, replace(options, force=True)) is None
        and find_finished_run(pets, replace(options, resplit=True)) is None
    )
    write_text(folds, "id,fold\nb,0\nNA,1\n")
    assert find_finished_run(pets, options) is None
    write_text(folds, "id,fold\nb,1\nNA,0\n")
    weights.write_bytes(b"another")
    assert find_finished_run(pets, options) is None


def test_where_the_system_does_not_measure_memory_none_is_told(monkeypatch):
    assert measure_peak_memory() > 1
    monkeypatch.setitem(sys.modules, "resource", None)
    assert measure_peak_memory() is None


def test_a_run_without_metrics_is_not_among_the_finished_ones(home):
    for name, finished in (("20260101-000000-features-0", True), ("20260102-000000-features-1", False)):
        folder = home / "data" / "runs" / "pets" / name
        write_json(folder / "config.json", {"competition": {"name": "pets"}})
        if finished:
            write_json(folder / "metrics.json", {"score": 0.1})
    assert [(folder.name, metrics) for folder, metrics in runs.list_finished_runs("pets")] == [
        ("20260101-000000-features-0", {"score": 0.1})
    ]
