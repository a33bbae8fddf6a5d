"""Formats tables for the terminal and prints blocks of lines."""

import logging
from collections.abc import Collection, Sequence

log = logging.getLogger(__name__)


def print_lines(*blocks: Sequence[str]) -> None:
    """Prints blocks of lines, an empty line before each; blocks without lines are left out."""
    for block in filter(None, blocks):
        for line in ("", *block):
            log.info("%s", line)


def format_text_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Formats the header and the rows, a line each, columns two blanks apart and as wide as their widest cell.

    Args:
        header: names of the columns.
        rows: cells, as many in each row.
        right: the columns that end at the right.
    """
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, header, strict=True)
        ).rstrip()
        for row in (header, *rows)
    ]
