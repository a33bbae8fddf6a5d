"""The lesson of sprouts: what it prints is what the runs came to, and the answers are only read at its end."""

import csv
import logging
from dataclasses import replace

import numpy as np
import pytest

import competitions
from pipeline import paths
from pipeline.config import RunOptions
from pipeline.experiments import sprouts_demo
from pipeline.files import write_json
from pipeline.runs import folder as runs
from pipeline.synthetic import sprouts
from tests.conftest import drawn, encoded

SPROUTS = competitions.find("sprouts")
CLASSES = sorted(sprouts.SPECIES)


@pytest.fixture
def truth(home):
    """Twenty-four answers, and pictures to them."""
    folder = paths.competition_folder("sprouts")
    (folder / "raw" / "test").mkdir(parents=True)
    rows = [(f"s{number:04}", CLASSES[number % 12]) for number in range(24)]
    with (folder / "answers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "species"), *rows])
    for name, _ in rows:
        (folder / "raw" / "test" / f"{name}.jpg").write_bytes(encoded(drawn(int(name[1:]))))
    return dict(rows)


def run_with(truth, folder, right):
    """A finished run with so many test pictures right, its ids in another order."""
    names = list(truth)[::-1]
    probabilities = np.zeros((len(names), 12), np.float32)
    for row, name in enumerate(names):
        number = CLASSES.index(truth[name])
        probabilities[row, number if row < right else (number + 1) % 12] = 1
    runs.write_predictions(folder / "test.npz", names, CLASSES, probabilities)
    write_json(folder / "metrics.json", {"accuracy": 0.5, "folds": [0.4, 0.6], "seconds": 7.0})
    return folder


def test_the_true_score_is_counted_by_id_and_stands_beside_the_three_starting_points(
    truth, tmp_path, monkeypatch, caplog
):
    asked = []

    def finished(competition, options):
        asked.append((competition.recipe.strategy, competition.recipe.bases, options.folds, options.skip_submission))
        return run_with(truth, tmp_path / str(len(asked)), 6 * len(asked))

    monkeypatch.setattr(sprouts_demo, "find_finished_run", finished)
    with caplog.at_level(logging.INFO, logger="pipeline"):
        sprouts_demo.run_demo(SPROUTS, run_with(truth, tmp_path / "run", 21), RunOptions())
    assert "cross-validated 50.0 %" in caplog.text and "87.5%" in caplog.text
    for share in ("25.0%", "50.0%", "75.0%"):
        assert share in caplog.text
    assert [row[0] for row in asked] == ["augmented", "features", "features"]
    assert asked[1][1] == ("petite=none",) and all(row[2:] == ((0,), True) for row in asked)
    assert (paths.reports_folder("sprouts") / "predictions.png").read_bytes()[:4] == b"\x89PNG"


def test_the_three_starting_points_share_split_views_and_seed():
    recipes = list(sprouts_demo.list_starting_points(replace(SPROUTS.recipe, seed=3)).values())
    assert {(one.folds, one.split_seed, one.views, one.seed) for one in recipes} == {(5, 0, SPROUTS.recipe.views, 3)}


def test_only_the_lesson_reads_the_answers():
    readers = [
        path.name
        for path in (paths.REPOSITORY / "pipeline").rglob("*.py")
        if "answers.csv" in path.read_text(encoding="utf-8")
    ]
    assert sorted(readers) == ["download.py", "ladder.py", "sprouts_demo.py"]
