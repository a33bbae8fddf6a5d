"""Kaggle's scoring, made here of scikit-learn and known answers: every third picture is public, the others private."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

import competitions
from pipeline.config import Competition

Scorer = Callable[[str], tuple[str, str]]
"""The text of a CSV file -> (public, private) score as Kaggle writes them; raises ValueError with Kaggle's words."""


def scorer(competition: Competition, answers: Mapping[str, str]) -> Scorer:
    """Scores submissions to a competition.

    Args:
        competition: its layout and metric.
        answers: the true class by id.
    """
    wanted = competition.submission
    assert wanted is not None
    ids = sorted(answers)
    parts = [ids[::3], [name for number, name in enumerate(ids) if number % 3]]

    def score(text: str) -> tuple[str, str]:
        rows = list(csv.DictReader(io.StringIO(text)))
        if not rows or wanted.image not in rows[0]:
            raise ValueError(f"ERROR: Required column '{wanted.image}' could not be found")
        if len(rows) != len(answers):
            raise ValueError(f"Evaluation Exception: Submission must have {len(answers)} rows")
        table = {row[wanted.image]: row for row in rows}
        public, private = (one_score(competition, [table[name] for name in part], [answers[name] for name in part])
                           for part in parts)  # fmt: skip
        return f"{public:.5f}", f"{private:.5f}"

    return score


def one_score(competition: Competition, rows: Sequence[Mapping[str, str]], truth: Sequence[str]) -> float:
    """The metric of some rows of a submission."""
    wanted = competition.submission
    assert wanted is not None
    if wanted.layout == "class name":
        return float(accuracy_score(truth, [row[wanted.label] for row in rows]))
    if wanted.layout == "probability":
        positive = [name == competition.labels.positive for name in truth]
        values = [float(row[wanted.label]) for row in rows]
        return float(roc_auc_score(positive, values) if competition.metric == "auc" else log_loss(positive, values))
    names = sorted(name for name in rows[0] if name != wanted.image)
    return float(log_loss(truth, np.array([[float(row[name]) for name in names] for row in rows]), labels=names))


def scorers_in(folder: Path) -> dict[str, Scorer]:
    """By slug, of every <slug>.answers.csv (the columns id and label) in a folder."""
    found = {}
    for competition in map(competitions.find, competitions.names()):
        path = folder / f"{competition.slug}.answers.csv"
        if competition.submission and path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                answers = {row["id"]: row["label"] for row in csv.DictReader(file)}
            found[str(competition.slug)] = scorer(competition, answers)
    return found
