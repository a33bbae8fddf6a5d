"""Subsets of a competition: a debug run of seconds, and parts of a fixed size for experiments."""

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import Labels
from pipeline.data.labels import PictureTable
from pipeline.data.picture_files import natural_sort_key
from pipeline.errors import require
from pipeline.files import format_csv, write_text

log = logging.getLogger(__name__)
LABELS_FILE = "labels.csv"
DEBUG_CLASSES = 16
DEBUG_PICTURES = 64


def select_evenly(count: int, most: int) -> np.ndarray:
    """Selects at most `most` of `count` positions, spread evenly; returns them in order, each once."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def select_debug_subset(pictures: PictureTable, seed: int) -> PictureTable:
    """Selects at most 64 training pictures, evenly of 16 classes, and 64 test pictures; classes and pictures are drawn.

    Copies, and files without a readable header, are left out where a class has enough others.
    """
    random = np.random.default_rng(seed)
    numbers = sorted(random.choice(len(pictures.classes), min(DEBUG_CLASSES, len(pictures.classes)), replace=False))
    classes = [pictures.classes[number] for number in numbers]
    each = DEBUG_PICTURES // len(classes)
    usable = pictures.train[pictures.train["width"] > 0].drop_duplicates("sha256")
    parts = {name: usable[usable["label"] == name] for name in classes}
    parts |= {name: pictures.train[pictures.train["label"] == name] for name, part in parts.items() if len(part) < 2}
    train = pd.concat([part.iloc[random.permutation(len(part))[:each]] for part in parts.values()])
    train = train.sort_index().reset_index(drop=True)
    return PictureTable(
        train=train, test=pictures.test.head(DEBUG_PICTURES), classes=classes, warnings=pictures.warnings
    )


def limit_sizes(sizes: tuple[int, int, int], labelled: int) -> tuple[int, int, int]:
    """Returns the sizes of train, validation and test parts; the latter two shrink where there are too few labels."""
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


def select_balanced(table: pd.DataFrame, count: int, random: np.random.Generator) -> pd.DataFrame:
    """Draws rows without replacement, evenly over the classes while they last."""
    order = table.iloc[random.permutation(len(table))]
    turn = order.groupby("label").cumcount()
    return order.iloc[np.argsort(turn.to_numpy(), kind="stable")[:count]].sort_index()


def build_file_name(row: Any) -> str:
    """Returns a unique file name that does not give away the class: the start of the digest."""
    return f"{row.sha256[:16]}{Path(row.path).suffix}"


def link_subset(table: pd.DataFrame, raw: Path, folder: Path, *, flat: bool = False) -> None:
    """Links the pictures into numbered class folders, with a table of their labels, or all into one folder.

    Labels are text and never paths: `N/A` or `../up` is no folder. A folder of other pictures or labels is replaced.
    """
    # as class folders of these names would sort: the split depends on the order of the pictures
    order = sorted(table["label"].unique(), key=lambda label: (natural_sort_key(f"{label}/"), label))
    below = {label: "" if flat else f"{number}/" for number, label in enumerate(order)}
    rows = {below[row.label] + build_file_name(row): row for row in table.itertuples()}
    links = {name: str((raw / row.path).resolve()) for name, row in rows.items()}
    table_file, text = folder / LABELS_FILE, _format_labels((name, row.label) for name, row in rows.items())
    is_labelled = flat or (table_file.is_file() and table_file.read_bytes() == text.encode("utf-8"))
    if _list_links(folder) == links and is_labelled:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name, target in links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, folder / name)
    if not flat:
        write_text(table_file, text)


def build_subset_labels(folder: str, positive: str | None = None) -> Labels:
    """Returns the labels' place for a folder that `link_subset` filled."""
    return Labels(folder=folder, csv=f"{folder}/{LABELS_FILE}", positive=positive)


def _list_links(folder: Path) -> dict[str, str]:
    """Returns the targets of the links below a folder, by their paths below it."""
    paths = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix(): os.readlink(path) for path in paths if path.is_symlink()}


def format_test_labels(test: pd.DataFrame) -> str:
    """Formats the test part's labels as CSV."""
    return _format_labels((build_file_name(row), row.label) for row in test.itertuples())


def _format_labels(rows: Iterable[tuple[str, str]]) -> str:
    return format_csv([("id", "label"), *rows])
