"""Label errors: pictures that a model that was not trained on them gives another class than their label.

cleanlab finds them by confident learning (Northcutt, Jiang and Chuang 2021, J. Artificial Intelligence Research 70),
which allows for classes that the model is less sure of. Without it, pictures are only ranked by the probability of
their label.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.audit.dataset import AuditDataset
from pipeline.data.corrections import SUGGESTION_COLUMNS, read_suggestions
from pipeline.files import format_csv, write_text


@dataclass(frozen=True)
class LabelIssue:
    """A label that may be wrong.

    Args:
        row: of the picture.
        guess: number of the likeliest class but the label.
        confidence: probability of the label.
        guess_confidence: probability of the guess.
    """

    row: int
    guess: int
    confidence: float
    guess_confidence: float


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
    issues = [
        LabelIssue(int(row), int(guesses[row]), float(own[row]), float(probabilities[row, guesses[row]]))
        for row in rows
    ]
    return LabelIssues(issues, method)


def write_suggestions(path: Path, dataset: AuditDataset, result: LabelIssues) -> None:
    """Writes the labels that may be wrong as a table for `invoke labels.apply`, the worst first.

    Where the file is there already, its answers in the column apply stay, and so do its rows with `yes`, which are no
    longer suspected once they are corrected. Other answers are `no`.

    Raises:
        StarshiftError: the file is there and is no such table.
    """
    before = read_suggestions(path) if path.exists() else pd.DataFrame(columns=SUGGESTION_COLUMNS)
    answers = {(row["id"], row["label"], row["suggested"]): row["apply"] for _, row in before.iterrows()}
    rows = {}
    for issue in result.issues:
        key = dataset.names[issue.row].removeprefix("train/"), dataset.label(issue.row), dataset.classes[issue.guess]
        rows[key[0]] = (*key, f"{issue.guess_confidence:.4f}", answers.get(key, "no"))
    for _, row in before[before["apply"] == "yes"].iterrows():
        rows.setdefault(row["id"], tuple(row.get(column, "") for column in SUGGESTION_COLUMNS))
    write_text(path, format_csv([SUGGESTION_COLUMNS, *rows.values()]))
