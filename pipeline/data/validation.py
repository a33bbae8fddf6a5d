"""Validates a competition's data: owner, sample submission, labels, pictures per class."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.config import Competition
from pipeline.data.layout import find_layout
from pipeline.data.tables import read_label_rows, read_sample_submission
from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_json
from pipeline.kaggle.download import fetch_data
from pipeline.old_names import update_names

OWNER_FILE = "owner.json"


def fetch_raw_data(competition: Competition, *, bundle: Path | None = None, force: bool = False) -> Path:
    """Returns the folder of a competition's raw data, see `fetch_data`; refuses the data of another competition.

    Raises:
        StarshiftError: see `fetch_data`; or other pictures go by this name already.
    """
    path, owner = paths.competition_folder(competition.name) / OWNER_FILE, build_owner(competition)
    before = update_names(stored, "owner") if (stored := read_json(path)) else None
    if before not in (None, owner):
        raise StarshiftError(
            f"Other pictures go by the name {competition.name} already.",
            expected=_format_owner(before),
            received=_format_owner(owner),
            remedy="choose another name (--set name=...), or remove "
            f"{paths.format_path(path)} if the same pictures have moved",
        )
    raw = fetch_data(competition, bundle=bundle, force=force, fits=lambda raw: check_raw_data(competition, raw))
    if before is None:
        write_json(path, owner)
    return raw


def build_owner(competition: Competition) -> dict[str, str | None]:
    """Returns the source of a competition's pictures, which owns the folds, runs and submissions under its name."""
    return {"slug": competition.slug, "data": competition.data, "synthetic": competition.synthetic}


def _format_owner(owner: dict[str, str | None]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in owner.items() if value is not None)


def check_raw_data(competition: Competition, raw: Path) -> None:
    """Checks unpacked data against the competition file: sample submission, labels, training pictures.

    Raises:
        StarshiftError: something is missing.
    """
    labels = competition.labels
    read_sample_submission(competition, raw)
    if find_layout(labels, raw).train is None:
        raise StarshiftError("The training pictures are missing.", expected=f"the folder {labels.folder}")
    if labels.csv is not None:
        read_label_rows(labels, raw)


def _suggest_remedy(classes: int, rarest: str, count: int) -> str:
    """Returns the remedy for too few classes or pictures."""
    if classes < 2:
        return "add a folder of another class: with one there is nothing to tell apart"
    if count < 2:
        return f"add pictures of {rarest!r}, or leave that class out"
    return f"add pictures, or use fewer folds: --set folds={count}"


def check_class_counts(
    competition: Competition, train: pd.DataFrame, classes: Sequence[str], of: str = "pictures"
) -> None:
    """Requires two classes, and a picture of each for each fold, or for both sides of a hold-out.

    Args:
        competition: its recipe has folds and holdout.
        train: the pictures, with a column label.
        classes: names.
        of: the noun of messages.

    Raises:
        StarshiftError: there are too few.
    """
    recipe, counts = competition.recipe, train["label"].value_counts().reindex(classes, fill_value=0)
    least, rarest = max(2, recipe.folds), counts.idxmin()
    if len(classes) < 2 or counts[rarest] < least:
        raise StarshiftError(
            f"There are too few {of} to learn from.",
            expected=f"at least 2 classes, with {least} {of} each for {recipe.folds} folds",
            received=f"{len(classes)} classes; {rarest!r} has {counts[rarest]}",
            remedy=_suggest_remedy(len(classes), rarest, int(counts[rarest])),
        )
    validation = math.ceil(recipe.holdout * len(train))
    if recipe.folds == 1 and min(validation, len(train) - validation) < len(classes):
        raise StarshiftError(
            f"The hold-out has too few {of}.",
            expected=f"at least {len(classes)} {of} held out and as many to train on, one of each class",
            received=f"{validation} of {len(train)} held out",
            remedy="change --set holdout=, or add pictures",
        )
