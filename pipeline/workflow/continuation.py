"""Goes on from the weights of a finished run: checks that it fits, and says what is continued and what begins anew.

The models of a run have its weights, not the state of its optimizer: training begins a new learning-rate schedule.
"""

from pathlib import Path
from typing import Any

from pipeline.config import Competition
from pipeline.data.folds import read_folds
from pipeline.errors import require
from pipeline.files import hash_file, read_json
from pipeline.models.base import list_networks
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.training.fold_job import find_fold_model
from pipeline.workflow.context import Dataset

REMEDY = "continue with the flags of that run; invoke compare or its config.json shows them"


def check_continued_run(competition: Competition, before: Path, folds: tuple[int, ...]) -> None:
    """Checks that a recipe can go on from the weights of a run, before any data is read.

    Args:
        competition: its recipe is that of the new run.
        before: the folder of the run to continue.
        folds: to train.

    Raises:
        StarshiftError: the run is unfinished, trained no network or another one, lacks a fold, or is damaged.
    """
    recipe, config = competition.recipe, runs.read_config(before)
    require(runs.is_finished(before), f"The run {before.name} is not finished.", expected="a finished run",
            received="no metrics.json",
            remedy="the command that started it goes on with it, without --continue")  # fmt: skip
    stored = config["competition"]["recipe"]
    strategies = recipe.strategy, stored["strategy"]
    require("features" not in strategies, "A head on features has no training to go on with.",
            expected="--strategy with one that trains a network, and a run of it",
            received="--strategy {}, and a run of {}".format(*strategies))  # fmt: skip
    _require_same("strategy", recipe.strategy, stored["strategy"], before)
    own, other = list_networks(recipe)[0], next(iter(load.list_bases(config).values()))
    _require_same("base", str(own), str(other), before)
    _require_same("size", own.size, other.size, before)
    if recipe.strategy == "finetune":
        _require_same("head", recipe.head, stored["head"], before)
    _require_same("number of folds", recipe.folds, stored["folds"], before)
    missing = sorted(set(folds) - set(config["folds"]))
    require(not missing, f"The run {before.name} did not train these folds.",
            expected=f"--fold with one of {list(config['folds'])}", received=missing)  # fmt: skip
    for fold in folds:
        model, result = find_fold_model(before, fold), read_json(before / "folds" / f"fold{fold}.json") or {}
        digest = (result.get("sha256") or {}).get("model")
        received = hash_file(model) if model.is_file() else "no such file"
        require(digest in (None, received) and model.is_file(), f"The model of fold {fold} is damaged or missing.",
                expected=f"{model} with SHA-256 {digest}", received=received,
                remedy="continue another run")  # fmt: skip


def check_continued_pictures(data: Dataset, before: Path) -> None:
    """Checks that classes and folds are those of the run to continue: its weights have seen the other folds' pictures.

    Raises:
        StarshiftError: they are not.
    """
    _require_same("classes", list(data.pictures.classes), runs.read_predictions(before / "oof.npz")[1], before)
    train = data.pictures.train
    same = read_folds(before / "folds.csv") == dict(zip(train["id"], train["fold"], strict=True))
    require(same, f"The run {before.name} was trained on other folds: its weights have seen what is held out now.",
            expected="the pictures and folds of its folds.csv", received="others", remedy=REMEDY)  # fmt: skip


def describe_continuation(before: Path) -> dict[str, Any]:
    """Describes the run that is continued, for config.json: its name and its fingerprint."""
    return {"run": before.name, "fingerprint": runs.read_config(before)["fingerprint"]}


def _require_same(what: str, own: Any, other: Any, before: Path) -> None:
    """Raises a StarshiftError where the new run has another value than the one that it continues."""
    require(own == other, f"The run {before.name} has another {what}.", expected=f"{other}", received=own,
            remedy=REMEDY)  # fmt: skip
