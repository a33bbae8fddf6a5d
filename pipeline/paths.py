"""Paths of data, caches, runs and submissions, on a laptop and inside a Kaggle kernel.

Everything that the pipeline writes is under one home: the repository, `STARSHIFT_HOME`, or /kaggle/working.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def is_inside_kernel() -> bool:
    """Whether this process runs in a Kaggle kernel."""
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def kaggle_folder(name: str) -> Path:
    """A folder of a Kaggle kernel: `input`, `working` or `tmp` in /kaggle (STARSHIFT_KAGGLE_ROOT, in tests)."""
    return Path(os.environ.get("STARSHIFT_KAGGLE_ROOT") or "/kaggle") / name


def home_folder() -> Path:
    """The folder that holds data/ and submissions/."""
    if chosen := os.environ.get("STARSHIFT_HOME"):
        return Path(chosen).expanduser().resolve()
    return kaggle_folder("working") if is_inside_kernel() else REPOSITORY


def competition_folder(name: str) -> Path:
    """data/competitions/<name>: the download, the raw files, the picture table, the folds."""
    return home_folder() / "data" / "competitions" / name


def cache_folder(kind: str) -> Path:
    """data/cache/<kind>, shared by all competitions; kind is `pixels`, `features` or `engines`."""
    return home_folder() / "data" / "cache" / kind


def directions_folder() -> Path:
    """data/directions: what second moments are taken in; no cache, since pictures that came later give others."""
    return home_folder() / "data" / "directions"


def runs_folder(name: str) -> Path:
    """data/runs/<name>: one folder a run."""
    return home_folder() / "data" / "runs" / name


def locks_folder() -> Path:
    """data/locks: one file a run that is under way, so that no other process begins it."""
    return home_folder() / "data" / "locks"


def kernels_folder(name: str) -> Path:
    """data/kernels/<name>: what was pushed to Kaggle for a competition, one file a kernel."""
    return home_folder() / "data" / "kernels" / name


def submissions_folder(name: str) -> Path:
    """submissions/<name>: one CSV file a run, and latest.csv."""
    return home_folder() / "submissions" / name


def reports_folder(name: str) -> Path:
    """data/reports/<name>: figures and tables of a competition that belong to no single run."""
    return home_folder() / "data" / "reports" / name


def build_child_environment() -> dict[str, str]:
    """The environment of a process of ours, which finds the repository's modules wherever it is started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}


def format_path(path: Path) -> str:
    """The path as the user would type it: relative to the working folder where it lies inside it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
