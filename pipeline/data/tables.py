"""Reads the CSV tables of a competition, labels and sample submission, and matches their ids with files."""

import lzma
import os
import re
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.config import Competition, Labels
from pipeline.data.picture_files import PICTURE_SUFFIXES, find_paths, format_names, is_junk
from pipeline.errors import StarshiftError, suggest_name
from pipeline.files import describe_content, hash_file

COMPRESSED_SUFFIXES = ("", ".gz", ".bz2", ".xz", ".zip")
OTHER_SEPARATORS = (";", "\t")
READ_ERRORS = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What pandas raises on a file that is damaged, or not what its ending says."""


@dataclass(frozen=True, kw_only=True)
class SampleSubmission:
    """Ids and header of the submission.

    Args:
        ids: in Kaggle's order.
        columns: the header.
    """

    ids: list[str]
    columns: list[str]


def find_table(raw: Path, name: str) -> Path | None:
    """Returns the file of this name, or of this name and a compression's ending; None where there is none.

    Raises:
        StarshiftError: there are several, with other contents.
    """
    names = (name + suffix for suffix in COMPRESSED_SUFFIXES)
    tables = next((paths for one in names if (paths := find_paths(raw, one, Path.is_file))), [])
    if len({hash_file(path) for path in tables}) > 1:
        raise StarshiftError(
            f"{len(tables)} tables are called {tables[0].name}.",
            expected="the one that is meant, in Labels(csv=...) or Submission(sample=...) of the competition file",
            received=format_names(path.relative_to(raw).as_posix() for path in tables),
        )
    return tables[0] if tables else None


def read_csv_as_text(path: Path) -> pd.DataFrame:
    """Reads a CSV file with a header, packed or not, all values as text: ids keep their zeros, no name becomes NaN.

    Raises:
        StarshiftError: damaged, empty, not UTF-8, or no table.
    """
    try:
        frame = _read_csv(path, ",")
        header = frame.columns[0] if len(frame.columns) == 1 else ""
        others = [separator for separator in OTHER_SEPARATORS if separator in header]
        return _read_csv(path, others[0]) if others else frame
    except FileNotFoundError:
        raise
    except READ_ERRORS as error:
        raise StarshiftError(
            f"{path.name} cannot be read.", expected="a CSV file with a header, in UTF-8",
            received=f"{describe_content(path)} ({str(error).strip() or type(error).__name__})",
            remedy="download again with --force, or save it as CSV in UTF-8",
        ) from error  # fmt: skip


def _read_csv(path: Path, separator: str) -> pd.DataFrame:
    return _restore_columns(pd.read_csv(path, dtype=str, keep_default_na=False, sep=separator))


def _restore_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Undoes that pandas takes first columns for an index where rows end in more commas than the header."""
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    rows, columns = frame.reset_index(), list(frame.columns)
    if (rows.iloc[:, len(columns) :] != "").any(axis=None):
        raise ValueError(f"rows have more values than the {len(columns)} of the header")
    return rows.iloc[:, : len(columns)].set_axis(columns, axis=1)


def read_sample_submission(competition: Competition, raw: Path) -> SampleSubmission | None:
    """Reads the sample submission; None for one's own pictures.

    Raises:
        StarshiftError: it is missing, lacks its columns or names a picture twice.
    """
    spec = competition.submission
    if spec is None:
        return None
    path = find_table(raw, spec.sample)
    if path is None:
        others = [path for path in raw.rglob("*.csv") if "sample" in path.name.lower() and path.is_file()]
        others = [path for path in others if not is_junk(path, raw)]
        path = others[0] if len(others) == 1 else None
    if path is None:
        raise StarshiftError(
            "The sample submission is missing.", expected=spec.sample, received=f"no such file in {raw}",
            remedy="download again with --force, or set Submission(sample=...)",
        )  # fmt: skip
    frame = read_csv_as_text(path)
    columns = list(frame.columns)
    per_class = spec.layout == "one column per class"
    required = [spec.image] if per_class else [spec.image, spec.label]
    if columns[:1] != required if per_class else columns != required:
        raise StarshiftError(
            f"{path.name} has other columns.", expected=", ".join(required), received=", ".join(columns[:5])
        )
    ids = frame[spec.image]
    if repeated := sorted(ids[ids.duplicated()]):
        raise StarshiftError(f"{path.name} names {len(repeated)} ids twice.", received=", ".join(repeated[:5]))
    return SampleSubmission(ids=list(ids), columns=columns)


