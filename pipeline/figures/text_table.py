"""Formats tables as text: columns two blanks apart, numbers at the right, within the terminal's width."""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.terminal import ESCAPE, find_width, measure_width

GAP = "  "
MIN_TEXT_WIDTH = 16
"""Columns of text are not cut below this width, which holds the name by which a run is found."""
NUMBER = r"[+-]?[\d,]*\.?\d+(e[+-]?\d+)?( ?%| (MB|GB|s|h|px))?"
NUMERIC_CELL = re.compile(
    rf"([<>] ?)?{NUMBER}( ± ({NUMBER}|unknown)|/\d+| \({NUMBER} to {NUMBER}\))?(, but p = {NUMBER})?"
)


Cell = str | Callable[[Any], str]
"""How a record becomes a cell: a template such as `{score:.5f}`, or a function of the record."""


def format_records(records: Sequence[Any], columns: Mapping[str, Cell], indent: int = 0) -> list[str]:
    """Formats records as a table, see `format_text_table`; columns without any value are left out.

    Args:
        records: one a row; mappings, where a cell is a template.
        columns: what a cell shows, by the column's name; a template with a field that is None is empty.
        indent: columns that the caller puts before each line.
    """
    rows = [[_format_cell(record, cell) for cell in columns.values()] for record in records]
    used = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    header = list(columns)
    return (
        format_text_table([header[n] for n in used], [[row[n] for n in used] for row in rows], indent) if used else []
    )


def _format_cell(record: Any, cell: Cell) -> str:
    """Formats one cell of a record."""
    if callable(cell):
        return cell(record)
    names = [name for _, name, _, _ in string.Formatter().parse(cell) if name]
    return "" if any(record[name] is None for name in names) else cell.format_map(record)


def format_text_table(header: Sequence[str], rows: Sequence[Sequence[str]], indent: int = 0) -> list[str]:
    """Formats the header and the rows, a line each, columns as wide as their widest cell.

    On a terminal, columns of text are cut until the table fits. Where that is not enough, none is: the columns that do
    not fit follow below an empty line, beside the first one once more.

    Args:
        header: names of the columns, with their units.
        rows: cells, as many in each row; a column of numbers alone ends at the right.
        indent: columns that the caller puts before each line.
    """
    columns = [list(column) for column in zip(header, *rows, strict=True)]
    numeric = [is_numeric(column[1:]) for column in columns]
    limit = find_width()
    if limit is not None:
        columns = _shrink_text(columns, numeric, limit - indent)
    lines: list[str] = []
    for part in _split_columns(columns, None if limit is None else limit - indent):
        lines += [""] if lines else []
        widths = {number: max(map(measure_width, columns[number])) for number in part}
        for row in range(len(rows) + 1):
            cells = []
            for number in part:
                cell = columns[number][row]
                blanks = " " * (widths[number] - measure_width(cell))
                cells.append(blanks + cell if numeric[number] else cell + blanks)
            lines.append(GAP.join(cells).rstrip())
    return lines


def is_numeric(cells: Sequence[str]) -> bool:
    """Returns whether the cells are numbers, with their units, spreads and intervals; some may be empty.

    Numbers of which only some have a spread are aligned at the left, where their points are below each other.
    """
    filled = [ESCAPE.sub("", cell) for cell in cells if cell]
    return len({"±" in cell for cell in filled}) == 1 and all(NUMERIC_CELL.fullmatch(cell) for cell in filled)


def _compute_width(columns: Sequence[Sequence[str]]) -> int:
    """Computes the width of a table of these columns."""
    return sum(max(map(measure_width, column)) for column in columns) + len(GAP) * (len(columns) - 1)


def _shrink_text(columns: list[list[str]], numeric: Sequence[bool], limit: int) -> list[list[str]]:
    """Cuts the widest columns of text until the table fits; leaves it as it is where that is not enough."""
    widths = [max(map(measure_width, column)) for column in columns]
    least = [max(MIN_TEXT_WIDTH, measure_width(column[0])) for column in columns]
    while sum(widths) + len(GAP) * (len(widths) - 1) > limit:
        wide = [number for number in range(len(columns)) if not numeric[number] and widths[number] > least[number]]
        if not wide:
            return columns
        widths[max(wide, key=lambda number: widths[number])] -= 1
    return [[_cut(cell, width) for cell in column] for column, width in zip(columns, widths, strict=True)]


def _cut(text: str, width: int) -> str:
    """Returns a text of at most this width; one that is cut loses its colours."""
    return text if measure_width(text) <= width else ESCAPE.sub("", text)[: width - 1] + "…"


def _split_columns(columns: Sequence[Sequence[str]], limit: int | None) -> list[list[int]]:
    """Splits the numbers of columns into tables that fit, each beginning with the first column."""
    parts = [[0]]
    for number in range(1, len(columns)):
        if (
            limit is not None
            and len(parts[-1]) > 1
            and _compute_width([columns[n] for n in (*parts[-1], number)]) > limit
        ):
            parts.append([0])
        parts[-1].append(number)
    return parts
