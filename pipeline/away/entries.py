"""What a run submits: the best run or a named one, and its file, held against Kaggle's sample once more."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import paths, runs
from pipeline.config import Competition
from pipeline.dataset.tables import Sample, read_sample, read_text_table
from pipeline.errors import StarshiftError
from pipeline.files import read_json, sha256_of_file
from pipeline.kaggle import archives, submissions
from pipeline.ledger import listing
from pipeline.naming import called
from pipeline.predict.submission import validate
from pipeline.report.listed import ordered

log = logging.getLogger(__name__)
DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is submitted.

    Args:
        folder: the run's.
        path: its submission.csv.
        rows: number of pictures in it.
        digest: SHA-256 of the file.
        message: what the user has to say.
    """

    folder: Path
    path: Path
    rows: int
    digest: str
    message: str = ""

    @property
    def mark(self) -> str:
        """What Kaggle's list shows it by: the run, and what the file is."""
        return f"{self.folder.name} sha256:{self.digest[:DIGITS]}"

    @property
    def description(self) -> str:
        """The whole message."""
        return f"{self.mark} {self.message}".strip()


def slug_of(competition: Competition) -> str:
    """Kaggle's name of the competition."""
    if competition.slug is None or competition.submission is None:
        raise StarshiftError(
            f"{competition.name} is no competition of Kaggle's.", expected="a competition file with slug and submission"
        )
    return competition.slug


def best(competition: Competition) -> Path:
    """The finished run with the best score that has a submission; one that trained every fold, where there is one.

    Raises:
        StarshiftError: there is none.
    """
    place = paths.runs_folder(competition.name)
    every = [
        one
        for one in listing.every(competition.name)
        if one.state == "finished"
        and one.metric == competition.metric
        and (place / one.run / "submission.csv").exists()
    ]
    whole = [one for one in every if len(one.folds) == one.of_folds] or every
    if not whole:
        raise StarshiftError(
            f"There is no run of {competition.name} to submit.",
            expected=f"a finished run with a submission.csv in {paths.shown(place)}",
            remedy=f"invoke run --comp {called(competition.name)}",
        )
    return place / ordered(whole, competition.metric)[0].run


def sample_for(competition: Competition, api: Any) -> Sample | None:
    """The sample submission: from the data that is here, else from Kaggle; None where neither can be asked."""
    folder = paths.competition_folder(competition.name)
    if (folder / "complete.json").exists() and (folder / "raw").is_dir():
        return read_sample(competition, folder / "raw")
    if api is None:
        log.warning("  warning: the data of %s is not here, so nothing says which ids are asked for", competition.name)
        return None
    with tempfile.TemporaryDirectory() as place:
        wanted = str(competition.submission and competition.submission.sample)
        submissions.one_file(api, slug_of(competition), wanted, Path(place))
        archives.unpack_inside(Path(place))
        return read_sample(competition, Path(place))


def checked(competition: Competition, folder: Path, sample: Sample | None, message: str) -> Entry:
    """What a run submits, held against the sample once more.

    Raises:
        StarshiftError: the run is unfinished, a debug run or without submission, or Kaggle would refuse the file.
    """
    path, config = folder / "submission.csv", read_json(folder / "config.json") or {}
    lacks = "debug run" if config.get("debug") else "" if path.exists() else "no submission.csv"
    if lacks or not runs.finished(folder):
        raise StarshiftError(
            f"The run {folder.name} cannot be submitted.",
            expected="a finished run with a submission.csv",
            received=lacks or "unfinished",
            remedy=f"invoke run --comp {called(competition.name)}; invoke runs lists them",
        )
    table = read_text_table(path)
    if competition.submission and competition.submission.layout != "class name":
        numbers = table.columns[1:]
        table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    classes = runs.read_predictions(folder / "test.npz")[1] if (folder / "test.npz").exists() else []
    validate(table, competition, sample, classes)
    return Entry(folder=folder, path=path, rows=len(table), digest=sha256_of_file(path), message=message)


def validated(folder: Path) -> str:
    """A run's cross-validated score in words."""
    results = read_json(folder / "metrics.json") or {}
    spread = f" ± {results['spread']:.5f}" if len(results.get("folds", ())) > 1 else ""
    return f"{results.get('metric')} {results.get('score', float('nan')):.5f}{spread} in cross-validation"
