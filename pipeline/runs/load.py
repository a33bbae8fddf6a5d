"""A finished run read again: found by what its name begins with, its held-out predictions joined to their labels."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.runs import folder as runs
from pipeline.runs import listing


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a finished run's folder holds, as far as it is compared.

    Args:
        folder: the run's.
        config: config.json.
        environment: environment.json.
        results: metrics.json.
        classes: names, sorted.
        label: class name by id, of all training pictures.
        fold: by id.
        held: probabilities (classes,) by id, of the pictures that a trained fold held out; in the order of `classes`.
    """

    folder: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    results: Mapping[str, Any]
    classes: list[str]
    label: dict[str, str]
    fold: dict[str, int]
    held: dict[str, np.ndarray]

    @property
    def positive(self) -> int | None:
        """The number of the class whose probability is asked for, or None."""
        wanted = self.config["competition"].get("labels", {}).get("positive")
        return self.classes.index(wanted) if wanted in self.classes else None


def read_strategy(config: Mapping[str, Any]) -> str:
    """The rung that a run's models were trained on; the recipe of one with teachers or pseudo-labels names those.

    Args:
        config: the run's config.json.
    """
    rung = str(config.get("distillation", config["competition"]["recipe"])["rung"])
    return "features" if rung == "pseudo" else rung


def find_run_folder(text: str, comp: str | None) -> Path:
    """The run folder of this name, of a name that begins like this, or at this path.

    Raises:
        StarshiftError: none, or several.
    """
    if listing.is_run(Path(text).expanduser()):
        return Path(text).expanduser()
    names = [listing.find_competition_name(comp)] if comp else listing.list_competitions()
    folders = sorted(
        folder for name in names for folder in paths.runs_folder(name).glob("*/") if listing.is_run(folder)
    )
    whole = [folder for folder in folders if text == folder.name or folder.name.startswith(f"{text}-")]
    matching = whole or [folder for folder in folders if text and folder.name.startswith(text)]
    if len(matching) != 1:
        several = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in matching[:5])
        raise StarshiftError(
            f"{'No run' if not matching else 'More than one run'} is called {text!r}.",
            expected="a run folder's name, a beginning that only one has, or a path",
            received=f"{len(matching)} runs: {several}" if matching else f"none of {len(folders)} runs",
            remedy=f"invoke runs{' --comp ' + comp if comp else ''} lists them",
        )
    return matching[0]


def load_run(folder: Path) -> Run:
    """Reads a finished run.

    Raises:
        StarshiftError: it is unfinished, or a file of it is missing.
    """
    config, results = read_json(folder / "config.json"), read_json(folder / "metrics.json")
    needed = [name for name in ("folds.csv", "oof.npz") if not (folder / name).is_file()]
    if not config or not results or needed:
        raise StarshiftError(
            f"The run {folder.name} is not finished.",
            expected="config.json, metrics.json, folds.csv and oof.npz",
            received=f"without {', '.join(needed) or 'metrics.json'}",
            remedy="the command that started it finishes it",
        )
    with (folder / "folds.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids, classes, probabilities = runs.read_predictions(folder / "oof.npz")
    order = np.argsort(classes)
    kept = np.isfinite(probabilities).all(axis=1)
    return Run(
        folder=folder,
        config=config,
        environment=read_json(folder / "environment.json") or {},
        results=results,
        classes=sorted(classes),
        label={row["id"]: row["label"] for row in rows},
        fold={row["id"]: int(row["fold"]) for row in rows},
        held={name: row[order] for name, row, whole in zip(ids, probabilities, kept, strict=True) if whole},
    )
