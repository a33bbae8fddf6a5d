"""Label errors: labels that are less probable than those of right labels may be, to a model not trained on them.

A calibrated model gives some right labels low probabilities, too, and its probabilities say how many. Labels are
suspected from the least probable upwards while at most half as many are expected: a false discovery rate (Benjamini
and Hochberg 1995, J. Royal Statistical Society B 57).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.audit.dataset import AuditDataset
from pipeline.data.corrections import SUGGESTION_COLUMNS, read_suggestions
from pipeline.files import format_csv, write_text

MAX_FALSE_SHARE = 0.5
"""Of the suspected labels, those that are expected to be right."""


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


def detect_label_issues(labels: np.ndarray, probabilities: np.ndarray) -> list[LabelIssue]:
    """Finds labels that may be wrong, the worst first.

    Args:
        labels: (pictures,) int.
        probabilities: out of fold, (pictures, classes), rows sum to 1.
    """
    numbers = np.arange(len(labels))
    own, every = probabilities[numbers, labels], np.sort(probabilities, axis=None)
    rows = np.argsort(own, kind="stable")
    # Were the labels drawn by the probabilities, so many of all pictures would have one that is at most as probable.
    expected = np.cumsum(every, dtype=np.float64)[np.searchsorted(every, own[rows], side="right") - 1]
    passing = np.flatnonzero(expected <= MAX_FALSE_SHARE * (numbers + 1))
    rows = rows[: passing[-1] + 1] if len(passing) else rows[:0]
    others = probabilities.copy()
    others[numbers, labels] = -1
    guesses = others.argmax(axis=1)
    return [
        LabelIssue(int(row), int(guesses[row]), float(own[row]), float(probabilities[row, guesses[row]]))
        for row in rows
        if probabilities[row, guesses[row]] > own[row]
    ]


def write_suggestions(path: Path, dataset: AuditDataset, issues: Sequence[LabelIssue]) -> None:
    """Writes the labels that may be wrong as a table for `invoke labels.apply`, the worst first.

    Where the file is there already, its answers in the column apply stay, and so do its rows with `yes`, which are no
    longer suspected once they are corrected. Other answers are `no`.

    Raises:
        StarshiftError: the file is there and is no such table.
    """
    before = read_suggestions(path) if path.exists() else pd.DataFrame(columns=SUGGESTION_COLUMNS)
    answers = {(row["id"], row["label"], row["suggested"]): row["apply"] for _, row in before.iterrows()}
    rows = {}
    for issue in issues:
        key = dataset.names[issue.row].removeprefix("train/"), dataset.label(issue.row), dataset.classes[issue.guess]
        rows[key[0]] = (*key, f"{issue.guess_confidence:.4f}", answers.get(key, "no"))
    for _, row in before[before["apply"] == "yes"].iterrows():
        rows.setdefault(row["id"], tuple(row.get(column, "") for column in SUGGESTION_COLUMNS))
    write_text(path, format_csv([SUGGESTION_COLUMNS, *rows.values()]))
