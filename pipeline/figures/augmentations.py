"""Writes a sheet of augmentations: a few pictures as they are, and beside them in their augmented views."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.config import Competition
from pipeline.data import images, transforms
from pipeline.data.labels import load_labeled_pictures
from pipeline.errors import StarshiftError, require
from pipeline.figures.contact_sheet import draw_contact_sheet
from pipeline.files import write_atomic
from pipeline.models.base import parse_base

MAX_SHEET_BYTES = 1_500_000
"""Bytes of the sheet: pictures that are to be judged must be seen, and this one is not kept in the repository."""


def write_sheet(competition: Competition, *, pictures: int, views: int) -> Path:
    """Writes data/reports/<competition>/augmented.png.

    Args:
        competition: its recipe's seed draws the pictures, in turn from every class.
        pictures: how many, one a row.
        views: how many augmentations of each, as `transforms.apply_view` gives them for `augment-1` and on.

    Returns:
        The sheet's path.
    """
    require(1 <= pictures <= 50, "Unusable number of pictures.", expected="1 to 50", received=pictures)
    require(1 <= views <= 20, "Unusable number of views.", expected="1 to 20", received=views)
    size = parse_base(competition.recipe.bases[0], competition.recipe.size).size
    train, raw = load_labeled_pictures(competition)
    chosen, plain = read_pictures(interleave_classes(train, competition.recipe.seed), raw, pictures, size)
    names = ["plain", *(f"augment-{number}" for number in range(1, views + 1))]
    seen = [transforms.apply_view(name, plain, list(chosen["sha256"])) for name in names]
    sheet = draw_contact_sheet(
        np.stack(seen, axis=1).reshape(-1, size, size, 3),
        len(names),
        title=f"{competition.name} at {size} px: each picture, and what training sees of it",
        headings=names,
        names=[str(label) for label in chosen["label"]],
        limit=MAX_SHEET_BYTES,
    )
    path = paths.reports_folder(competition.name) / "augmented.png"
    write_atomic(path, lambda file: file.write(sheet))
    return path


def interleave_classes(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Shuffles the pictures by the seed, one of every class before a second of any."""
    shuffled = train.iloc[np.random.default_rng(seed).permutation(len(train))]
    turn = shuffled.groupby("label", sort=False).cumcount()
    return shuffled.iloc[np.argsort(turn.to_numpy(), kind="stable")]


def read_pictures(train: pd.DataFrame, raw: Path, pictures: int, size: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Reads the first readable pictures: their rows, and their pixels (n, size, size, 3) uint8."""
    rows, result = list[int](), list[np.ndarray]()
    for row, path in enumerate(train["path"]):
        if len(result) == pictures:
            break
        try:
            result.append(images.decode((raw / path).read_bytes(), size))
        except (images.UnreadableImageError, OSError):
            continue
        rows.append(row)
    if not result:
        raise StarshiftError("No training picture can be read.", received=f"{len(train)} files", expected="pictures")
    return train.iloc[rows], np.stack(result)
