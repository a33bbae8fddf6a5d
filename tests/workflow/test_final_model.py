"""The final model of a run is one network on all pictures, trained as long as was best on the folds."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

import competitions
from pipeline.config import RunOptions
from pipeline.errors import StarshiftError
from pipeline.training.fold_data import FoldData
from pipeline.training.fold_job import read_fold_job
from pipeline.workflow.final_model import select_epochs
from pipeline.workflow.run import run


@pytest.fixture(scope="module")
def made(competition):
    return run(competition, RunOptions(), final=True)


def test_the_final_model_is_trained_on_all_pictures_and_is_one_network(made, take_over):
    folder = take_over(made)
    job = read_fold_job(folder / "folds" / "final.job.json")
    assert np.array_equal(FoldData(job).train, np.arange(len(job.train)))
    final, average = (keras.models.load_model(folder / name) for name in ("final.keras", "model.keras"))
    assert final.count_params() * 2 == average.count_params()
    card = json.loads((folder / "final.json").read_text())
    assert card["trained_on"].startswith("all training pictures") and "final.json" in card["example"][1]


def test_a_finished_run_gets_a_final_model_without_being_made_again(competition, made, take_over):
    folder = take_over(made)
    os.utime(folder / "metrics.json", (1, 1))
    (folder / "final.keras").unlink()
    assert run(competition, RunOptions(), final=True) == folder and (folder / "final.keras").is_file()
    assert (folder / "metrics.json").stat().st_mtime == 1


def test_heads_on_features_have_no_final_model(mine):
    with pytest.raises(StarshiftError, match="strategy that trains a network"):
        run(competitions.load(Path(mine)), RunOptions(), final=True)


def test_the_epochs_are_the_median_of_the_best_of_the_folds():
    rows = [("0", 3), ("1", 5), ("2", 4)]
    history = [{"stage": "head", "fold": "0", "epoch": "0", "chosen": "True"}]
    for fold, best in rows:
        history += [{"stage": "finetune", "fold": fold, "epoch": str(e), "chosen": str(e == best)} for e in range(7)]
    history += [{"stage": "polish", "fold": fold, "epoch": "0", "chosen": "False"} for fold, _ in rows]
    assert select_epochs(history) == {"finetune": 5, "polish": 0}
