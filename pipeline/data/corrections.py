"""Corrected labels: a table beside a competition's data, which every command reads; the original ones stay."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import paths
from pipeline.config import Competition, find_comp_argument
from pipeline.data.picture_files import format_names
from pipeline.data.tables import read_csv_as_text
from pipeline.data.validation import check_class_counts
from pipeline.errors import StarshiftError, require
from pipeline.files import format_csv, hash_json, write_text

CORRECTIONS_FILE = "corrections.csv"
SUGGESTION_COLUMNS = ("id", "label", "suggested", "confidence", "apply")
"""Of the file that an audit writes; `confidence` is not read."""
STORED_COLUMNS = ("id", "label", "corrected")


@dataclass(frozen=True)
class Corrections:
    """The corrected labels of a competition.

    Args:
        path: of their table.
        labels: original and corrected label, by id.
    """

    path: Path
    labels: dict[str, tuple[str, str]]

    @property
    def record(self) -> dict[str, Any]:
        """How many there are, and the SHA-256 of which: part of a run's config.json and fingerprint."""
        return {"corrected": len(self.labels), "sha256": hash_json(self.labels)}

    @property
    def line(self) -> str:
        """How many labels are corrected, and by which table."""
        return f"{len(self.labels):,} corrected by {paths.format_path(self.path)}"


def find_corrections_path(name: str) -> Path:
    """Returns the path of a competition's table of corrected labels."""
    return paths.competition_folder(name) / CORRECTIONS_FILE


def read_corrections(name: str) -> Corrections | None:
    """Reads the corrected labels of a competition; None where there are none.

    Raises:
        StarshiftError: the table is damaged.
    """
    path = find_corrections_path(name)
    if not path.exists():
        return None
    frame = _read_table(path, STORED_COLUMNS, f"{_build_command(name)} --undo removes it")
    pairs = zip(frame["label"], frame["corrected"], strict=True)
    return Corrections(path, dict(zip(frame["id"], pairs, strict=True)))


def correct_labels(name: str, label_of: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels of a competition with the corrected ones in their places.

    Args:
        name: of the competition.
        label_of: original labels, by id.

    Raises:
        StarshiftError: a picture with a corrected label is gone, or has another original label now.
    """
    corrections = read_corrections(name)
    if corrections is None:
        return dict(label_of)
    stale = [identity for identity, (label, _) in corrections.labels.items() if label_of.get(identity) != label]
    require(
        not stale,
        "The corrected labels do not fit the data any more.",
        expected=f"the pictures and the original labels of {paths.format_path(corrections.path)}",
        received=f"{len(stale)} that are gone or have another label, such as {stale[:1]}",
        remedy=f"{_build_command(name)} --undo goes back to the original labels",
    )
    return {**label_of, **{identity: corrected for identity, (_, corrected) in corrections.labels.items()}}


def apply_corrections(competition: Competition, label_of: Mapping[str, str], path: Path) -> Corrections:
    """Corrects the labels that a file of an audit marks with `yes`, beside those that are corrected already.

    Args:
        competition: whose labels.
        label_of: its labels as they are now, by id.
        path: of the file: SUGGESTION_COLUMNS.

    Raises:
        StarshiftError: the file does not fit the labels, or leaves a class with too few pictures; nothing is changed.
    """
    name, before = competition.name, read_corrections(competition.name)
    pairs = dict(before.labels) if before else {}
    original = {identity: pairs[identity][0] if identity in pairs else label for identity, label in label_of.items()}
    suggested = _read_accepted(path, label_of, set(original.values()))
    pairs |= {identity: (original[identity], label) for identity, label in suggested.items()}
    pairs = {identity: pair for identity, pair in sorted(pairs.items()) if pair[0] != pair[1]}
    labels = {**original, **{identity: corrected for identity, (_, corrected) in pairs.items()}}
    check_class_counts(competition, pd.DataFrame({"label": labels.values()}), sorted(set(original.values())))
    made = Corrections(find_corrections_path(name), pairs)
    if not pairs:
        made.path.unlink(missing_ok=True)
        return made
    write_text(made.path, format_csv([STORED_COLUMNS, *((one, *pair) for one, pair in pairs.items())]))
    return made


def remove_corrections(name: str) -> Corrections:
    """Removes the corrected labels of a competition, and returns what they were.

    Raises:
        StarshiftError: there are none.
    """
    path = find_corrections_path(name)
    require(path.exists(), f"No labels of {name} are corrected.", expected=paths.format_path(path), received="no file")
    try:
        before = read_corrections(name)
    except StarshiftError:  # a damaged table is removed, too
        before = None
    path.unlink()
    return before or Corrections(path, {})


def read_suggestions(path: Path) -> pd.DataFrame:
    """Reads a file of SUGGESTION_COLUMNS, as text; without `confidence` where it has none.

    Raises:
        StarshiftError: it is missing, no table, or lacks a column.
    """
    needed = [column for column in SUGGESTION_COLUMNS if column != "confidence"]
    frame = _read_table(path, needed, "invoke audit writes such a file; mark the apply column with yes or no")
    return frame.assign(apply=frame["apply"].str.strip().str.lower(), suggested=frame["suggested"].str.strip())


def _read_accepted(path: Path, label_of: Mapping[str, str], classes: set[str]) -> dict[str, str]:
    """Returns the suggested labels that a file marks with `yes`, by id; every row must fit the labels."""
    frame = read_suggestions(path)
    ids, accepted = frame["id"], frame["apply"] == "yes"
    current = ids.map(label_of)
    for wrong, message, expected, column in (
        (~frame["apply"].isin(["yes", "no", ""]), "marks rows with other words", "yes or no in the column apply",
         "apply"),
        (ids.duplicated(), "names pictures twice", "one row a picture", "id"),
        (~ids.isin(list(label_of)), "names unknown pictures", "ids of training pictures, as the data has them", "id"),
        (~frame["suggested"].isin(classes), "suggests unknown classes", format_names(sorted(classes)), "suggested"),
        (accepted & (frame["label"] != current) & (frame["suggested"] != current),
         "is of other labels than the data's", "the label that each picture has now", "label"),
    ):  # fmt: skip
        rows = frame[wrong]
        examples = ", ".join(f"{row[column]!r} of {row['id']!r}" for _, row in rows.head(3).iterrows())
        require(
            rows.empty, f"{path.name} {message}.", expected=expected,
            received=f"{len(rows)} of {len(frame)} rows: {examples}", remedy="put them right; no label is changed",
        )  # fmt: skip
    require(accepted.any(), f"{path.name} corrects nothing.", expected="yes in the column apply of at least one row",
            received=f"{len(frame)} rows", remedy="mark the rows that you agree with")  # fmt: skip
    return dict(zip(ids[accepted], frame.loc[accepted, "suggested"], strict=True))


def _read_table(path: Path, columns: tuple[str, ...] | list[str], remedy: str) -> pd.DataFrame:
    """Reads a CSV file with these columns, as text."""
    try:
        frame, received = read_csv_as_text(path), ""
    except (StarshiftError, OSError) as error:
        frame, received = pd.DataFrame(), str(getattr(error, "received", "") or error)
    missing = [column for column in columns if column not in frame.columns]
    require(
        not missing, f"{path.name} is no table of corrected labels.", expected=f"the columns {', '.join(columns)}",
        received=received or ", ".join(frame.columns), remedy=remedy,
    )  # fmt: skip
    return frame


def _build_command(name: str) -> str:
    return f"invoke labels.apply --comp {find_comp_argument(name)}"
