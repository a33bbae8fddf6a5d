"""Run folders: creates, locks, lists and reads them; an interrupted run is resumed in its folder."""

import contextlib
import csv
import hashlib
import logging
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
from pipeline.files import (
    DamagedFileError,
    format_csv,
    hash_file,
    open_arrays,
    read_json,
    write_atomic,
    write_json,
    write_text,
)
from pipeline.models.backend import find_backend
from pipeline.models.inference_engines import find_library_versions
from pipeline.old_names import FORMAT, read_versioned, update_names

log = logging.getLogger(__name__)
NOTE_FILE = "note.json"
"""The user's name and note of a run, see runs/note.py."""
DIGESTS_FILE = "digests.json"
UNDIGESTED_FILES = (NOTE_FILE, DIGESTS_FILE, "kernel.json", "leaderboard.json")
"""Written after the end of a run."""
DIGESTED_SUFFIXES = (".json", ".csv", ".npz", ".keras")
LIBRARIES = ("tensorflow", "tensorflow-cpu", "jax", "keras", "numpy", "pandas", "scikit-learn", "openvino", "kaggle")


def create_run_folder(
    competition: str, strategy: str, config: Mapping[str, Any], fingerprint: str, *, suffix: str = ""
) -> Path:
    """Opens the folder of the interrupted run with this configuration, or a new one.

    Args:
        competition: its name.
        strategy: the strategy, part of the folder's name.
        config: written as config.json, the fingerprint with it.
        fingerprint: 64 hex digits of everything that decides the result.
        suffix: ends the folder's name, such as `-debug`.
    """
    parent = paths.runs_folder(competition)
    for folder in sorted(parent.glob(f"*-{strategy}-{fingerprint[:8]}{suffix}"), reverse=True):
        if not is_finished(folder) and read_config(folder).get("fingerprint") == fingerprint:
            return folder
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = parent / f"{stem}-{strategy}-{fingerprint[:8]}{suffix}"
    number = 1
    while folder.exists():
        number += 1
        folder = parent / f"{stem}.{number}-{strategy}-{fingerprint[:8]}{suffix}"
    write_config(folder, config, fingerprint)
    return folder


def write_config(folder: Path, config: Mapping[str, Any], fingerprint: str) -> None:
    """Writes config.json: what decides the run's result, and the fingerprint of it."""
    write_json(folder / "config.json", {"format": FORMAT, **config, "fingerprint": fingerprint})


def read_config(folder: Path) -> dict[str, Any]:
    """Reads config.json; {} where there is none.

    Raises:
        StarshiftError: a later version wrote it, or it is damaged.
    """
    check_file(folder / "config.json")
    return read_versioned(folder / "config.json", "config")


def read_metrics(folder: Path) -> dict[str, Any]:
    """Reads metrics.json; {} where the run is not finished. Errors as of `read_config`."""
    check_file(folder / "metrics.json")
    return read_versioned(folder / "metrics.json", "metrics")


def read_environment(folder: Path) -> dict[str, Any]:
    """Reads environment.json, see `describe_environment`; {} where there is none. Errors as of `read_config`."""
    check_file(folder / "environment.json")
    return read_json(folder / "environment.json") or {}


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Reads history.csv: one record of texts for each epoch, or for each fit of a head. Errors as of `read_config`."""
    check_file(folder / "history.csv")
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return [update_names(row, "history") for row in csv.DictReader(file)]


def find_run(competition: str, fingerprint: str) -> Path | None:
    """Finds the newest finished run with this fingerprint."""
    finished = filter(is_finished, reversed(list_run_folders(competition)))
    return next((folder for folder in finished if read_config(folder).get("fingerprint") == fingerprint), None)


@contextlib.contextmanager
def lock_run(folder: Path) -> Iterator[Path]:
    """Locks a run's folder for this process; removes it where an error ends the run before it has other files.

    Raises:
        StarshiftError: another process is working on this run.
    """
    with lock_folder(folder):
        try:
            yield folder
        except StarshiftError:
            if {path.name for path in folder.glob("*")} <= {"config.json", NOTE_FILE}:
                shutil.rmtree(folder)
            raise


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Holds a lock on a run, which ends with the process, however that ends.

    Raises:
        StarshiftError: another process is working on this run.
    """
    from filelock import FileLock, Timeout

    path = paths.locks_folder() / f"{folder.parent.name}.{folder.name}.lock"
    with contextlib.ExitStack() as lock:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.enter_context(FileLock(path, timeout=0))
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
            # While it is locked, since locking a removed file fails. Windows keeps it until the release.
            with contextlib.suppress(OSError):
                path.unlink()


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's: config.json is written first."""
    return (folder / "config.json").is_file()


def is_finished(folder: Path) -> bool:
    """Whether the run is finished: metrics.json is written last."""
    return (folder / "metrics.json").exists()


