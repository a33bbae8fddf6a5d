"""Writes report.html into a run's folder: collects the sections and renders one page that needs no other file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.figures.style import BLUE, GREEN, GREY, INK, ORANGE, RULE
from pipeline.files import write_text
from pipeline.run_report import provenance, results
from pipeline.run_report.examples import PictureSections, build_audit_command
from pipeline.run_report.provenance import build_report_command
from pipeline.run_report.results import ValidationResult
from pipeline.runs.load import Run, find_run_folder, load_run
from pipeline.runs.novelty import find_digests
from pipeline.terminal import name_program

REPORT_FILE = "report.html"
CONTENTS = (
    ("confusions", "Confusions"), ("classes", "Classes"), ("worst", "Worst pictures"), ("sight", "What it looks at"),
    ("calibration", "Calibration"), ("curves", "Learning curves"), ("steps", "Steps"), ("audit", "Audit"),
    ("map", "Map"), ("origin", "Recipe"), ("time", "Time"), ("files", "Files and commands"),
)  # fmt: skip
"""The sections of the page: anchor and name."""
COLOURS = {"ink": INK, "grey": GREY, "rule": RULE, "blue": BLUE, "orange": ORANGE, "green": GREEN}


def write_report(
    folder: Path, digests: Mapping[str, str] | None = None, *, tsne: bool = False, maps: bool = False
) -> Path:
    """Writes report.html into the folder of a finished run, and returns its path.

    Args:
        folder: of the run.
        digests: SHA-256 of each training picture, by id; None looks them up in the competition's data.
        tsne: draw the map by t-SNE instead of PCA; takes some seconds.
        maps: show what the run looks at; loads its bases, which takes some seconds more.

    Raises:
        StarshiftError: the run is not finished, or a file of it is missing or damaged.
    """
    run = load_run(folder)
    data = collect_report(run, find_digests(run) if digests is None else digests, tsne=tsne, maps=maps)
    path = folder / REPORT_FILE
    write_text(path, render_page("run.html", data))
    return path


def write_report_of(text: str, comp: str | None, *, tsne: bool = False, maps: bool = False) -> Path:
    """Writes the report of the run of this name, of a name that begins like this, or at this path."""
    return write_report(find_run_folder(text, comp), tsne=tsne, maps=maps)


def collect_report(run: Run, digests: Mapping[str, str], *, tsne: bool = False, maps: bool = False) -> dict[str, Any]:
    """Collects what the page shows, as plain data and charts; arguments as of `write_report`."""
    result, name = ValidationResult.load(run), run.config["competition"]["name"]
    pictures = PictureSections(result, digests)
    bases = ", ".join(run.recipe.get("bases", ()))
    return {
        "title": f"{name}: {run.folder.name}",
        "kicker": f"Starshift run report, strategy {run.recipe['strategy']}{', ' + bases if bases else ''}",
        "footer": "One file: works offline, and sends no request.",
        "contents": CONTENTS,
        "pictures": len(result.ids),
        "classes": result.classes,
        "headline": results.build_headline(run),
        "confusions": results.build_confusions(result),
        "class_scores": results.build_class_scores(result),
        "worst": pictures.build_worst(),
        "maps": pictures.build_maps() if maps else None,
        "maps_command": f"{build_report_command(run)} --maps",
        "calibration": results.build_calibration(result),
        "curves": results.build_curves(run),
        "steps": results.build_steps(result),
        "members": provenance.build_members(run.config),
        "audit": pictures.build_audit(),
        "audit_command": build_audit_command(name),
        "embedding": pictures.build_map(tsne=tsne),
        "recipe": provenance.build_recipe(run),
        "environment": provenance.build_environment(run),
        "timing": provenance.build_timing(run),
        "files": provenance.build_files(run.folder),
        "commands": provenance.build_commands(run),
        "folder": paths.format_path(run.folder),
    }


def render_page(template: str, data: Mapping[str, Any]) -> str:
    """Renders a template of this package; every name is escaped, and an unknown one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return name_program(environment.get_template(template).render({**data, "colours": COLOURS}))
