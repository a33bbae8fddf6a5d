"""Averages the networks of a run's folds in one Keras model: python -m pipeline.training.fold_average FOLDER FOLD...

In a process of its own, which imports Keras.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.subprocesses import run_main, run_module
from pipeline.training.export import MODEL_FILE, build_average, build_input, check_predictions, save_model
from pipeline.training.fold_job import find_fold_model


def save_fold_average(folder: Path, folds: Sequence[int]) -> None:
    """Saves model.keras of a run whose folds have networks of their own; that of a single fold is linked.

    Args:
        folder: of the run.
        folds: that were trained.

    Raises:
        StarshiftError: the models cannot be read, or their average does not predict their mean.
    """
    if len(folds) > 1:
        names = (str(fold) for fold in folds)
        run_module("pipeline.training.fold_average", str(folder), *names, failed="The folds could not be averaged.")
        return
    path = folder / MODEL_FILE
    path.unlink(missing_ok=True)
    try:
        os.link(find_fold_model(folder, folds[0]), path)
    except OSError:
        shutil.copy(find_fold_model(folder, folds[0]), path)


def build_fold_average(models: Sequence[Any]) -> Any:
    """Builds a keras.Model from uint8 pictures to the mean probabilities of the folds' live models.

    Args:
        models: of one input each; they get new names.
    """
    import keras

    for number, model in enumerate(models):
        model.name = f"fold{number}"
    pixels = build_input(models[0].input_shape[1])
    return keras.Model(pixels, build_average([model(pixels) for model in models]), name="starshift")


def main() -> None:
    """Builds the average, checks it on noise, and saves it."""
    import keras

    folder, folds = Path(sys.argv[1]), map(int, sys.argv[2:])
    models = [keras.models.load_model(find_fold_model(folder, fold), compile=False) for fold in folds]
    average = build_fold_average(models)
    noise = np.random.default_rng(0).integers(0, 256, (2, *average.input_shape[1:])).astype(np.uint8)
    mean = np.mean([np.asarray(model(noise, training=False)) for model in models], axis=0)
    check_predictions(np.asarray(average(noise, training=False)), mean, "float32", "the mean of the folds")
    save_model(average, folder / MODEL_FILE)


if __name__ == "__main__":
    sys.exit(run_main(main))