def read_label_rows(labels: Labels, raw: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the file of labels, and its rows as text. A table with one column a class gets a column of labels.

    Raises:
        StarshiftError: the file is missing, lacks a column, or gives a picture no label or several.
    """
    path = find_table(raw, str(labels.csv))
    frame = pd.DataFrame() if path is None else read_csv_as_text(path)
    frame = frame.rename(columns=lambda name: name if name in (labels.image, labels.label) else name.strip())
    if path is not None and labels.image in frame.columns and labels.label not in frame.columns:
        frame = join_indicators(frame, labels, path.name)
    missing = [name for name in (labels.image, labels.label) if name not in frame.columns]
    if path is None or missing:
        raise StarshiftError(
            "The labels are missing." if path is None else f"{path.name} has other columns.",
            expected=f"a CSV table {labels.csv} with the columns {labels.image}, {labels.label}",
            received=format_names(frame.columns) if path else f"no such file in {raw}",
            remedy=next((remedy for name in missing if (remedy := suggest_name(name, frame.columns))), ""),
        )
    return path, frame


def join_indicators(frame: pd.DataFrame, labels: Labels, name: str) -> pd.DataFrame:
    """Joins columns of 0 and 1, one a class, to a column of labels; other tables stay as they are.

    Raises:
        StarshiftError: a row has no 1, or several.
    """
    values = frame.drop(columns=labels.image).apply(lambda column: column.str.strip())
    marked = values.isin(["1", "1.0", "1.00"])
    if len(values.columns) < 2 or not (marked | values.isin(["0", "0.0", "0.00", ""])).all(axis=None):
        return frame
    wrong = frame.loc[marked.sum(axis=1) != 1, labels.image]
    if len(wrong):
        raise StarshiftError(
            f"{name} gives {len(wrong):,} pictures no label or several: this is a multi-label task.",
            expected="one label a picture, or columns of 0 and 1 with a single 1 a row",
            received=f"columns {format_names(values.columns)}; such as {format_names(wrong)}",
            remedy="several labels a picture are not supported: make one competition a column, with the labels 0 and 1",
        )
    return frame.assign(**{labels.label: marked.idxmax(axis=1)})


def match_ids(ids: Iterable[str], files: Collection[str], *, by_name: bool = True) -> dict[str, str]:
    """Matches ids with pictures: equal texts first, then equal normalised ones where each stands once.

    Where nothing is equal, ids are written otherwise (with folders above, numbers without zeros): names are compared.

    Args:
        ids: of a table.
        files: ids of pictures.
        by_name: compare names where nothing is equal.

    Returns:
        The picture's id by the table's; ids without a picture are not in it.
    """
    asked, there = list(ids), set(files)
    exact = {identity: identity for identity in asked if identity in there}
    matched = exact | _match_by_key(asked, files, exact, normalize_id)
    return matched or (_match_by_key(asked, files, exact, _simplify_id) if by_name else {})


def _match_by_key(
    ids: Iterable[str], files: Iterable[str], without: Collection[str], key_of: Callable[[str], str]
) -> dict[str, str]:
    """Matches ids and files that have a key alone."""
    left, free = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for names, of in ((ids, left), (files, free)):
        for name in names:
            if name not in without:
                of[key_of(name)].append(name)
    return {left[key][0]: free[key][0] for key in left if len(left[key]) == 1 == len(free.get(key, ()))}


def _simplify_id(identity: str) -> str:
    """Returns the name of an id alone: no folders or address, small letters, a number as it is counted."""
    name = normalize_id(normalize_id(identity.partition("?")[0]).rpartition("/")[2]).casefold()
    return re.sub(r"^0+(?=\d+$)", "", re.sub(r"^(\d+)\.0$", r"\1", name))


def normalize_id(identity: str) -> str:
    """Returns an id without what people change unawares: outer blanks, a picture's ending, the encoding of accents."""
    text = unicodedata.normalize("NFC", identity.strip().replace("\\", "/")).removeprefix("./")
    stem, suffix = os.path.splitext(text)
    return stem if suffix.lower() in PICTURE_SUFFIXES else text
