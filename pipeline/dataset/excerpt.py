"""An excerpt of a competition: so many labelled pictures in class folders, and a test part whose labels stay apart."""

import csv
import io
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import require

log = logging.getLogger(__name__)


def fitting(sizes: tuple[int, int, int], labelled: int) -> tuple[int, int, int]:
    """The sizes, or smaller validation and test parts where there are too few labelled pictures."""
    if sum(sizes) <= labelled:
        return sizes
    each = (labelled - sizes[0]) // 2
    require(
        each * 10 >= sizes[0],
        "There are too few labelled pictures for this ladder.",
        expected=f"{sum(sizes):,}, or at least {int(1.2 * sizes[0]):,}",
        received=labelled,
        remedy=f"--sizes {labelled // 2},{labelled // 4},{labelled // 4}",
    )
    log.info(
        "ladder    %d labelled pictures: %d to train on, %d to validate, %d to test", labelled, sizes[0], each, each
    )
    return sizes[0], each, each


def balanced(table: pd.DataFrame, count: int, random: np.random.Generator) -> pd.DataFrame:
    """So many rows, drawn without replacement, of each class as equally many as there are."""
    order = table.iloc[random.permutation(len(table))]
    turn = order.groupby("label").cumcount()
    return order.iloc[np.argsort(turn.to_numpy(), kind="stable")[:count]].sort_index()


def file_name(row: Any) -> str:
    """A name that does not say the class, and differs between pictures: the start of the digest."""
    return f"{row.sha256[:16]}{Path(row.path).suffix}"


def link(table: pd.DataFrame, raw: Path, folder: Path, *, flat: bool = False) -> None:
    """Links the pictures into class folders, or all into one; a folder of other pictures is replaced."""
    wanted = {("" if flat else f"{row.label}/") + file_name(row): raw / row.path for row in table.itertuples()}
    if folder.is_dir() and {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == set(wanted):
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name, path in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(path.resolve(), folder / name)


def answers_text(test: pd.DataFrame) -> str:
    """The test part's classes as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [("id", "label"), *((file_name(r), r.label) for r in test.itertuples())]
    )
    return text.getvalue()
