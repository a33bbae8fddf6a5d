"""The epochs: interrupted and not they end alike, whatever memory does; and their numbers are the optimizer's."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from pipeline.config import Training
from pipeline.errors import StarshiftError
from pipeline.paths import REPOSITORY
from pipeline.training import cross_validation, fold_job, fold_worker
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.data_loader import TrainSequence
from pipeline.training.fold_data import FoldData
from pipeline.training.optimizer import LayerwiseAdamW, build_schedule
from pipeline.training.strategies import train_augmented
from pipeline.training.trainer import Trainer


def killed_after(job, epochs):
    """Starts the job's process and kills it inside the epoch after so many."""
    command = [sys.executable, "-m", "pipeline.training.fold_worker", str(job.write())]
    process = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    file = FoldData(job).checkpoint(job.strategy)
    while process.poll() is None:
        stored = load_checkpoint(file, f"{job.fingerprint()} {job.strategy}")
        if stored and stored.state.epoch >= epochs:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL


def test_killed_inside_an_epoch_it_ends_as_if_nothing_had_happened(job_of):
    job = job_of("augmented", epochs=6, patience=6, ema=0.9, mixup=0.2)
    other = replace(job, folder=job.folder.with_name("killed"))
    undisturbed = fold_job.train_fold(job)
    killed_after(other, 2)
    assert fold_job.read_result(other) is None
    resumed = fold_job.train_fold(other)
    assert resumed.history == undisturbed.history and len(resumed.history) == 6
    np.testing.assert_array_equal(resumed.validation, undisturbed.validation)
    np.testing.assert_array_equal(resumed.test, undisturbed.test)
    for one, two in zip(*(keras.models.load_model(j.model).get_weights() for j in (job, other)), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not list(job.stem.parent.glob("fold0-*.npz"))


def test_the_seconds_of_a_fold_are_those_of_all_its_sessions(job_of, monkeypatch):
    job, train_epoch = job_of("augmented", epochs=3), Trainer._train_epoch

    def interrupt(trainer, state):
        if state.epoch == 2:
            raise KeyboardInterrupt
        train_epoch(trainer, state)
        state.seconds[-1] = 1000.0

    monkeypatch.setattr(Trainer, "_train_epoch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fold_worker.run_fold_job(job, "a test")
    monkeypatch.setattr(Trainer, "_train_epoch", train_epoch)
    fold_worker.run_fold_job(job, "a test")
    assert 2000 < fold_job.read_result(job).facts["seconds"] < 2100


def test_folds_that_an_earlier_session_trained_count_with_their_seconds(cv_of):
    cv = cv_of("scratch", epochs=1)
    fold_worker.run_fold_job(cv.job, "a test")
    seconds = fold_job.read_result(cv.job).facts["seconds"]
    assert cross_validation.cross_validate(cv).earlier_seconds == pytest.approx(seconds, abs=0.2)


def test_a_fold_that_is_done_is_not_trained_again(job_of, monkeypatch):
    job = job_of("scratch", epochs=1)
    fold_worker.run_fold_job(job, "a test")
    monkeypatch.setattr(subprocess, "Popen", None)
    assert fold_job.train_fold(job).facts["epochs"] == 1
    assert fold_job.read_result(replace(job, seed=1)) is None


def test_a_process_that_fails_says_why(job_of):
    job = replace(job_of("scratch", epochs=1), train=("f" * 64, *["e" * 64] * 29))
    with pytest.raises(StarshiftError, match="not whole"):
        fold_job.train_fold(job)


def test_out_of_memory_halves_the_batch_and_goes_on(job_of, monkeypatch, caplog):
    job = job_of("augmented", epochs=3)
    fit = keras.Model.fit

    class ResourceExhaustedError(Exception):
        """As TensorFlow's."""

    def small_only(self, batches, **arguments):
        if next(iter(batches))[0].shape[0] > 2:
            raise ResourceExhaustedError("OOM when allocating")
        return fit(self, batches, **arguments)

    monkeypatch.setattr(keras.Model, "fit", small_only)
    progress = train_augmented(FoldData(job)).stages[0]
    assert progress.parts == 4 and progress.epoch == 3 and "batches of 2" in caplog.text


def test_out_of_memory_inside_a_step_goes_on_from_the_last_checkpoint(job_of, monkeypatch):
    job = job_of("augmented", epochs=2)
    make, failed = keras.Model.make_train_function, []

    def fail(*arguments):
        failed.append(1)
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    def failing_once(self, force=False):
        make(self, force)
        if not failed:
            self.train_function = fail

    monkeypatch.setattr(keras.Model, "make_train_function", failing_once)
    progress = train_augmented(FoldData(job)).stages[0]
    assert progress.parts == 2 and progress.epoch == 2


def losing_itself_after(epochs, monkeypatch):
    """From so many epochs on every weight is no number after an epoch."""
    fit, done = keras.Model.fit, []

    def spoilt(self, batches, **arguments):
        history = fit(self, batches, **arguments)
        done.append(1)
        if len(done) > epochs:
            for weight in self.trainable_variables:
                weight.assign(np.full(weight.shape, np.nan, np.float32))
        return history

    monkeypatch.setattr(keras.Model, "fit", spoilt)


def test_training_that_diverges_keeps_the_best_epoch_before(job_of, monkeypatch, caplog):
    losing_itself_after(2, monkeypatch)
    fitted = train_augmented(FoldData(job_of("augmented", epochs=6)))
    (progress,) = fitted.stages
    assert progress.epoch == 3 and progress.best_epoch in (0, 1) and "diverged in epoch 3" in caplog.text
    assert all(np.isfinite(weight).all() for weight in fitted.live.get_weights())


def test_training_that_diverges_at_once_says_what_to_do(job_of, monkeypatch):
    losing_itself_after(0, monkeypatch)
    with pytest.raises(StarshiftError, match=r"diverged in its first epoch(.|\n)*a rate of 1\.0e-03(.|\n)*find-lr"):
        train_augmented(FoldData(job_of("augmented", epochs=6)))


def test_gradients_added_up_over_parts_make_the_same_step():
    inputs, labels = np.random.default_rng(0).normal(size=(8, 3)), np.eye(2)[np.arange(8) % 2]

    def stepped(parts):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
        model.compile(LayerwiseAdamW(1e-2, parts=parts, momentum=0.9), "categorical_crossentropy")
        model.fit(inputs, labels, batch_size=8 // parts, shuffle=False, verbose=0)
        return [*model.get_weights(), *(average.numpy() for average in model.optimizer.averages)]

    for one, two in zip(stepped(1), stepped(4), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_factor_of_zero_holds_a_layer_and_decay_spares_vectors():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="low"), keras.layers.Dense(2, name="top")])
    before = {v.path: v.numpy() for v in model.variables}
    paths = {variable.path: 0.0 for variable in model.layers[0].variables}
    model.compile(LayerwiseAdamW(1e-1, factors=paths, weight_decay=0.5), "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
    after = {v.path: v.numpy() for v in model.variables}
    for path, value in before.items():
        assert np.array_equal(value, after[path]) == ("top/kernel" not in path)
    np.testing.assert_allclose(
        *(next(v[p] for p in v if "top/kernel" in p) * k for v, k in ((before, 0.95), (after, 1)))
    )


def test_decay_spares_a_bias_that_is_not_zero():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, bias_initializer="ones", name="top")])
    model.compile(LayerwiseAdamW(1e-1, weight_decay=0.5), "mse")
    model.fit(np.zeros((4, 3)), np.ones((4, 2)), verbose=0)
    np.testing.assert_array_equal(model.layers[0].bias.numpy(), np.ones(2))


