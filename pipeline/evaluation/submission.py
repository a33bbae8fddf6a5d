"""Builds, checks and writes the submission: Kaggle's columns and ids in Kaggle's order."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import Competition
from pipeline.data.tables import SampleSubmission
from pipeline.errors import StarshiftError
from pipeline.files import format_csv, replace_atomic

SUM_TOLERANCE = 1e-6


def build_submission(
    competition: Competition,
    sample: SampleSubmission | None,
    ids: Sequence[str],
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:
    """Builds the submission's table: rows joined by id, in the sample's order.

    Args:
        competition: its submission format.
        sample: None for one's own pictures; then rows are in the order of `ids`.
        ids: one a row of probabilities, in any order.
        probabilities: (pictures, classes) float32.
        classes: names of the columns of probabilities.

    Raises:
        StarshiftError: an id without a prediction or with two, a class that is missing, values that are none.
    """
    spec = competition.submission
    values = _join_predictions(competition, sample, ids, np.asarray(probabilities, np.float64), list(classes))
    order = list(values.index)
    likeliest = np.array(list(classes))[values.to_numpy().argmax(axis=1)]
    if spec is None:
        table = values.copy()
        table.insert(0, "label", likeliest, allow_duplicates=True)
    elif spec.layout == "one column per class":
        table = values[sample.columns[1:]] if sample else values
    elif spec.layout == "class name":
        table = pd.DataFrame({spec.label: likeliest}, index=order)
    else:
        table = values[[str(competition.labels.positive)]].set_axis([spec.label], axis=1)
    table.insert(0, spec.image if spec else "id", order, allow_duplicates=True)
    return table.reset_index(drop=True)


def _join_predictions(
    competition: Competition,
    sample: SampleSubmission | None,
    ids: Sequence[str],
    probabilities: np.ndarray,
    classes: list[str],
) -> pd.DataFrame:
    """Probabilities by id and class, float64, in the sample's order, rows summing to 1."""
    spec = competition.submission
    needed = {*(sample.columns[1:] if sample and spec and spec.layout == "one column per class" else ())}
    if spec and spec.layout == "probability":
        needed.add(str(competition.labels.positive))
    _require(len(set(ids)) == len(ids), "ids", "each once", "some twice")
    _require(needed <= set(classes), "classes", sorted(needed)[:4], classes[:4])
    values = pd.DataFrame(probabilities, index=list(ids), columns=classes)
    order = list(ids) if sample is None else sample.ids
    if len(values) != len(order) or set(values.index) != set(order):
        raise StarshiftError(
            "The predictions are not those that the sample submission asks for.",
            expected=f"{len(order)} ids",
            received=f"{len(values)} predictions, {len(set(order) - set(values.index))} ids without one",
        )
    values = values.loc[order]
    _require(
        bool(np.isfinite(values).all(axis=None) and (values >= 0).all(axis=None) and (values.sum(axis=1) > 0).all()),
        "probabilities",
        "numbers from 0 on, not all of them 0",
        "NaN, negative ones or rows of zeros",
    )
    return values.div(values.sum(axis=1), axis=0)


def check_submission(
    table: pd.DataFrame, competition: Competition, sample: SampleSubmission | None, classes: Sequence[str]
) -> None:
    """Holds a submission against the sample: columns, ids and their order, NaN, range, sums, class names.

    Raises:
        StarshiftError: the first thing that Kaggle would refuse or score wrongly.
    """
    spec = competition.submission
    if sample is not None:
        _require(list(table.columns) == sample.columns, "columns", sample.columns[:4], list(table.columns)[:4])
        _require(list(table.iloc[:, 0]) == sample.ids, "ids or their order", sample.ids[:3], list(table.iloc[:3, 0]))
    _require(not table.iloc[:, 0].duplicated().any(), "ids", "each once", "some twice")
    numbers = table.select_dtypes("number").to_numpy()
    _require(not table.isna().any(axis=None), "values", "no empty ones", "NaN")
    _require(bool(((numbers >= 0) & (numbers <= 1)).all()), "probabilities", "0 to 1", "others")
    if spec is not None and spec.layout == "class name":
        unknown = set(table[spec.label]) - set(classes)
        _require(not unknown, "class names", list(classes)[:4], sorted(unknown)[:4])
    elif spec is None or spec.layout == "one column per class":
        furthest = float(np.abs(numbers.sum(axis=1) - 1).max(initial=0))
        _require(furthest <= SUM_TOLERANCE, "sums of rows", f"1 within {SUM_TOLERANCE}", furthest)


def write_submission(table: pd.DataFrame, *paths: Path) -> None:
    """Writes the CSV file to each path atomically, numbers with nine significant digits.

    The text is read back and compared with the table first, and each file with the text before it takes its name.

    Raises:
        StarshiftError: what was read back differs.
    """
    values = [table.iloc[:, place] for place in range(table.shape[1])]  # by place: two columns may have one name
    columns = [map("{:.9g}".format, one) if pd.api.types.is_numeric_dtype(one) else one for one in values]
    text = format_csv([table.columns, *zip(*columns, strict=True)])
    _check_round_trip(text, table)
    data = text.encode("utf-8")
    for path in paths:
        with replace_atomic(path) as partial:
            partial.write_bytes(data)
            _require(partial.read_bytes() == data, "bytes on disk", f"{len(data)} bytes as written", "others")


def _check_round_trip(text: str, table: pd.DataFrame) -> None:
    """Raises a StarshiftError unless a CSV text holds a table: its header, its rows, each value."""
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    _require(header == list(map(str, table.columns)), "columns when read back", list(table.columns)[:4], header[:4])
    widths = {len(row) for row in rows} - {len(header)}
    _require(len(rows) == len(table) and not widths, "rows when read back", f"{len(table)} rows", f"{len(rows)} rows")
    for place, column in enumerate(zip(*rows, strict=True)):
        values = table.iloc[:, place]
        same = (
            np.allclose(np.array(column, np.float64), values, rtol=1e-8, atol=0)
            if pd.api.types.is_numeric_dtype(values)
            else list(column) == list(map(str, values))
        )
        _require(same, f"values when read back, in {header[place]!r}", list(values[:3]), column[:3])


def _require(condition: bool, what: str, expected: object, received: object) -> None:
    if not condition:
        raise StarshiftError(f"The submission has wrong {what}.", expected=str(expected), received=str(received))
