"""Checks a competition's data before anything is computed: what it looks like, and what is odd in it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import Competition
from pipeline.data.images import read_range
from pipeline.data.labels import PictureTable
from pipeline.data.picture_files import format_names
from pipeline.data.subsets import select_evenly
from pipeline.files import describe_content

MAX_IMBALANCE = 10
"""Pictures of the largest class for one of the smallest, above which classes are called unbalanced."""
DEEP_KINDS, DEEP_SAMPLE, MAX_DARK, MAX_VALUE = " I", 16, 1 << 14, (1 << 16) - 1
"""How modes of 16 and 32 bits begin, how many such pictures are decoded, the largest too dark value, and white."""
FEW_PER_FOLD = 2
"""Pictures of a class in each fold, below which its score says little."""
SHOWN_CLASSES = 20
TINY_SIDE, LONG_RATIO = 32, 4
"""Pixels of the shorter side, and long to short side, beyond which pictures are called odd."""
USUAL_MODES = {"RGB", "L"}
MODE_WORDS = {
    "RGBA": "transparent; they are shown on white", "LA": "transparent; they are shown on white",
    "PA": "transparent; they are shown on white", "P": "a palette of colours", "CMYK": "of printing colours (CMYK)",
    "1": "black and white alone", "I;16": "16-bit", "I;16B": "16-bit", "I": "32-bit", "F": "of decimal numbers",
    "YCbCr": "YCbCr", "LAB": "LAB",
}  # fmt: skip
"""What an unusual mode of Pillow means."""


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What the data of a competition look like.

    Args:
        layout: where the labels come from, and the folders of both parts.
        classes: training pictures by class, the largest first.
        tests: number of test pictures.
        formats: pictures by format.
        sides: smallest, median and largest width and height in pixels; empty where nothing can be read.
        odd: what is odd, in sentences with counts, the most important first.
    """

    layout: str
    classes: dict[str, int]
    tests: int
    formats: dict[str, int]
    sides: dict[str, tuple[int, int, int]]
    odd: list[str]

    def build_record(self) -> dict[str, Any]:
        """Builds the plain JSON values of the check."""
        return {
            "layout": self.layout,
            "train": sum(self.classes.values()),
            "test": self.tests,
            "classes": self.classes,
            "formats": self.formats,
            "sides": self.sides,
            "odd": self.odd,
        }


def check_data(competition: Competition, pictures: PictureTable, raw: Path) -> DataCheck:
    """Checks the pictures of a competition by their table; only a few of 16 bits are decoded.

    Args:
        competition: its labels and recipe.
        pictures: from `build_picture_table`.
        raw: the folder of the data.
    """
    both = pd.concat([pictures.train, pictures.test])
    readable = both[both["width"] > 0]
    sides = {
        side: (int(values.min()), int(values.median()), int(values.max()))
        for side in ("width", "height")
        if len(values := readable[side])
    }
    return DataCheck(
        layout=_describe_layout(competition, pictures),
        classes={str(name): int(count) for name, count in pictures.train["label"].value_counts().items()},
        tests=len(pictures.test),
        formats=dict(Counter(kind.split(" ")[0] for kind in readable["kind"]).most_common()),
        sides=sides,
        odd=[*_find_unreadable(both, raw), *_find_copies(pictures.train), *find_oddities(competition, pictures, raw)],
    )


def find_oddities(competition: Competition, pictures: PictureTable, raw: Path) -> list[str]:
    """Finds what is odd, but for what a run says itself, once it has decoded the pictures: damaged ones and copies."""
    both = pd.concat([pictures.train, pictures.test])
    return [
        *_find_shared(pictures),
        *_find_unbalanced(pictures.train["label"].value_counts(), competition.recipe.folds),
        *pictures.warnings,
        *_find_badly_scaled(both[both["width"] > 0], raw),
        *_find_odd_pictures(both[both["width"] > 0]),
    ]


def _describe_layout(competition: Competition, pictures: PictureTable) -> str:
    """Describes where labels and pictures come from."""
    labels, where = competition.labels, []
    source = {"folders": "class folders", "csv": f"{labels.csv}, column {labels.label}", "pattern": "file names"}
    for part, table in (("training", pictures.train), ("test", pictures.test)):
        pair = next((pair for pair in zip(table["path"], table["id"], strict=True) if pair[0]), None)
        if pair is not None:
            path = pair[0].removesuffix(labels.suffix)
            folder = path.removesuffix(pair[1]).rstrip("/") if path.endswith(pair[1]) else path.rpartition("/")[0]
            where.append(f"{part} pictures in {folder or 'the folder itself'}")
    return "; ".join([f"labels from {source[labels.kind]}", *where])


def _find_unreadable(both: pd.DataFrame, raw: Path) -> list[str]:
    bad = both.loc[(both["width"] == 0) & (both["path"] != ""), "path"].to_list()
    first = describe_content(raw / bad[0]) if bad else ""
    return [f"{len(bad):,} files are no pictures, or damaged: {format_names(bad)}; the first is {first}"] if bad else []


