"""Pages of experiments and comparisons, in the style of the run's report: conclusions, a picture, and tables."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.files import write_text
from pipeline.run_report.write import render_page
from pipeline.runs.compare import RunComparison, format_setting, format_verdict

Records = Sequence[Mapping[str, Any]]
HIDDEN_COLUMN = "folds"
"""The scores of single folds, which the CSV file beside a page has."""


def write_experiment_page(
    path: Path,
    *,
    title: str,
    kind: str,
    conclusions: Sequence[str],
    tables: Mapping[str, Records],
    picture: bytes | None = None,
) -> Path:
    """Writes the page of an experiment, and returns its path.

    Args:
        path: of the page.
        title: the finding or the subject; also the alternative text of the picture.
        kind: of experiment, in a word or two.
        conclusions: sentences.
        tables: records by the caption of their table; all records of a table have the same columns.
        picture: a PNG file.
    """
    data = {
        "title": title,
        "kicker": f"Starshift {kind}",
        "footer": "One file: works offline, and sends no request.",
        "conclusions": conclusions,
        "tables": [
            {"caption": caption, "columns": list(rows[0]), "rows": [build_row(one) for one in rows]}
            for caption, records in tables.items()
            if (rows := [{name: one[name] for name in one if name != HIDDEN_COLUMN} for one in records])
        ],
        "picture": f"data:image/png;base64,{base64.b64encode(picture).decode()}" if picture else "",
    }
    write_text(path, render_page("experiment.html", data))
    return path


def build_row(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Builds the cells of a row: text, and whether it is a number, which can be sorted by."""
    return [
        {
            "text": f"{value:.5g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value),
            "value": value,
            "number": isinstance(value, (int, float)) and not isinstance(value, bool),
        }
        for value in record.values()
    ]


def write_comparison_page(path: Path, result: RunComparison) -> Path:
    """Writes the page of two compared runs: the verdict, what differs, and the classes that moved."""
    sides = {"A": result.before, "B": result.after}
    runs = [
        {"side": name, "run": side.listed.run, side.listed.metric: side.listed.score, "pictures": side.pictures}
        for name, side in sides.items()
    ]
    differing = [
        {"setting": name, "A": format_setting(one), "B": format_setting(other)} for name, one, other in result.differing
    ]
    moved = sorted(result.changes, key=lambda one: one.after - one.before, reverse=True)
    classes = [
        {
            "class": one.name, "pictures": one.pictures, "A": one.before, "B": one.after,
            "net": one.gained - one.lost, "p": one.p_value,
            "verdict": "beyond noise" if one.beyond_noise else "within noise",
        }
        for one in moved
        if one.gained or one.lost
    ]  # fmt: skip
    return write_experiment_page(
        path,
        title=f"{result.before.listed.run} against {result.after.listed.run}",
        kind="comparison of two runs",
        conclusions=format_verdict(result),
        tables={"Runs": runs, "What differs": differing, "Classes that moved, accuracy of A and B": classes},
    )
