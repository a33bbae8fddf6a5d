"""Wrong labels come first, with cleanlab and without it."""

import sys

import numpy as np
import pytest

from pipeline.audit.label_errors import LabelIssue, LabelIssues, detect_label_issues, write_suggestions

WRONG = set(range(7, 300, 15))


def predicted():
    """Labels of three classes, a few of them wrong, and predictions of the true ones."""
    truth = np.random.default_rng(1).integers(0, 3, 300)
    labels = truth.copy()
    labels[list(WRONG)] = (truth[list(WRONG)] + 1) % 3
    random = np.random.default_rng(0)
    probabilities = 0.85 * np.eye(3)[truth] + 0.15 * random.dirichlet([1, 1, 1], 300)
    return labels, truth, probabilities


def test_cleanlab_finds_the_wrong_labels():
    pytest.importorskip("cleanlab")
    labels, truth, probabilities = predicted()
    found = detect_label_issues(labels, probabilities)
    rows = {one.row for one in found.issues}
    assert found.method == "cleanlab" and rows <= WRONG and len(rows) >= 0.5 * len(WRONG)
    assert all(one.guess == truth[one.row] for one in found.issues)


def test_without_cleanlab_they_are_ranked(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    labels, truth, probabilities = predicted()
    found = detect_label_issues(labels, probabilities)
    doubt = [one.confidence for one in found.issues]
    assert doubt == sorted(doubt) and len(set(doubt)) > 1
    assert found.method == "ranking" and {one.row for one in found.issues[: len(WRONG)]} == WRONG
    assert all(one.guess == truth[one.row] for one in found.issues)


def test_suggestions_are_written_for_correction_and_answers_stay(dataset_of, tmp_path):
    dataset, path = dataset_of(np.ones((6, 2)), [0, 0, 1, 1]), tmp_path / "corrections.csv"
    names = [one.removeprefix("train/") for one in dataset.names]
    first, second = LabelIssue(0, 1, 0.1, 0.9), LabelIssue(2, 0, 0.2, 0.8)
    write_suggestions(path, dataset, LabelIssues([first, second], "ranking"))
    zero, one = dataset.classes[:2]
    rows = [
        "id,label,suggested,confidence,apply",
        f"{names[0]},{zero},{one},0.9000,no",
        f"{names[2]},{one},{zero},0.8000,no",
    ]
    assert path.read_text().splitlines() == rows
    rows[1] = rows[1].replace(",no", ",yes")
    path.write_text("\n".join(rows) + "\n")
    write_suggestions(path, dataset, LabelIssues([first], "ranking"))
    assert path.read_text().splitlines() == rows[:2], "the answer stays"
    write_suggestions(path, dataset, LabelIssues([second], "ranking"))
    assert path.read_text().splitlines() == [rows[0], rows[2], rows[1]], "what is corrected is not suspected any more"
