"""The networks of a run's folds become one model."""

import keras
import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.models.small_cnn import build_small_cnn
from pipeline.training.fold_average import save_fold_average
from pipeline.training.fold_job import find_fold_model

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A run's folder with the networks of two folds."""
    for fold in range(2):
        keras.utils.set_random_seed(fold)
        find_fold_model(tmp_path, fold).parent.mkdir(exist_ok=True)
        build_small_cnn(32, 3, 0.0).save(find_fold_model(tmp_path, fold))
    return tmp_path


def predict(path):
    return keras.models.load_model(path, compile=False).predict(PIXELS, verbose=0)


def test_the_model_of_a_run_predicts_the_mean_of_its_folds(folder):
    save_fold_average(folder, (0, 1))
    first, second = (predict(find_fold_model(folder, fold)) for fold in range(2))
    np.testing.assert_allclose(predict(folder / "model.keras"), (first + second) / 2, atol=1e-6)
    assert np.abs(first - second).max() > 1e-3, "the folds differ, so that the mean is neither"


def test_the_model_of_a_run_of_one_fold_is_that_fold_s(folder):
    save_fold_average(folder, (1,))
    assert (folder / "model.keras").read_bytes() == find_fold_model(folder, 1).read_bytes()


def test_a_damaged_model_of_a_fold_is_no_part_of_an_average(folder):
    find_fold_model(folder, 1).write_bytes(b"half")
    with pytest.raises(StarshiftError, match="The folds could not be averaged"):
        save_fold_average(folder, (0, 1))
    assert not (folder / "model.keras").exists()
