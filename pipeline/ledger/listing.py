"""All runs of a competition, read from their folders: finished, debug and unfinished ones."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import competitions
from pipeline import paths, runs
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.kaggle.answers import answer_to
from pipeline.kaggle.standing import board_of, top_of
from pipeline.recipe import FROM_NOTHING
from pipeline.report.listed import Listed, ordered, told


def names() -> list[str]:
    """The competitions that have runs."""
    return sorted({folder.parent.name for folder in paths.runs_folder("x").parent.glob("*/*/") if is_run(folder)})


def name_of(comp: str) -> str:
    """The competition's name: of the repository's, of a file's, or of a folder below data/runs (a ladder's)."""
    return comp if comp in names() else competitions.find(comp).name


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's: config.json is written first."""
    return (folder / "config.json").is_file()


def every(name: str) -> list[Listed]:
    """The runs of a competition, the oldest first."""
    folders = sorted(folder for folder in paths.runs_folder(name).glob("*/") if is_run(folder))
    starts = Counter(start(folder) for folder in folders)
    return [read(folder, start(folder) if starts[start(folder)] == 1 else folder.name) for folder in folders]


def start(folder: Path) -> str:
    """When a run started, as its folder's name begins: `20261124-203219`, or `20261124-203219.2`."""
    return "-".join(folder.name.split("-")[:2])


def read(folder: Path, handle: str) -> Listed:
    """One run's folder."""
    config: Mapping[str, Any] = read_json(folder / "config.json") or {}
    results: Mapping[str, Any] = read_json(folder / "metrics.json") or {}
    competition = config.get("competition", {})
    recipe = competition.get("recipe", {})
    debug = bool(config.get("debug"))
    folds = tuple(config.get("folds", ()))
    board = board_of(competition.get("slug"), results.get("metric", "")) if not debug else None
    return Listed(
        run=folder.name,
        handle=handle,
        state="unfinished" if not results else "debug" if debug else "finished",
        metric=results.get("metric", competition.get("metric", "log_loss")),
        score=results.get("score"),
        spread=results.get("spread") if len(folds) > 1 else None,
        accuracy=results.get("accuracy"),
        rung=recipe.get("rung", ""),
        bases=() if recipe.get("rung") in FROM_NOTHING else tuple(recipe.get("bases", ())),
        folds=folds,
        of_folds=recipe.get("folds", len(folds)),
        seconds=results.get("seconds"),
        fingerprint=config.get("fingerprint", ""),
        recipe=runs.flat(recipe),
        answer=answer_to(folder),
        top=top_of(board, results["score"]) if board else None,
        split=runs.split_of(folder),
    )


def show(comp: str | None, *, as_json: bool = False) -> None:
    """Prints the runs of a competition, or of every one that has any.

    Args:
        comp: a competition's name, or the path of its file; None is all.
        as_json: print them as one JSON object, runs by competition, the best first.
    """
    found = {name: every(name) for name in ([name_of(comp)] if comp else names())}
    if not any(found.values()):
        raise StarshiftError(
            f"There is no run{' of ' + comp if comp else ''} yet.",
            expected=f"a folder in {paths.shown(paths.runs_folder(name_of(comp) if comp else ''))}",
            remedy=f"invoke run --comp {comp or 'NAME'}",
        )
    if as_json:
        print(json.dumps({name: [record(name, one) for one in best_first(each)] for name, each in found.items()}))
        return
    for name, each in found.items():
        told(name, each, competitions.find(name).metric if name in competitions.names() else None)


def best_first(found: list[Listed]) -> list[Listed]:
    """By metric, then the best first."""
    return [
        one
        for metric in dict.fromkeys(each.metric for each in found)
        for one in ordered([each for each in found if each.metric == metric], metric)
    ]


def record(name: str, one: Listed) -> dict[str, Any]:
    """A run as plain JSON values, with its folder."""
    return {**asdict(one), "folder": str(paths.runs_folder(name) / one.run)}
