"""New pictures predicted by a finished run: the answers are those of its submission."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from invoke import Context

import competitions
from pipeline import paths
from pipeline.cli.inspect import compare
from pipeline.cli.learnware import predict
from pipeline.cli.runs import list_
from pipeline.config import RunOptions, Training
from pipeline.errors import StarshiftError
from pipeline.runs import folder as runs
from pipeline.runs import load, predictor
from pipeline.training.export import HEADS_FILE
from pipeline.workflow import run as flow
from tests.conftest import encoded, write_competition

TESTS = [f"{number}.jpg" for number in range(6)]


@pytest.fixture(scope="module")
def made(shared):
    """The folder of a finished run on features, in two views."""
    return flow.run(competitions.load(Path(write_competition(shared))), RunOptions(engine="keras"))


@pytest.fixture
def finished(made, take_over):
    return take_over(made)


def read_submitted(folder):
    """The test predictions that the submission holds, (6, 2), in the order of TESTS."""
    ids, _, probabilities = runs.read_predictions(folder / "test.npz")
    return probabilities[[ids.index(name) for name in TESTS]]


def predict_tests(folder, tmp_path):
    files = predictor.find_pictures(str(tmp_path / "pictures" / "test"))
    return predictor.predict_pictures(predictor.load_predictor(folder), files)


@pytest.mark.parametrize("kept", ["its heads", "its model alone, as runs of before have it"])
def test_a_run_on_features_answers_as_its_submission_does(kept, finished, shared, tmp_path):
    if kept != "its heads":
        (finished / HEADS_FILE).unlink()
    answer = predict_tests(finished, shared)
    assert answer.names == tuple(TESTS) and np.abs(answer.probabilities - read_submitted(finished)).max() < 1e-5
    assert list(answer.unreadable) == ["9.jpg"]


def test_networks_of_all_folds_answer_as_their_submission_does(mine, tmp_path):
    competition = competitions.load(Path(mine))
    recipe = replace(competition.recipe, strategy="scratch", folds=2, training=Training(epochs=1))
    folder = flow.run(replace(competition, recipe=recipe), RunOptions())
    answer = predict_tests(folder, tmp_path)
    assert np.abs(answer.probabilities - read_submitted(folder)).max() < 1e-5


def test_a_photo_s_likeliest_classes_are_printed_with_bars(finished, shared, tmp_path, capsys):
    predict(Context(), run=finished.name, images=str(shared / "pictures" / "test" / "1.jpg"))
    name, first, second, *_, nearest = capsys.readouterr().out.splitlines()
    assert name == "1.jpg" and first.startswith("  blue") and "█" in first and second.startswith("  red")
    assert nearest.startswith("  nearest training pictures: blue blue/")
    assert not (tmp_path / "predictions.csv").exists()


def test_many_pictures_are_written_a_row_each(finished, shared, tmp_path):
    predict(Context(), run="latest", images=str(shared / "pictures" / "test"), out=str(tmp_path / "out.csv"))
    header, first, *_, last = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "picture,class_1,probability_1,class_2,probability_2,unlike_training"
    assert first.startswith("0.jpg,red,0.") and last == "9.jpg,,,,,"


def test_answers_are_printed_as_json(finished, shared, tmp_path, capsys):
    predict(Context(), run=finished.name, images=str(shared / "pictures" / "test" / "*.jpg"), json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["run"] == finished.name and len(answer["pictures"]) == 7
    assert answer["pictures"][0]["classes"][0]["class"] == "red" and "error" in answer["pictures"][-1]


@pytest.mark.parametrize(
    ("images", "out", "words"),
    [
        ("nowhere.jpg", None, "no such file or folder"),
        ("empty", None, "a folder without pictures"),
        ("photo.jpg", "nodir/x.csv", "There is no folder nodir"),
        ("photo.jpg", "taken.csv", "taken.csv is there already"),
        ("photo.jpg", "empty", "empty is a folder"),
    ],
)
def test_a_wrong_path_is_named_before_a_run_is_even_looked_for(images, out, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("photo.jpg").write_bytes(b"a photo")
    Path("taken.csv").write_text("mine")
    with pytest.raises(SystemExit):
        predict(Context(), run="no such run", images=images, out=out)
    assert words in capsys.readouterr().err and Path("taken.csv").read_text() == "mine"


@pytest.mark.parametrize(
    "command", [lambda page: list_(Context(), page=page), lambda page: compare(Context(), page=page)]
)
def test_a_page_in_a_folder_that_is_missing_makes_no_folder(command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command(str(tmp_path / "nodir" / "page.html"))
    assert "There is no folder" in capsys.readouterr().err and not (tmp_path / "nodir").exists()


def test_the_best_run_is_the_one_that_scores_best_and_latest_the_one_that_started_last(finished, shared):
    competition = competitions.load(shared / "mine.py")
    later = flow.run(replace(competition, recipe=replace(competition.recipe, l2=1e3)), RunOptions(engine="keras"))
    for folder, score in ((finished, 0.9), (later, 0.5)):
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps({**metrics, "score": score}))
        runs.write_digests(folder)
    assert load.find_run_folder("best", "mine") == finished and load.find_run_folder("latest", None) == later


def test_no_run_is_the_best_where_none_is_finished():
    with pytest.raises(StarshiftError, match="No run is finished"):
        load.find_run_folder("best", None)


def test_a_run_without_a_model_says_so(finished):
    for name in (HEADS_FILE, "model.keras"):
        (finished / name).unlink()
    with pytest.raises(StarshiftError, match="has no model"):
        predictor.load_predictor(finished)


def test_a_picture_unlike_the_training_pictures_is_not_sure(finished, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    (tmp_path / "noise.png").write_bytes(encoded(noise, "PNG"))
    predict(Context(), run=finished.name, images=str(tmp_path / "noise.png"))
    assert "  not sure: unlike the training pictures (so are 5% of pictures like those)" in capsys.readouterr().out


def test_without_the_training_pictures_nothing_is_said_of_likeness(finished, shared, tmp_path, capsys):
    shutil.rmtree(paths.cache_folder("features"))
    predict(Context(), run=finished.name, images=str(shared / "pictures" / "test" / "1.jpg"))
    assert "the training pictures are not on this machine" in capsys.readouterr().out


def test_a_run_that_cannot_be_asked_is_neither_the_latest_nor_the_best(finished, shared):
    competition = competitions.load(shared / "mine.py")
    later = flow.run(replace(competition, recipe=replace(competition.recipe, l2=1e3)), RunOptions(engine="keras"))
    for name in (HEADS_FILE, "model.keras"):
        (later / name).unlink()
    assert load.find_run_folder("latest", "mine") == later
    assert load.find_run_folder("latest", "mine", predictor.has_model) == finished
