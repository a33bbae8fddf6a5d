"""Paths of data, caches, runs and submissions, on a laptop and inside a Kaggle kernel.

Everything that the pipeline writes is under one home: `STARSHIFT_HOME`, else /kaggle/working in a kernel, else the
clone, else (installed) ~/starshift.
"""

import importlib.metadata
import os
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
"""The folder of the packages: the clone, or site-packages."""


def is_inside_kernel() -> bool:
    """Whether this process runs in a Kaggle kernel."""
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def kaggle_folder(name: str) -> Path:
    """A folder of a Kaggle kernel: `input`, `working` or `tmp` in /kaggle (STARSHIFT_KAGGLE_ROOT, in tests)."""
    return Path(os.environ.get("STARSHIFT_KAGGLE_ROOT") or "/kaggle") / name


def is_clone() -> bool:
    """Whether the code runs from a clone of the repository; an installed copy has no tasks.py beside it."""
    return (REPOSITORY / "tasks.py").is_file() and (REPOSITORY / "pyproject.toml").is_file()


def find_version() -> str:
    """The version of the code: that of pyproject.toml in a clone, else of the installed copy."""
    if is_clone():
        return str(tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    try:
        return importlib.metadata.version("starshift")
    except importlib.metadata.PackageNotFoundError:  # a bundle in a kernel
        return ""


def home_folder() -> Path:
    """The folder that holds data/ and submissions/."""
    if chosen := os.environ.get("STARSHIFT_HOME"):
        return Path(chosen).expanduser().resolve()
    if is_inside_kernel():
        return kaggle_folder("working")
    return REPOSITORY if is_clone() else Path.home() / "starshift"


def find_other_home() -> Path | None:
    """Finds runs that the home does not have: an upgrade or an installation may leave them in another folder.

    Looked at are the folder of the packages, the working folder and ~/starshift.
    """
    home = home_folder().resolve()
    for place in (REPOSITORY, Path.cwd(), Path.home() / "starshift"):
        if place.resolve() != home and any((place / "data" / "runs").glob("*/*/config.json")):
            return place.resolve()
    return None


def format_install_command(extra: str) -> str:
    """The command that installs optional packages: of a requirements file, or of the installed copy's extra."""
    return f"pip install -r requirements-{extra}.txt" if is_clone() else f"pip install 'starshift[{extra}]'"


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
