"""The sections of a report on where a run comes from: recipe, environment, time, files, commands to repeat it."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import competitions
from pipeline.config import Recipe, Training, find_comp_argument
from pipeline.runs.folder import flatten_mapping
from pipeline.runs.listing import DERIVED_STRATEGIES
from pipeline.runs.load import Run, read_strategy
from pipeline.settings import format_setting

Section = dict[str, Any]
FILES = {
    "config.json": "what decides the result: competition, recipe, folds",
    "note.json": "the name and the note of the user",
    "digests.json": "SHA-256 of each file that the run is read from, by name; what has other bytes is refused",
    "environment.json": "versions, commit, device, digests of weights",
    "folds.csv": "label, fold and group of every training picture",
    "history.csv": "each epoch, each fit of a head, or each step of an ensemble",
    "oof.npz": "out-of-fold predictions",
    "test.npz": "predictions of the test pictures",
    "metrics.json": "scores, time and memory",
    "leaderboard.json": "Kaggle's answer to the submission",
    "model.keras": "the model, all folds averaged: pictures in, probabilities out",
    "model.json": "how to load model.keras and feed it, and what to expect of it",
    "final.keras": "one network trained on all pictures (--final)",
    "final.json": "how to load final.keras and feed it, and what to expect of it",
    "exports": "the model in other formats (invoke export)",
    "heads.npz": "the trained heads, by which invoke predict predicts new pictures",
    "models": "the model of each fold",
    "folds": "what each fold's process wrote",
    "submission.csv": "the submission",
    "steps.png": "the steps of an ensemble",
    "report.html": "the report, one page that works offline",
    "tensorboard": "TensorBoard's files (--tensorboard)",
    "kernel.json": "the Kaggle kernel that made the run",
    "session.log": "the log of its last session",
}
"""What the files of a run folder are, in the order of the page and of docs/run-folder.md."""
FLAGS = {
    "strategy": "--strategy", "size": "--size", "head": "--head", "seed": "--seed",
    "training.epochs": "--epochs", "training.unfreeze": "--unfreeze",
}  # fmt: skip
"""The flags of `invoke run` that set a field of the recipe, beside --base and --grouped; --set sets the others."""
MIN_FINISH_FOLDS = 3
"""As ensemble/members.py demands."""


def build_recipe(run: Run) -> list[tuple[str, str]]:
    """Lists the fields of the recipe that have a value; how a network is trained with every default in its place."""
    recipe: dict[str, Any] = dict(run.recipe)
    training = recipe.pop("training")
    strategy = read_strategy(run.config)
    if strategy not in ("features", *DERIVED_STRATEGIES):
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in training.items()
        }
        recipe["training"] = asdict(Training(**values).resolved(strategy))
    if continued := run.config.get("continued"):
        recipe["continued"] = f"from the weights of {continued['run']}"
    if corrected := run.config.get("labels"):
        recipe["labels"] = f"{corrected['corrected']:,} corrected, SHA-256 {corrected['sha256'][:16]}"
    flat = flatten_mapping(recipe)
    return [(name, _format_value(value)) for name, value in flat.items() if value not in (None, (), [])]


def build_environment(run: Run) -> list[tuple[str, str]]:
    """Lists versions, commit, device, cores, seed and digests of weights."""
    stored = flatten_mapping(run.environment)
    return [(name, _format_value(value)) for name, value in stored.items() if value not in (None, "")]


def _format_value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def build_timing(run: Run) -> Section:
    """Builds time and memory: each stage's where they are kept, each fold's of a network, and the whole run's."""
    results = run.results
    stages, total = results.get("stages", []), float(results.get("seconds", 0.0))
    longest = max((stage["seconds"] for stage in stages), default=0.0)
    memory = results.get("peak_megabytes")
    return {
        "seconds": f"{total:,.1f}",
        "memory": f"{memory:,.0f}" if memory else "",
        "stages": [
            {
                "name": stage["name"], "seconds": f"{stage['seconds']:,.1f}",
                "length": round(100 * stage["seconds"] / longest) if longest else 0,
                "memory": f"{stage['peak_megabytes']:,.0f}" if stage["peak_megabytes"] else "",
            }
            for stage in stages
        ],
        "folds": [
            {name: fact[name] for name in ("fold", "epochs", "best_epoch")} | {"seconds": f"{fact['seconds']:,.0f}"}
            for fact in results.get("training", [])
        ],
        "speed": {
            text: speed
            for text, choice in results.get("engines", {}).items()
            if (speed := (choice.get("pictures_per_second") or {}).get(choice["engine"]))
        },
    }  # fmt: skip


