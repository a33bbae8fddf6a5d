"""Wrong labels are told from a model's mistakes."""

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.audit.label_errors import LabelIssue, detect_label_issues, write_suggestions

WRONG = set(range(7, 300, 15))


def predicted():
    """Labels of three classes, a few of them wrong, and predictions of the true ones."""
    truth = np.random.default_rng(1).integers(0, 3, 300)
    labels = truth.copy()
    labels[list(WRONG)] = (truth[list(WRONG)] + 1) % 3
    random = np.random.default_rng(0)
    probabilities = 0.85 * np.eye(3)[truth] + 0.15 * random.dirichlet([1, 1, 1], 300)
    return labels, truth, probabilities


def calibrated(strength, classes):
    """Labels, and what they are with the probabilities of a model that knows how little it sees."""
    random, labels = np.random.default_rng(0), np.arange(1200) % classes
    seen = random.normal(size=(1200, classes)) + strength * np.eye(classes)[labels]
    return labels, softmax(strength * seen, axis=1)


def test_wrong_labels_come_first_and_most_that_are_suspected_are_wrong():
    labels, truth, probabilities = predicted()
    found = detect_label_issues(labels, probabilities)
    doubt, rows = [one.confidence for one in found], {one.row for one in found}
    assert doubt == sorted(doubt) and rows <= WRONG and len(rows) > 0.3 * len(WRONG)
    assert all(one.guess == truth[one.row] for one in found)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("classes", [2, 12])
def test_mistakes_of_a_calibrated_model_are_no_label_errors(strength, classes):
    labels, probabilities = calibrated(strength, classes)
    assert len(detect_label_issues(labels, probabilities)) < 10


def test_wrong_labels_are_found_though_the_model_makes_mistakes():
    labels, probabilities = calibrated(3.0, 12)
    wrong = np.arange(0, len(labels), 20)
    labels[wrong] = (labels[wrong] + 1) % 12
    rows = {one.row for one in detect_label_issues(labels, probabilities)}
    assert len(rows & {*wrong.tolist()}) > 0.6 * len(wrong) and len(rows) < 2 * len(wrong)


def test_a_model_that_knows_nothing_suspects_no_label():
    assert detect_label_issues(np.arange(60) % 3, np.full((60, 3), 1 / 3)) == []


def test_suggestions_are_written_for_correction_and_answers_stay(dataset_of, tmp_path):
    dataset, path = dataset_of(np.ones((6, 2)), [0, 0, 1, 1]), tmp_path / "corrections.csv"
    names = [one.removeprefix("train/") for one in dataset.names]
    first, second = LabelIssue(0, 1, 0.1, 0.9), LabelIssue(2, 0, 0.2, 0.8)
    write_suggestions(path, dataset, [first, second])
    zero, one = dataset.classes[:2]
    rows = [
        "id,label,suggested,confidence,apply",
        f"{names[0]},{zero},{one},0.9000,no",
        f"{names[2]},{one},{zero},0.8000,no",
    ]
    assert path.read_text().splitlines() == rows
    rows[1] = rows[1].replace(",no", ",yes")
    path.write_text("\n".join(rows) + "\n")
    write_suggestions(path, dataset, [first])
    assert path.read_text().splitlines() == rows[:2], "the answer stays"
    write_suggestions(path, dataset, [second])
    assert path.read_text().splitlines() == [rows[0], rows[2], rows[1]], "what is corrected is not suspected any more"
