"""Label errors: pictures that a model that was not trained on them gives another class than their label.

cleanlab finds them by confident learning (Northcutt, Jiang and Chuang 2021, J. Artificial Intelligence Research 70),
which allows for classes that the model is less sure of. Without it, pictures are only ranked by the probability of
their label.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelIssue:
    """A label that may be wrong.

    Args:
        row: of the picture.
        guess: number of the likeliest class but the label.
        confidence: probability of the label.
    """

    row: int
    guess: int
    confidence: float


@dataclass(frozen=True)
class LabelIssues:
    """The labels that may be wrong.

    Args:
        issues: the worst first.
        method: `cleanlab`, or `ranking` where it is not installed.
    """

    issues: list[LabelIssue]
    method: str


def detect_label_issues(labels: np.ndarray, probabilities: np.ndarray) -> LabelIssues:
    """Finds labels that may be wrong.

    Args:
        labels: (pictures,) int; each class at least once.
        probabilities: out of fold, (pictures, classes), rows sum to 1.
    """
    own = probabilities[np.arange(len(labels)), labels]
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        method, rows = "ranking", np.argsort(own, kind="stable")
        rows = rows[probabilities.argmax(axis=1)[rows] != labels[rows]]
    else:
        method, rows = (
            "cleanlab",
            find_label_issues(
                labels, probabilities.astype(np.float64), return_indices_ranked_by="self_confidence", n_jobs=1
            ),
        )
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    guesses = others.argmax(axis=1)
    return LabelIssues([LabelIssue(int(row), int(guesses[row]), float(own[row])) for row in rows], method)