def build_files(folder: Path) -> list[Section]:
    """Lists the files of a run folder, with their sizes; a folder counts as the sum of its files."""
    order = {name: place for place, name in enumerate(FILES)}
    present = sorted(folder.iterdir(), key=lambda path: (order.get(path.name, len(order)), path.name))
    return [
        {"name": path.name, "what": FILES.get(path.name, ""), "size": _format_size(_measure(path))}
        for path in present
        if not path.name.startswith(".") and path.name != "report.html"
    ]


def _measure(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _format_size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def build_commands(run: Run) -> list[tuple[str, str]]:
    """Builds the commands that make the run again, each with what it does."""
    name, commit = run.config["competition"]["name"], str(run.environment.get("commit") or "")
    comp, commands = find_comp_argument(name), list[tuple[str, str]]()
    if commit:
        changed = "; there were uncommitted changes, which it does not have" if commit.endswith("+changes") else ""
        commands.append((f"git checkout {commit.partition('+')[0]}", f"The code of that commit{changed}"))
    if run.config.get("made_of"):
        commands.append(
            (f"invoke ensemble --comp {comp} --rebuild {run.folder.name}", "The same run, made again of its members")
        )
    else:
        also = "; with the labels corrected as they were (invoke labels.apply)" if run.config.get("labels") else ""
        commands.append((build_run_command(run, comp), f"The same run{also}"))
        if not run.config.get("debug") and len(run.config["folds"]) == run.recipe["folds"] >= MIN_FINISH_FOLDS:
            commands.append((f"invoke finish --comp {comp} --run {run.folder.name}", "What calibration would bring"))
    return [*commands, (build_report_command(run), "This page again")]


def build_report_command(run: Run) -> str:
    """Builds the command that writes the page again."""
    return f"invoke report --comp {find_comp_argument(run.config['competition']['name'])} --run {run.folder.name}"


def build_run_command(run: Run, comp: str) -> str:
    """Builds the command of a run on its competition's recipe.

    Args:
        run: the run.
        comp: the competition as --comp takes it.
    """
    name, config = run.config["competition"]["name"], run.config
    own = competitions.find(name).recipe if name in competitions.names() else Recipe()
    before, after = flatten_mapping(asdict(own)), flatten_mapping(run.recipe)
    parts = ["invoke", "run", "--comp", comp]
    for field, value in after.items():
        was = before.get(field)
        if value == (list(was) if isinstance(was, tuple) else was) or (config.get("debug") and field == "folds"):
            continue
        if field == "grouping" and value == "estimated":
            parts.append("--grouped")
        elif field == "bases":
            parts += [word for base in value for word in ("--base", shlex.quote(base))]
        elif field in FLAGS and (value is not None or field == "size"):
            parts += [FLAGS[field], "own" if value is None else shlex.quote(str(value))]
        else:
            parts += ["--set", shlex.quote(format_setting(field, value))]
    if len(config["folds"]) < run.recipe["folds"]:
        parts += [word for fold in config["folds"] for word in ("--fold", str(fold))]
    parts += ["--continue", config["continued"]["run"]] if config.get("continued") else []
    parts += ["--debug"] if config.get("debug") else []
    engine = config.get("engine", "auto")
    return " ".join([*parts, *([] if engine == "auto" else ["--engine", engine])])


def build_members(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lists the runs that a run is made of, with their weights where the method has one for each."""
    members = config.get("made_of") or []
    weights = (config.get("fitted") or {}).get("weights") or [None] * len(members)
    pairs = zip(members, weights, strict=True) if len(weights) == len(members) else [(one, None) for one in members]
    return [(one["run"], "" if weight is None else f"{weight:.3f}") for one, weight in pairs]
