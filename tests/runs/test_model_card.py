"""The card beside a saved model is enough to use it, in plain Keras."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import competitions
from pipeline.config import RunOptions
from pipeline.data import images
from pipeline.runs import predictor
from pipeline.workflow import run as flow
from tests.conftest import write_competition


@pytest.fixture(scope="module")
def made(shared):
    """The folder of a finished run on two bases of different sizes."""
    competition = competitions.load(Path(write_competition(shared)))
    bases = ("petite:64", "petite:96@stage2_block1_out")
    recipe = replace(competition.recipe, bases=bases, size=None, views=("plain",))
    return flow.run(replace(competition, recipe=recipe), RunOptions(engine="keras"))


@pytest.fixture
def folder(made, take_over):
    return take_over(made)


def test_a_model_takes_pictures_of_one_size_and_predicts_what_the_run_predicts(folder, shared):
    files = predictor.find_pictures(str(shared / "pictures" / "test" / "[0-5].jpg"))
    answer = predictor.predict_pictures(predictor.load_predictor(folder), files)
    pixels = np.stack([images.decode(path.read_bytes(), 96) for path in files.values()])
    predicted = keras.models.load_model(folder / "model.keras").predict(pixels, verbose=0)
    assert 0 < np.abs(predicted - answer.probabilities).max() < 0.02
    assert 0 < json.loads((folder / "metrics.json").read_text())["resize_difference"] < 0.02


def test_the_card_s_example_names_the_class_of_a_photo(folder, shared):
    card = json.loads((folder / "model.json").read_text())
    assert card["input"]["shape"] == [None, 96, 96, 3] and card["classes"] == ["blue", "red"]
    (folder / "photo.jpg").write_bytes((shared / "pictures" / "test" / "1.jpg").read_bytes())
    command = [sys.executable, "-c", "\n".join(card["example"])]
    assert subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE).stdout.split()[-1] == b"blue"


def test_the_card_says_what_may_be_expected(folder):
    card, metrics = (json.loads((folder / name).read_text()) for name in ("model.json", "metrics.json"))
    assert card["score"]["plain"] == metrics["views"]["plain"] and card["score"]["averaged"] == metrics["score"]
    assert card["differences"] == {name: metrics[name] for name in ("parity_difference", "resize_difference")}
    assert card["bytes"] == (folder / "model.keras").stat().st_size and "keras" in card["versions"]
