"""Run folders: one a run, explaining itself; an interrupted run is found again and finished in the same folder."""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import DamagedFileError, format_csv, open_arrays, read_json, write_atomic, write_json, write_text
from pipeline.models.inference_engines import find_library_versions

LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "pandas", "scikit-learn", "openvino", "kaggle")


def create_run_folder(
    competition: str, rung: str, config: Mapping[str, Any], fingerprint: str, *, suffix: str = ""
) -> Path:
    """The folder of a run: of the interrupted one with this configuration, or a new one.

    Args:
        competition: its name.
        rung: enters the folder's name.
        config: written as config.json, the fingerprint with it.
        fingerprint: 64 hex digits of everything that decides the result.
        suffix: ends the folder's name, such as `-debug`.
    """
    parent = paths.runs_folder(competition)
    for folder in sorted(parent.glob(f"*-{rung}-{fingerprint[:8]}{suffix}"), reverse=True):
        stored = read_json(folder / "config.json")
        if stored and stored.get("fingerprint") == fingerprint and not is_finished(folder):
            return folder
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = parent / f"{stem}-{rung}-{fingerprint[:8]}{suffix}"
    number = 1
    while folder.exists():
        number += 1
        folder = parent / f"{stem}.{number}-{rung}-{fingerprint[:8]}{suffix}"
    write_json(folder / "config.json", {**config, "fingerprint": fingerprint})
    return folder


def find_run(competition: str, fingerprint: str) -> Path | None:
    """The newest finished run with this fingerprint."""
    for folder, _ in reversed(list_finished_runs(competition)):
        stored = read_json(folder / "config.json")
        if stored and stored.get("fingerprint") == fingerprint:
            return folder
    return None


@contextlib.contextmanager
def lock_run(folder: Path) -> Iterator[Path]:
    """A run's folder, for this process alone; where a mistake ends the run before anything else is in it, it goes.

    Raises:
        StarshiftError: another process is at this run.
    """
    with _lock_folder(folder):
        try:
            yield folder
        except StarshiftError:
            if [path.name for path in folder.glob("*")] == ["config.json"]:
                shutil.rmtree(folder)
            raise


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Holds a lock on a run, which ends with the process, however that ends."""
    from filelock import FileLock, Timeout

    path = paths.locks_folder() / f"{folder.parent.name}.{folder.name}.lock"
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(path, timeout=0))
        except Timeout as error:
            raise StarshiftError(
                "Another process is at this very run.",
                expected="one process a run",
                received=paths.format_path(folder),
                remedy="wait for it, or stop it: the same command goes on from there",
            ) from error
        except (OSError, NotImplementedError):
            pass  # a file system without locks
        try:
            yield
        finally:
            # While it is held, since who locks a file that is gone is told so. Windows keeps it until the release.
            with contextlib.suppress(OSError):
                path.unlink()


def is_finished(folder: Path) -> bool:
    """Whether the run came to its end: metrics.json is written last."""
    return (folder / "metrics.json").exists()


def describe_environment(seed: int, device: str) -> dict[str, Any]:
    """What a run ran on: versions, commit, device, seed."""
    return {
        "python": platform.python_version(),
        "libraries": find_library_versions(LIBRARIES),
        "commit": find_commit(),
        "device": device,
        "cores": os.cpu_count(),
        "seed": seed,
    }


def find_commit() -> str:
    """The repository's commit, with `+changes` where files differ from it; empty outside a repository."""
    if told := os.environ.get("STARSHIFT_COMMIT"):  # a bundle is no repository, and says where it is from
        return told
    command = ["git", "-C", str(paths.REPOSITORY), "describe", "--always", "--dirty=+changes", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes records as CSV, atomically; the columns are the first record's."""
    columns = list(rows[0]) if rows else []
    write_text(path, format_csv([columns, *([row[name] for name in columns] for row in rows)]) if rows else "")


def write_predictions(
    path: Path, ids: Sequence[str], classes: Sequence[str], probabilities: np.ndarray, **views: np.ndarray
) -> None:
    """Writes probabilities (pictures, classes) float32 with their ids and class names, and those of single views."""
    arrays: dict[str, Any] = {
        "ids": np.array(ids, str),
        "classes": np.array(classes, str),
        "probabilities": probabilities,
    }
    for view, values in views.items():
        arrays[f"view:{view}"] = values
    write_atomic(path, lambda file: np.savez(file, **arrays))


def read_predictions(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, class names and probabilities (pictures, classes) float32, as `write_predictions` wrote them.

    Raises:
        StarshiftError: the file is damaged.
    """
    with _open_predictions(path) as stored:
        return list(map(str, stored["ids"])), list(map(str, stored["classes"])), stored["probabilities"]


def read_view_predictions(path: Path) -> dict[str, np.ndarray]:
    """The probabilities (pictures, classes) float32 of each view, in the order of the ids in the same file.

    Raises:
        StarshiftError: the file is damaged.
    """
    with _open_predictions(path) as stored:
        return {name.partition(":")[2]: stored[name] for name in stored.files if name.startswith("view:")}


@contextlib.contextmanager
def _open_predictions(path: Path) -> Iterator[Any]:
    """The arrays that `write_predictions` wrote; what the file lacks or spoils is the user's to know."""
    try:
        with open_arrays(path) as stored:
            yield stored
    except (FileNotFoundError, DamagedFileError) as error:
        raise StarshiftError(
            f"{path.parent.name}/{path.name} is damaged.",
            expected="predictions as a run writes them",
            received=str(error),
            remedy="make the run again, or remove its folder",
        ) from error


def compute_split_digest(folder: Path) -> str:
    """SHA-256 of which picture lies in which fold, whatever their order; empty where a run does not keep it."""
    path = folder / "folds.csv"
    if not path.is_file():
        return ""
    return hashlib.sha256("\n".join(sorted(path.read_text().splitlines())).encode()).hexdigest()


def read_predicted_classes(path: Path) -> dict[str, str]:
    """The likeliest class of each picture, by id, from what `write_predictions` wrote."""
    ids, classes, probabilities = read_predictions(path)
    return dict(zip(ids, (classes[number] for number in probabilities.argmax(axis=1)), strict=True))


def find_correct(path: Path, truth: Mapping[str, str]) -> np.ndarray:
    """Whether each picture's likeliest class is its true one, (pictures,) bool, in the order of `truth`."""
    guess = read_predicted_classes(path)
    return np.array([guess[name] == label for name, label in truth.items()])


def list_finished_runs(competition: str) -> list[tuple[Path, dict[str, Any]]]:
    """The finished runs of a competition with their metrics, the oldest first."""
    folders = sorted(path for path in paths.runs_folder(competition).glob("*") if is_finished(path))
    return [(folder, read_json(folder / "metrics.json")) for folder in folders]


def flatten_mapping(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A mapping of mappings as one, by dotted name: {"a": {"b": 1}} is {"a.b": 1}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flatten_mapping(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return found
