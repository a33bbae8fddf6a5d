"""The tables of a competition: the sample submission (ids in Kaggle's order, and columns) and the labels' rows."""

from dataclasses import dataclass
from glob import escape
from pathlib import Path

import pandas as pd

from pipeline.config import Competition, Labels
from pipeline.dataset.junk import kind_of_junk
from pipeline.errors import StarshiftError


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the submission must look like.

    Args:
        ids: in Kaggle's order.
        columns: the header.
    """

    ids: list[str]
    columns: list[str]


def locate(raw: Path, name: str) -> Path | None:
    """The file or folder of this relative name in `raw`, or one level or two below; else one that differs in case."""
    return next(iter(locations(raw, name)), None)


def locations(raw: Path, name: str) -> list[Path]:
    """The same, and all others of the same level: none of them stands out. Junk is looked past."""
    if name == ".":
        return [raw]
    for case_sensitive in (True, False):
        spelt = escape(name) if case_sensitive else "".join(map(_either_case, name))
        for pattern in ("", "*/", "*/*/"):
            found = [path for path in sorted(raw.glob(pattern + spelt)) if not _in_junk(path.relative_to(raw))]
            if found:
                return found
    return []


def _in_junk(path: Path) -> bool:
    """Whether a path leads through known junk."""
    return any(map(kind_of_junk, path.parts))


def _either_case(letter: str) -> str:
    """A pattern for a letter in both cases."""
    return f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else escape(letter)


def read_text_table(path: Path) -> pd.DataFrame:
    """A CSV file with a header, every value as the text that it is: ids keep their zeros, no name means NaN.

    Raises:
        StarshiftError: empty, not UTF-8, or no table.
    """
    try:
        return _without_index(pd.read_csv(path, dtype=str, keep_default_na=False))
    except (ValueError, pd.errors.ParserError) as error:
        raise StarshiftError(
            f"{path.name} cannot be read.", expected="a CSV file with a header, in UTF-8", received=str(error),
            remedy="download again with --force, or save it as UTF-8",
        ) from error  # fmt: skip


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as its header says, where pandas took first columns for an index since rows end in more commas."""
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    rows, columns = frame.reset_index(), list(frame.columns)
    if (rows.iloc[:, len(columns) :] != "").any(axis=None):
        raise ValueError(f"rows have more values than the {len(columns)} of the header")
    return rows.iloc[:, : len(columns)].set_axis(columns, axis=1)


def read_sample(competition: Competition, raw: Path) -> Sample | None:
    """The sample submission; None for one's own pictures.

    Raises:
        StarshiftError: it is missing, lacks its columns or names a picture twice.
    """
    wanted = competition.submission
    if wanted is None:
        return None
    path = locate(raw, wanted.sample)
    if path is None:
        others = [found for found in raw.rglob("*.csv") if "sample" in found.name.lower()]
        others = [found for found in others if not _in_junk(found.relative_to(raw))]
        path = others[0] if len(others) == 1 else None
    if path is None:
        raise StarshiftError(
            "The sample submission is missing.", expected=wanted.sample, received=f"no such file in {raw}",
            remedy="download again with --force, or set Submission(sample=...)",
        )  # fmt: skip
    frame = read_text_table(path)
    columns = list(frame.columns)
    needed = [wanted.image] if wanted.layout == "one column per class" else [wanted.image, wanted.label]
    if columns[: len(needed)] != needed or (wanted.layout != "one column per class" and len(columns) != 2):
        raise StarshiftError(
            f"{path.name} has other columns.", expected=", ".join(needed), received=", ".join(columns[:5])
        )
    ids = list(frame[wanted.image])
    if doubled := sorted(frame.loc[frame[wanted.image].duplicated(), wanted.image]):
        raise StarshiftError(f"{path.name} names {len(doubled)} ids twice.", received=", ".join(doubled[:5]))
    return Sample(ids=ids, columns=columns)


def label_rows(labels: Labels, raw: Path) -> tuple[Path, pd.DataFrame]:
    """The file of labels, and its rows as text.

    Raises:
        StarshiftError: it is not there, or lacks a column.
    """
    path = locate(raw, str(labels.csv))
    frame = pd.DataFrame() if path is None else read_text_table(path)
    if path is None or not {labels.image, labels.label} <= set(frame.columns):
        raise StarshiftError(
            "The labels are missing." if path is None else f"{path.name} has other columns.",
            expected=f"{labels.csv} with the columns {labels.image}, {labels.label}",
            received=", ".join(frame.columns[:5]) if path else f"no such file in {raw}",
        )
    return path, frame