def describe_environment(seed: int, device: str) -> dict[str, Any]:
    """Collects versions, backend, commit, device and seed."""
    return {
        "python": platform.python_version(),
        "libraries": find_library_versions(LIBRARIES),
        "backend": find_backend(),
        "starshift": paths.find_version(),
        "commit": find_commit(),
        "device": device,
        "cores": os.cpu_count(),
        "seed": seed,
    }


def find_commit() -> str:
    """Finds the repository's commit, with `+changes` where files differ from it; empty outside a repository."""
    if commit := os.environ.get("STARSHIFT_COMMIT"):  # a bundle is no repository
        return commit
    if not paths.is_clone():  # site-packages may lie in a repository of somebody else
        return ""
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
    """Reads ids, class names and probabilities (pictures, classes) float32 of `write_predictions`.

    Raises:
        StarshiftError: the file is damaged.
    """
    with open_run_arrays(path) as stored:
        return list(map(str, stored["ids"])), list(map(str, stored["classes"])), stored["probabilities"]


def read_view_predictions(path: Path) -> dict[str, np.ndarray]:
    """Reads the probabilities (pictures, classes) float32 of each view, in the order of the ids.

    Raises:
        StarshiftError: the file is damaged.
    """
    with open_run_arrays(path) as stored:
        return {name.partition(":")[2]: stored[name] for name in stored.files if name.startswith("view:")}


def write_digests(folder: Path) -> None:
    """Writes digests.json, beside the models of folds, too: the SHA-256 by name of what a finished run is read from."""
    for place in {folder, *(model.parent for model in folder.rglob("*.keras"))}:
        kept = [path for path in sorted(place.iterdir()) if path.suffix in DIGESTED_SUFFIXES and path.is_file()]
        digests = {path.name: hash_file(path) for path in kept if path.name not in UNDIGESTED_FILES}
        write_json(place / DIGESTS_FILE, digests)


def check_file(path: Path) -> None:
    """Checks that a file of a run is as the run wrote it; a run of before version 0.3 has no digests to check it by.

    Raises:
        StarshiftError: it has other bytes.
    """
    expected = (read_json(path.parent / DIGESTS_FILE) or {}).get(path.name)
    if expected and path.is_file() and hash_file(path) != expected:
        raise build_damaged_error(path, "other bytes than the run wrote")


def build_damaged_error(path: Path, reason: str) -> StarshiftError:
    """Builds the error for a file of a run that cannot be used."""
    return StarshiftError(
        f"{path.parent.name}/{path.name} is damaged.",
        expected=f"the file as the run wrote it, with the SHA-256 in {DIGESTS_FILE}",
        received=reason,
        remedy=f"make the run again with --force; invoke runs.delete --run {path.parent.name} removes this one",
    )


@contextlib.contextmanager
def open_run_arrays(path: Path) -> Iterator[Any]:
    """Opens an .npz file of a run, see `files.open_arrays`.

    Raises:
        StarshiftError: it is missing or damaged.
    """
    check_file(path)
    try:
        with open_arrays(path) as stored:
            yield stored
    except (FileNotFoundError, DamagedFileError) as error:
        raise build_damaged_error(path, str(error)) from error


def compute_split_digest(folder: Path) -> str:
    """Computes the SHA-256 of the folds of all pictures, in any order; empty where a run has none.

    Raises:
        StarshiftError: folds.csv is damaged.
    """
    path = folder / "folds.csv"
    if not path.is_file():
        return ""
    check_file(path)
    return hashlib.sha256("\n".join(sorted(path.read_text().splitlines())).encode()).hexdigest()


def read_predicted_classes(path: Path) -> dict[str, str]:
    """Reads the likeliest class of each picture, by id."""
    ids, classes, probabilities = read_predictions(path)
    return dict(zip(ids, (classes[number] for number in probabilities.argmax(axis=1)), strict=True))


def find_correct(path: Path, truth: Mapping[str, str]) -> np.ndarray:
    """Returns whether each picture's likeliest class is its true one, (pictures,) bool, in the order of `truth`."""
    predicted = read_predicted_classes(path)
    return np.array([predicted[name] == label for name, label in truth.items()])


def list_run_folders(competition: str) -> list[Path]:
    """Lists the run folders of a competition, oldest first.

    Those of a later version, and those whose configuration or metrics are damaged, are left out with a warning.
    """
    folders = []
    for folder in sorted(paths.runs_folder(competition).glob("*/")):
        try:
            if is_run(folder):
                read_config(folder)
                read_metrics(folder)
                folders.append(folder)
        except StarshiftError as error:
            log.warning("  warning: the run %s is left out: %s", folder.name, error.message)
    return folders


def list_finished_runs(competition: str) -> list[tuple[Path, dict[str, Any]]]:
    """Lists the finished runs of a competition with their metrics, oldest first."""
    return [(folder, read_metrics(folder)) for folder in list_run_folders(competition) if is_finished(folder)]


def flatten_mapping(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens a mapping of mappings, by dotted name: {"a": {"b": 1}} is {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten_mapping(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
