"""Deletes runs: what that frees, what else uses them, and never one that is under way."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline import paths
from pipeline.files import hash_file
from pipeline.kaggle.leaderboard import read_submission_scores
from pipeline.runs import folder as runs


def list_uses(folder: Path) -> list[str]:
    """Lists what uses a run, in sentences: runs made of it, taught by it or continued from it, and submissions."""
    uses = []
    for other in runs.list_run_folders(folder.parent.name):
        config = runs.read_config(other)
        if folder.name in [member["run"] for member in config.get("made_of") or ()]:
            uses.append(f"{other.name} is made of it, and predicts new pictures with it")
        if folder.name in (config.get("distillation") or {}).get("teachers", ()):
            uses.append(f"it taught {other.name}")
        if folder.name == (config.get("continued") or {}).get("run"):
            uses.append(f"{other.name} started from its weights{'' if runs.is_finished(other) else ', and needs them'}")
    own, latest = folder / "submission.csv", paths.submissions_folder(folder.parent.name) / "latest.csv"
    if own.is_file() and latest.is_file() and hash_file(own) == hash_file(latest):
        uses.append(f"{paths.format_path(latest)} is its submission, and stays")
    if (scores := read_submission_scores(folder)) is not None:
        uses.append(f"Kaggle has scored it: public {scores.public}, private {scores.private}")
    return uses


def delete_runs(folders: Sequence[Path]) -> None:
    """Deletes runs, all or none.

    Raises:
        StarshiftError: another process is working on one of them.
    """
    with contextlib.ExitStack() as locks:
        for folder in folders:
            locks.enter_context(runs.lock_folder(folder))
        for folder in folders:
            # A folder without it is no run: one that is deleted in part is not taken for whole.
            (folder / "config.json").unlink(missing_ok=True)
            shutil.rmtree(folder)
