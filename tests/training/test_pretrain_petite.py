"""Pretraining: the command goes the whole way, and an interrupted training goes on where it stopped."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.files import hash_file
from pipeline.training import pretrain_petite
from tests.cli.test_tasks import invoke

pytestmark = pytest.mark.filterwarnings("ignore")
FEW = replace(pretrain_petite.build_debug_config(pretrain_petite.PretrainConfig()), precision="float32")


@pytest.mark.slow
def test_the_command_writes_weights_and_their_record(home):
    done = invoke("pretrain", "--debug")
    assert done.returncode == 0, done.stderr
    record = json.loads(next(home.glob("data/pretrain/*/petite.json")).read_text())
    weights = next(home.glob("data/pretrain/*/petite_float16.weights.h5"))
    assert record["weights"]["sha256"] == hash_file(weights) and weights.stat().st_size < 2_000_000
    assert record["recipe"]["pictures"] == 2 and 0 <= record["accuracy"] <= 1


def test_the_order_and_the_crops_of_an_epoch_depend_on_its_number_alone():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 128, 128, 3), dtype=np.uint8)
    labels = np.arange(70, dtype=np.int32)
    first, again, other = (
        pretrain_petite.build_crop_sequence(pixels, labels, classes=97, crop=32, batch_size=64, seed=0, epoch=epoch)
        for epoch in (3, 3, 4)
    )
    assert len(first) == 2 and (first[1][0] == again[1][0]).all() and (first[0][0] != other[0][0]).any()
    seen = np.concatenate([first[0][1].argmax(axis=1), first[1][1].argmax(axis=1)])
    assert sorted(seen) == list(range(70)) and first[0][0].shape == (64, 32, 32, 3)


@pytest.mark.slow
def test_an_interrupted_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    def few(numbers, seed, folder):
        rows = np.random.default_rng(numbers.start).integers(0, 256, (32, 128, 128, 3), dtype=np.uint8)
        return rows, np.arange(32, dtype=np.int32)

    monkeypatch.setattr(pretrain_petite, "load_world", few)
    recipe = replace(FEW, epochs=2)
    calm = pretrain_petite.pretrain(recipe, tmp_path / "calm")
    save = pretrain_petite.checkpoint.save

    def save_and_die(path, fingerprint, progress, model):
        save(path, fingerprint, progress, model)
        raise KeyboardInterrupt

    with monkeypatch.context() as once, pytest.raises(KeyboardInterrupt):
        once.setattr(pretrain_petite.checkpoint, "save", save_and_die)
        pretrain_petite.pretrain(recipe, tmp_path / "killed")
    assert not (tmp_path / "killed" / "petite.json").exists()
    killed = pretrain_petite.pretrain(recipe, tmp_path / "killed")
    assert killed["weights"]["sha256"] == calm["weights"]["sha256"]


def test_a_recipe_that_cannot_be_is_refused():
    with pytest.raises(Exception, match="32 to 128"):
        pretrain_petite.PretrainConfig(crop=256)
