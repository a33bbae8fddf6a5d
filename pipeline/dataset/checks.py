"""What is held against the competition file: an archive given by hand, and whether there are enough pictures."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline import paths
from pipeline.config import Competition
from pipeline.dataset.layout import parts
from pipeline.dataset.tables import label_rows, read_sample
from pipeline.errors import StarshiftError
from pipeline.files import read_json, write_json
from pipeline.kaggle.fetch import fetch

OWNER = "owner.json"


def fetched(competition: Competition, *, bundle: Path | None = None, force: bool = False) -> Path:
    """The folder of a competition's raw data, see `fetch`; another competition's bundle does not take its place.

    Raises:
        StarshiftError: see `fetch`; or other pictures go by this name already.
    """
    place, own = paths.competition_folder(competition.name) / OWNER, owner(competition)
    before = read_json(place)
    if before not in (None, own):
        raise StarshiftError(
            f"Other pictures go by the name {competition.name} already.",
            expected=_words(before),
            received=_words(own),
            remedy=f"choose another name=, or remove {paths.shown(place)} if the same pictures have moved",
        )
    raw = fetch(competition, bundle=bundle, force=force, fits=lambda raw: belongs(competition, raw))
    if before is None:
        write_json(place, own)
    return raw


def owner(competition: Competition) -> dict[str, str | None]:
    """Where a competition's pictures are from: folds, runs and submissions lie under its name, and are theirs."""
    return {"slug": competition.slug, "data": competition.data, "drawn": competition.drawn}


def _words(own: dict[str, str | None]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in own.items() if value is not None)


def belongs(competition: Competition, raw: Path) -> None:
    """Holds unpacked data against the competition file: sample submission, labels, training pictures.

    Raises:
        StarshiftError: what is not there.
    """
    labels = competition.labels
    read_sample(competition, raw)
    if parts(labels, raw).train is None:
        raise StarshiftError("The training pictures are missing.", expected=f"the folder {labels.folder}")
    if labels.csv is not None:
        label_rows(labels, raw)


def _more(classes: int, rarest: str, count: int) -> str:
    """What to do where there are too few."""
    if classes < 2:
        return "add a folder of another class: with one there is nothing to tell apart"
    if count < 2:
        return f"add pictures of {rarest!r}, or leave that class out"
    return f"add pictures, or use fewer folds: folds={count} in the recipe"


def enough(competition: Competition, train: pd.DataFrame, classes: Sequence[str], of: str = "pictures") -> None:
    """Two classes at least, and a picture of each for each fold, or for both sides of a hold-out.

    Args:
        competition: how many folds are wanted.
        train: the pictures that count, with a column label.
        classes: names.
        of: what they are called.

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
            remedy=_more(len(classes), rarest, int(counts[rarest])),
        )
    held = math.ceil(recipe.holdout * len(train))
    if recipe.folds == 1 and min(held, len(train) - held) < len(classes):
        raise StarshiftError(
            f"The hold-out has too few {of}.",
            expected=f"at least {len(classes)} {of} held out and as many to train on, one of each class",
            received=f"{held} of {len(train)} held out",
            remedy="change holdout in the recipe, or add pictures",
        )
