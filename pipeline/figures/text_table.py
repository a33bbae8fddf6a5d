"""A table on the terminal: columns as wide as their widest cell, numbers to the right."""

from collections.abc import Collection, Sequence


def format_text_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """The header and the rows, a line each, columns two blanks apart.

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
