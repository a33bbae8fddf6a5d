"""Compares three starting points on the sprouts demo, and scores the run on test answers that are kept apart."""

import csv
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

import competitions
from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions, Training
from pipeline.evaluation.intervals import Interval, wilson_interval
from pipeline.figures.text_table import format_text_table
from pipeline.files import write_atomic
from pipeline.output import print_lines
from pipeline.runs import folder as runs
from pipeline.workflow import run
from pipeline.workflow.finish import find_finished_run

log = logging.getLogger(__name__)
SCRATCH_TRAINING = Training(epochs=40, patience=40, learning_rate=3e-3, dropout=0.2, symmetries=True)
SCRATCH_SIZE = 64
"""Pixels: a quarter of the picture, so that the small network has its 40 epochs in about a minute."""
SHEET_PICTURES, SHEET_COLUMNS = 18, 6
SHEET_BYTES = 400_000


def list_starting_points(recipe: Recipe) -> dict[str, Recipe]:
    """Lists the three starting points, each with the recipe's split, views and seed.

    Args:
        recipe: of the competition file, whatever the run had been asked for: the lesson is the same each time.
    """
    scratch = replace(recipe, strategy="augmented", size=SCRATCH_SIZE, training=SCRATCH_TRAINING)
    features = replace(recipe, strategy="features")
    return {
        "augmented pixels, a small network": scratch,
        "petite with random weights, and a head": replace(features, bases=("petite=none",)),
        "petite as it was pretrained, and a head": replace(features, bases=("petite",)),
    }


def read_answers(competition: Competition) -> dict[str, str]:
    """Reads the class of every test picture, by id; no other module does."""
    path = paths.competition_folder(competition.name) / "answers.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["species"] for row in csv.DictReader(file)}


def run_demo(competition: Competition, folder: Path, options: RunOptions) -> None:
    """Prints the true score of a run beside its cross-validated one, the three starting points, and a picture.

    Args:
        competition: one that the repository draws.
        folder: of the run that has just ended.
        options: of that run.
    """
    truth = read_answers(competition)
    interval = wilson_interval(int(runs.find_correct(folder / "test.npz", truth).sum()), len(truth))
    results = runs.read_metrics(folder)
    way = "cross-validated" if len(results["folds"]) > 1 else "held out, one fold,"
    print_lines([
        f"{way} {100 * results['accuracy']:.1f} %; on the {len(truth)} test pictures, whose answers were kept apart,"
        f" {format_accuracy(interval)}",
        "the same pictures from three starting points, one fold each; the small network takes a minute or two",
    ])  # fmt: skip
    fold = RunOptions(engine=options.engine, folds=(0,), skip_submission=True, recompute=True)
    lines = []
    for name, recipe in list_starting_points(competitions.find(competition.name).recipe).items():
        chosen = replace(competition, recipe=recipe)
        with silence_logs():
            place = find_finished_run(chosen, fold) or run.run(chosen, fold)
        results, hits = runs.read_metrics(place), runs.find_correct(place / "test.npz", truth)
        interval = wilson_interval(int(hits.sum()), len(truth))
        lines.append((name, f"{results['accuracy']:.1%}", format_accuracy(interval), f"{results['seconds']:.0f}"))
    header = ("starting point", "held out", "test (95 % interval)", "seconds")
    print_lines(format_text_table(header, lines))
    picture = paths.reports_folder(competition.name) / "predictions.png"
    write_atomic(picture, lambda file: file.write(draw_sheet(competition, folder, truth)))
    log.info("wrote %s", paths.format_path(picture))


def format_accuracy(interval: Interval) -> str:
    """Formats an accuracy with its interval."""
    return f"{interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def draw_sheet(competition: Competition, folder: Path, truth: dict[str, str]) -> bytes:
    """Draws a PNG of test pictures with their true and their predicted species."""
    from PIL import Image

    from pipeline.figures.contact_sheet import draw_contact_sheet

    guess = runs.read_predicted_classes(folder / "test.npz")
    names = list(truth)[:SHEET_PICTURES]
    raw = paths.competition_folder(competition.name) / "raw" / "test"
    wrong = [guess[name] != truth[name] for name in names]
    captions = [
        f"not {guess[n].split()[-1]}" if bad else truth[n].split()[-1] for n, bad in zip(names, wrong, strict=True)
    ]
    return draw_contact_sheet(
        np.stack([np.asarray(Image.open(raw / f"{name}.jpg")) for name in names]),
        columns=SHEET_COLUMNS,
        captions=captions,
        title=f"Sprouts and predictions: {1 - np.mean(wrong):.0%} of these {len(names)} test pictures are right",
        wrong=wrong,
        limit=SHEET_BYTES,
    )


@contextmanager
def silence_logs() -> Iterator[None]:
    """Prints warnings only."""
    words = logging.getLogger("pipeline")
    before = words.level
    words.setLevel(logging.WARNING)
    try:
        yield
    finally:
        words.setLevel(before)
