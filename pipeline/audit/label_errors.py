"""Labels that may be wrong: pictures that a model which never saw them is sure are something else.

cleanlab finds them by confident learning (Northcutt, Jiang and Chuang 2021, J. Artificial Intelligence Research 70),
which allows for classes that the model is less sure of. Without it, pictures are only ranked by how little of the
probability their label gets.
"""

from dataclasses import dataclass

import numpy as np

INSTALL_COMMAND = "pip install -r requirements-audit.txt"


@dataclass(frozen=True)
class LabelIssue:
    """A label that may be wrong.

    Args:
        row: of the picture.
        guess: number of the class that the model finds likeliest.
        confidence: probability of the given label.
    """

    row: int
    guess: int
    confidence: float


@dataclass(frozen=True)
class LabelIssues:
    """The suspected labels, the worst first.

    Args:
        found: those that are suspected.
        method: `cleanlab`, or `ranking` where it is not installed.
    """

    found: list[LabelIssue]
    method: str


def detect_label_issues(labels: np.ndarray, probabilities: np.ndarray) -> LabelIssues:
    """Looks for labels that may be wrong.

    Args:
        labels: (pictures,) int; each class at least once.
        probabilities: out of fold, (pictures, classes), rows sum to 1.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return LabelIssues(_rank_label_issues(labels, probabilities), "ranking")
    rows = find_label_issues(
        labels, probabilities.astype(np.float64), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return LabelIssues([_build_label_issue(int(row), labels, probabilities) for row in rows], "cleanlab")


def _rank_label_issues(labels: np.ndarray, probabilities: np.ndarray) -> list[LabelIssue]:
    """Pictures whose likeliest class is not their label, by the probability of the label."""
    own = probabilities[np.arange(len(labels)), labels]
    order = np.argsort(own, kind="stable")
    return [
        _build_label_issue(int(row), labels, probabilities)
        for row in order
        if probabilities[row].argmax() != labels[row]
    ]


def _build_label_issue(row: int, labels: np.ndarray, probabilities: np.ndarray) -> LabelIssue:
    """The suspect in this row; the guess is the likeliest class but the label."""
    others = probabilities[row].copy()
    others[labels[row]] = -1
    return LabelIssue(row, int(others.argmax()), float(probabilities[row, labels[row]]))
