"""Predicts a code competition's test pictures inside a kernel, with a run that is attached, and writes submission.csv.

    python -m pipeline.kernels.kernel_inference ORDER.json SESSION

SESSION is JSON: order (the run's fingerprint), run (its name), seconds (from the session's start). Kaggle runs the
kernel again with the hidden test pictures: how many there are is known there only, so time is watched.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import logs, paths
from pipeline.config import Competition
from pipeline.data.labels import list_test_pictures
from pipeline.data.tables import read_sample_submission
from pipeline.ensemble.ensemble_predictor import EnsemblePredictor, load_any_predictor
from pipeline.errors import StarshiftError, require
from pipeline.evaluation.metrics import compute_class_shares
from pipeline.evaluation.submission import build_submission, check_submission, write_submission
from pipeline.kaggle import inputs
from pipeline.kaggle.download import fetch_data
from pipeline.kernels.job import read_job
from pipeline.kernels.result_archive import ARCHIVE_NAME, load_archive
from pipeline.runs.load import load_run
from pipeline.runs.predictor import RunPredictor, predict_pictures

log = logging.getLogger(__name__)
SUBMISSION_FILE = "submission.csv"
PART_SIZE = 256
"""Pictures between two looks at the clock."""


def restore_run(competition: str, run: str, order: str) -> Path:
    """Extracts the attached run. Returns its folder.

    Raises:
        StarshiftError: it is not attached, or damaged.
    """
    for path in inputs.find_files(ARCHIVE_NAME):
        archive = load_archive(path)
        if archive.summary["order"] == order:
            archive.extract({name: paths.home_folder() / name for name in archive.files})
            return paths.runs_folder(competition) / run
    expected = f"a dataset with {ARCHIVE_NAME} of the run {run}"
    raise StarshiftError("The run is not attached.", expected=expected, received="none", remedy="invoke kernel.submit")


def take_fewer_views(predictor: RunPredictor) -> RunPredictor:
    """Returns the predictor with its first view alone."""
    if isinstance(predictor, EnsemblePredictor):
        members = [one and take_fewer_views(one) for one in predictor.members]
        return replace(predictor, members=members, views=predictor.views[:1])
    return replace(predictor, views=predictor.views[:1])


def predict_in_time(
    predictor: RunPredictor, files: Mapping[str, Path], count_left: Callable[[], float]
) -> dict[str, np.ndarray]:
    """Predicts pictures as far as time allows: with fewer views where all would take too long, and then none.

    Args:
        predictor: of the run.
        files: pictures by id.
        count_left: returns the seconds that are left.

    Returns:
        Probabilities (classes,) by id, without unreadable pictures and those that time did not allow.
    """
    names, rows, is_short = list(files), dict[str, np.ndarray](), False
    for start in range(0, len(names), PART_SIZE):
        before, part = count_left(), names[start : start + PART_SIZE]
        if before <= 0:
            log.warning(
                "  warning: time is up: %d of %d pictures get the classes' shares", len(names) - start, len(names)
            )
            break
        answer = predict_pictures(predictor, {name: files[name] for name in part})
        rows |= zip(answer.names, answer.probabilities, strict=True)
        rest, left = len(names) - start - len(part), count_left()
        if not is_short and rest * (before - left) / len(part) > left:
            is_short, predictor = True, take_fewer_views(predictor)
            log.warning("  warning: time is short: the last %d pictures are predicted in one view", rest)
    return rows


def write_hidden_submission(competition: Competition, folder: Path, count_left: Callable[[], float]) -> Path:
    """Predicts the test pictures that are mounted, and writes the submission into the kernel's output.

    Args:
        competition: its labels and submission.
        folder: the run's.
        count_left: see `predict_in_time`.

    Raises:
        StarshiftError: the data is not attached, or cannot be predicted.
    """
    run, predictor = load_run(folder), load_any_predictor(folder)  # before the data: neighbours are not looked for
    raw = fetch_data(competition)
    sample = read_sample_submission(competition, raw)
    tests, warnings = list_test_pictures(competition, raw, sample)
    for warning in warnings:
        log.warning("  warning: %s", warning)
    files = {name: path for name, path in tests.items() if path is not None}
    require(tests, "There are no test pictures.", expected="a sample submission, or pictures", received=raw)
    log.info("%d test pictures", len(tests))
    rows = predict_in_time(predictor, files, count_left)
    if missing := len(tests) - len(rows):
        log.warning("  warning: %d of %d test pictures have no prediction of their own", missing, len(tests))
    labels = np.searchsorted(run.classes, list(run.label.values()))
    shares = compute_class_shares(labels, len(run.classes))
    table = build_submission(
        competition, sample, list(tests), np.array([rows.get(name, shares) for name in tests]), run.classes
    )
    check_submission(table, competition, sample, run.classes)
    target = paths.kaggle_folder("working") / SUBMISSION_FILE
    write_submission(table, target)
    return target


def main(arguments: list[str]) -> int:
    """Runs as a command; a user's error is printed without a traceback, and exits with 1."""
    logs.set_up()
    competition, session = read_job(Path(arguments[0])).competition, json.loads(arguments[1])
    end = float(os.environ.get("STARSHIFT_BEGUN") or time.monotonic()) + session["seconds"]
    try:
        folder = restore_run(competition.name, session["run"], session["order"])
        target = write_hidden_submission(competition, folder, lambda: end - time.monotonic())
    except StarshiftError as error:
        print(f"error: {error}", flush=True)
        return 1
    log.info("wrote %s with %.0f s left", target, end - time.monotonic())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
