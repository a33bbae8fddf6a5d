"""Pages of experiments and comparisons, in the style of the run's report: conclusions, a picture, and tables."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.files import write_text
from pipeline.run_report.write import REPORT_FILE, render_page
from pipeline.runs.compare import RunComparison, format_class_verdict, format_setting, format_verdict
from pipeline.runs.listing import (
    RunSummary,
    format_bases,
    format_conclusions,
    format_folds,
    format_number,
    format_score,
    group_by_metric,
)

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


@dataclass(frozen=True)
class PageCell:
    """A cell of a page's table whose text is not just its value.

    Args:
        text: that is shown.
        value: a number that is sorted by; None for text.
        href: address that the text links to.
    """

    text: str
    value: float | None = None
    href: str = ""


def build_row(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Builds the cells of a row: text, link, and whether it is a number, which can be sorted by."""
    cells = [value if isinstance(value, PageCell) else build_cell(value) for value in record.values()]
    return [
        {"text": cell.text, "value": cell.value, "number": cell.value is not None, "href": cell.href} for cell in cells
    ]


def build_cell(value: Any) -> PageCell:
    """Builds the cell of a plain value; None is empty."""
    if value is None:
        return PageCell("")
    if isinstance(value, float):
        return PageCell(f"{value:.5g}", value)
    return PageCell(f"{value:,}", value) if type(value) is int else PageCell(str(value))


def write_runs_page(path: Path, listed: Mapping[str, Sequence[RunSummary]]) -> Path:
    """Writes the page of the runs of competitions, the best first, each with a link to its report.

    Args:
        path: of the page.
        listed: runs by competition, from `print_all_runs`.
    """
    tables, conclusions = {}, list[str]()
    for name, result in listed.items():
        for metric, chosen in group_by_metric(result).items():
            caption = f"{name}, by {metric}"
            records = [build_run_record(path, name, rank, one) for rank, one in enumerate(chosen, start=1)]
            used = [column for column in records[0] if any(record[column] not in (None, "") for record in records)]
            tables[caption] = [{column: record[column] for column in used} for record in records]
            conclusions += [f"{caption}: {line}" for line in format_conclusions(chosen)]
    title = f"Runs of {', '.join(listed)}"
    return write_experiment_page(path, title=title, kind="list of runs", conclusions=conclusions, tables=tables)


def build_run_record(path: Path, name: str, rank: int, one: RunSummary) -> dict[str, Any]:
    """Builds the record of a run in the page's table; its report is linked relative to the page."""
    report, answer = paths.runs_folder(name) / one.run / REPORT_FILE, one.answer
    link = os.path.relpath(report.resolve(), path.resolve().parent) if report.exists() else ""
    return {
        "rank": rank if one.state == "finished" else None,
        "run": PageCell(one.run, href=Path(link).as_posix() if link else ""),
        "name": one.name,
        "score ± spread": PageCell(format_score(one), one.score),
        "chance": one.chance,
        "accuracy": build_number_cell(one.accuracy, ".1%"),
        "standing, top %": build_number_cell(one.top, ".1f"),
        "public": answer and answer.public,
        "private": answer and answer.private,
        "strategy": one.strategy,
        "bases": format_bases(one),
        "folds trained": format_folds(one),
        "seconds": build_number_cell(one.seconds, ",.0f"),
        "state": "" if one.state == "finished" else one.state,
        "continues": one.continued,
        "note": one.note,
    }


def build_number_cell(value: float | None, form: str) -> PageCell | None:
    """Builds the cell of a number in a format; None where it is not known."""
    return None if value is None else PageCell(format_number(value, form), value)


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
            "verdict": format_class_verdict(one),
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