def test_the_rate_warms_up_and_comes_down():
    rates = build_schedule(Training(learning_rate=1.0, warmup=0.1, schedule="cosine"), 100)
    values = [float(rates(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(values, [0, 0.5, 1, 0.5, 0], atol=1e-6)
    flat = build_schedule(Training(learning_rate=1.0, warmup=0.0, schedule="constant"), 100)
    assert float(flat(0)) == float(flat(70)) == 1.0


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_rare_classes_count_as_much_as_common_ones(balance):
    class Source:
        def take(self, positions, epoch):
            return positions[:, None].astype(np.float32)

    labels = np.array([0] * 90 + [1] * 10)
    training = Training(balance=balance, batch_size=10).resolved("scratch")
    batches = TrainSequence(Source(), np.arange(100), labels, 2, training, seed=0)
    share = np.zeros(2)
    for epoch in range(40):
        batches.begin(epoch)
        for index in range(len(batches)):
            _, wanted, weights = batches[index]
            share += (wanted * weights[:, None]).sum(axis=0)
    assert share[1] / share.sum() == pytest.approx(0.5, abs=0.04)


def test_a_better_loss_breaks_a_tie_of_the_metric(job_of):
    job = job_of("scratch", epochs=3)
    data = FoldData(job)
    data.score = lambda labels, probabilities: 0.5
    source = data.pictures("plain")
    model = keras.Sequential(
        [keras.Input((32, 32, 3), dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
         keras.layers.Dense(2, activation="softmax")]
    )  # fmt: skip
    trainer: Trainer = data.trainer(model, source, source, stage="tie")
    progress = trainer.run()
    losses = [record["val_loss"] for record in progress.history]
    assert progress.best_epoch == int(np.argmin(losses))
