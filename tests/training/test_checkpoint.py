"""Damaged files of a training: noticed, said, and computed again; never an error that comes back at every try."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_json
from pipeline.training import checkpoint, fold_job, fold_worker
from pipeline.training.checkpoint import TrainingState
from pipeline.training.soft_targets import TARGETS_FILE, SoftTargets
from pipeline.training.soft_targets import read_soft_targets as read_targets


def flip_bit(path, place):
    """Flips one bit of a file, at a share of its length."""
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * place), len(data) - 1)] ^= 1 << int(place * 1000) % 8
    path.write_bytes(bytes(data))


def small_model():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="softmax")])
    model.compile("adam", "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def stored(tmp_path):
    """A checkpoint's path and its model."""
    model = small_model()
    progress = TrainingState(
        epoch=3, best_epoch=1, best=checkpoint.copy_values(model.variables), history=[{"epoch": 0}]
    )
    checkpoint.save_checkpoint(tmp_path / "fold0-scratch.npz", "mine", progress, model)
    return tmp_path / "fold0-scratch.npz", model


def same(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_whole_checkpoint_puts_a_model_back_where_it_was(stored):
    path, model = stored
    other = small_model()
    assert not same(checkpoint.copy_values(other.variables), checkpoint.copy_values(model.variables))
    progress = checkpoint.load_checkpoint(path, "mine").restore(other)
    assert progress.epoch == 3 and same(progress.best, checkpoint.copy_values(model.variables))
    assert same(checkpoint.copy_values(other.variables), checkpoint.copy_values(model.variables))


def test_a_checkpoint_with_a_flipped_bit_anywhere_is_read_right_or_not_at_all(stored, caplog):
    path, model = stored
    whole, right = path.read_bytes(), checkpoint.copy_values(model.variables)
    absent = 0
    for place in np.linspace(0, 1, 250):
        flip_bit(path, place)
        found = checkpoint.load_checkpoint(path, "mine")
        absent += found is None
        assert found is None or (same(found.variables, right) and same(found.state.best, right))
        path.write_bytes(whole)
    assert absent > 100 and "starts anew" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_absent(stored, share):
    path, _ = stored
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert checkpoint.load_checkpoint(path, "mine") is None


def test_a_checkpoint_of_another_training_is_left_alone(stored, caplog):
    assert checkpoint.load_checkpoint(stored[0], "another") is None and "damaged" not in caplog.text


PRISTINE = {}


@pytest.fixture
def done(job_of, tmp_path_factory):
    """A job that is done: trained once, and copied for each test that spoils it."""
    job = job_of("scratch", epochs=1)
    if not PRISTINE:
        keras.utils.set_random_seed(0)
        fold_worker.run_fold_job(job, "a test")
        PRISTINE["folder"] = shutil.copytree(job.folder, tmp_path_factory.mktemp("pristine") / "run")
    return replace(job, folder=shutil.copytree(PRISTINE["folder"], job.folder, dirs_exist_ok=True))


def test_a_fold_whose_predictions_have_a_flipped_bit_is_not_done(done, caplog):
    path = done.stem.with_suffix(".npz")
    whole = path.read_bytes()
    for place in np.linspace(0, 1, 60):
        flip_bit(path, place)
        assert fold_job.read_result(done) is None
        path.write_bytes(whole)
    assert fold_job.read_result(done) is not None and "the result of fold 0 is damaged" in caplog.text


@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_a_fold_whose_model_has_a_flipped_bit_is_not_done(done, place):
    flip_bit(done.model, place)
    assert fold_job.read_result(done) is None


def test_a_fold_whose_record_was_changed_is_not_done(done):
    path = done.stem.with_suffix(".json")
    content = read_json(path)
    content["facts"]["epochs"] = 7
    write_json(path, content)
    assert fold_job.read_result(done) is None


@pytest.mark.parametrize("content", [[], 3, {}, {"fingerprint": 1}])
def test_a_fold_whose_record_is_something_else_is_not_done(done, content):
    write_json(done.stem.with_suffix(".json"), content)
    assert fold_job.read_result(done) is None


def test_a_fold_that_was_done_before_there_were_digests_is_still_done(done):
    path = done.stem.with_suffix(".json")
    write_json(path, {name: value for name, value in read_json(path).items() if name != "sha256"})
    assert fold_job.read_result(done) is not None


def test_predictions_for_other_pictures_are_not_the_folds(done):
    path = done.stem.with_suffix(".json")
    write_json(path, {name: value for name, value in read_json(path).items() if name != "sha256"})
    with np.load(done.stem.with_suffix(".npz")) as arrays:
        held, test = arrays["validation"], arrays["test"]
    np.savez(done.stem.with_suffix(".npz"), validation=held[:, 1:], test=test)
    assert fold_job.read_result(done) is None


def test_a_damaged_fold_comes_to_the_same_again(done):
    before = fold_job.read_result(done)
    flip_bit(done.stem.with_suffix(".npz"), 0.5)
    assert fold_job.read_result(done) is None
    keras.utils.set_random_seed(0)
    fold_worker.run_fold_job(done, "a test")
    after = fold_job.read_result(done)
    assert np.array_equal(before.validation, after.validation) and before.history == after.history


def test_damaged_soft_targets_are_named(tmp_path):
    lesson = SoftTargets(
        answers={"plain": np.ones((1, 4, 2), np.float32)}, views=("plain",), temperature=1.0, weight=0.5
    )
    taught = lesson.write(tmp_path)
    (tmp_path / TARGETS_FILE).write_bytes((tmp_path / TARGETS_FILE).read_bytes()[:-30])
    with pytest.raises(StarshiftError, match="soft targets"):
        read_targets(tmp_path, taught)