def _find_copies(train: pd.DataFrame) -> list[str]:
    """Finds training files with the same bytes, in two classes or in one."""
    digests, found = train.loc[train["sha256"] != "", "sha256"], list[str]()
    labels = train.groupby("sha256")["label"].nunique()
    torn = train.loc[digests.index[digests.isin(labels.index[labels > 1])], "id"]
    if len(torn):
        found.append(f"{len(torn):,} training pictures lie in two classes with the same bytes: {format_names(torn)}")
    if copies := int(digests.duplicated().sum()):
        found.append(f"{copies:,} training pictures are copies of others, byte for byte; folds keep them together")
    return found


def _find_shared(pictures: PictureTable) -> list[str]:
    """Finds test files with the bytes of a training file."""
    digests = set(pictures.train["sha256"]) - {""}
    shared = pictures.test.loc[pictures.test["sha256"].isin(digests), "id"]
    return [f"{len(shared):,} test pictures are training pictures, too: {format_names(shared)}"] if len(shared) else []


def _find_unbalanced(counts: pd.Series, folds: int) -> list[str]:
    """Finds classes with few pictures, against the others and for the folds. `counts` is sorted, the largest first."""
    found = []
    if len(counts) and counts.iloc[0] > MAX_IMBALANCE * counts.iloc[-1]:
        (most, least), (largest, smallest) = counts.iloc[[0, -1]], counts.index[[0, -1]]
        found.append(f"classes are unbalanced: {largest!r} has {most:,} pictures, {smallest!r} has {least:,}")
    if len(few := counts[counts < FEW_PER_FOLD * folds]):
        names = format_names(map(str, few.index))
        found.append(f"{len(few):,} classes have fewer than {FEW_PER_FOLD * folds} pictures for {folds} folds: {names}")
    return found


def _find_odd_pictures(readable: pd.DataFrame) -> list[str]:
    """Finds unusual colours, tiny and very long pictures."""
    modes, found = readable["kind"].str.split(" ").str[1], []
    for mode, count in modes[~modes.isin(USUAL_MODES)].value_counts().items():
        words = MODE_WORDS.get(str(mode), f"of the mode {mode}")
        found.append(f"{count:,} pictures are {words}: {format_names(readable.loc[modes == mode, 'path'])}")
    if 0 < (grey := int((modes == "L").sum())) < len(modes):
        found.append(f"{grey:,} pictures are grey, the others have colours")
    several = readable["kind"].str.endswith(" frames")
    short, long = readable[["width", "height"]].min(axis=1), readable[["width", "height"]].max(axis=1)
    for rows, text in (
        (several, "have several frames or pages, of which the first alone is used"),
        (short < TINY_SIDE, f"have a side of less than {TINY_SIDE} pixels"),
        (long > LONG_RATIO * np.maximum(short, 1), f"are over {LONG_RATIO} times as long as wide, and are squeezed"),
    ):
        if rows.any():
            found.append(f"{int(rows.sum()):,} pictures {text}: {format_names(readable.loc[rows, 'path'])}")
    return found


def _find_badly_scaled(readable: pd.DataFrame, raw: Path) -> list[str]:
    """Finds pictures of 16 or 32 bits whose values leave 16 bits, or fill a small part, as 10 bits of a camera do."""
    paths = readable.loc[readable["kind"].str.contains(DEEP_KINDS), "path"].to_list()
    ranges = [read_range(raw / paths[place]) for place in select_evenly(len(paths), DEEP_SAMPLE)]
    low, high = min((one for one, _ in ranges), default=0), max((one for _, one in ranges), default=0)
    if low < 0 or high > MAX_VALUE:
        return [f"{len(paths):,} pictures have values from {low:,} to {high:,}: below 0 is seen as black, above "
                f"{MAX_VALUE:,} as white. Scale all of them from 0 to {MAX_VALUE:,}"]  # fmt: skip
    if not paths or high > MAX_DARK:
        return []
    factor = MAX_VALUE // max(255, (1 << high.bit_length()) - 1)
    return [f"{len(paths):,} pictures have 16 bits, but values up to {high:,} alone, and are seen as nearly black: "
            f"multiply all of them by {factor}"]  # fmt: skip


def format_check(check: DataCheck) -> list[list[str]]:
    """Formats the check in blocks of lines: what is odd first."""
    odd = [f"odd       {text}" for text in check.odd] or ["odd       nothing was found"]
    shown = [(format_names([name]), count) for name, count in list(check.classes.items())[:SHOWN_CLASSES]]
    formats = ", ".join(f"{name} {count:,}" for name, count in check.formats.items())
    facts = [
        f"layout    {check.layout}",
        f"pictures  {sum(check.classes.values()):,} for training, {check.tests:,} for the test",
        f"formats   {formats or 'none'}",
        *(f"{side:<9} {low:,} to {high:,} pixels, median {mid:,}" for side, (low, mid, high) in check.sides.items()),
    ]
    width = max((len(name) for name, _ in shown), default=0)
    rows = [f"          {name:<{width}} {count:>7,}" for name, count in shown]
    more = [f"          and {len(check.classes) - len(shown):,} more"] if len(check.classes) > len(shown) else []
    return [odd, facts, [f"classes   {len(check.classes):,}", *rows, *more]]
