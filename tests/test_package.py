"""The wheel: what is in it, and that an installed copy works from any directory, with a home of its own."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.paths import REPOSITORY
from pipeline.terminal import PROGRAM_VARIABLE, name_program
from tests.conftest import two_classes

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
SMALL = ("--set", "folds=3", "--base", "mobilenet_025@conv_pw_3_relu=none", "--size", "32", "--engine", "keras")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel, from a copy of the files: a build writes beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pipeline", "competitions"):
        shutil.copytree(REPOSITORY / name, folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*REPOSITORY.glob("requirements*.txt"), *map(REPOSITORY.joinpath, ("pyproject.toml", "README.md"))):
        shutil.copy(path, folder / "copy")
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", *command, str(folder / "copy")], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs `starshift` of the installed wheel in /, with a home folder of its own: `installed("comps")`."""
    site, home = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("user")
    command = ["pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)

    def call(*arguments, cwd="/", **environment):
        hidden = ("STARSHIFT_HOME", "KERAS_HOME", PROGRAM_VARIABLE)
        inherited = {name: value for name, value in os.environ.items() if name not in hidden}
        env = {**inherited, "PYTHONPATH": str(site), "HOME": str(home), **environment}
        command = [sys.executable, str(site / "bin" / "starshift"), *arguments]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)

    call.home, call.site = home, site
    return call


def test_the_wheel_has_the_packages_with_weights_and_templates_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    inside = {path.relative_to(REPOSITORY).as_posix() for part in ("pipeline", "competitions")
              for path in (REPOSITORY / part).rglob("*") if path.is_file() and path.suffix != ".pyc"}  # fmt: skip
    assert set(names) == inside and any(name.endswith("petite_float16.weights.h5") for name in names)


def test_the_wheel_asks_for_what_the_requirements_files_ask_for(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(name).decode().splitlines()
    asked = {line.split(":")[1].strip() for line in lines if line.startswith("Provides-Extra")}
    assert asked == {"cpu", "gpu", "jax", "export", "serve"}
    assert any(line.startswith("Requires-Dist: keras<4,>=3.13.2") for line in lines)


def test_what_builds_the_wheel_is_what_developers_have():
    (bounds,) = PROJECT["build-system"]["requires"]
    assert bounds in (REPOSITORY / "requirements-dev.txt").read_text()


def test_an_installed_copy_writes_below_the_user_s_home_and_says_so(installed, tmp_path):
    two_classes(tmp_path / "flowers")
    done = installed("run", "--comp", str(tmp_path / "flowers"), *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["home", str(installed.home / "starshift")]
    assert list((installed.home / "starshift" / "data" / "runs" / "flowers").glob("*/report.html"))
    assert not (installed.site / "data").exists()


def test_messages_of_an_installed_copy_name_its_command(installed):
    done = installed("predict", "--run", "nothing", "--images", sys.executable)
    assert done.returncode == 1 and "remedy: starshift runs lists them" in done.stderr


def test_the_help_of_an_installed_copy_names_its_command(installed):
    assert installed("--version").stdout == f"starshift {PROJECT['project']['version']}\n"
    assert "starshift kernel picks" in installed("--help", "run").stdout


def test_text_that_is_no_command_stays(monkeypatch):
    monkeypatch.setenv(PROGRAM_VARIABLE, "starshift")
    assert (
        name_program("invoke run; see invoke's manual, or invoke: x")
        == "starshift run; see invoke's manual, or invoke: x"
    )


def test_runs_that_an_installation_leaves_behind_are_named(tmp_path, monkeypatch, home):
    old = tmp_path / "clone"
    (old / "data" / "runs" / "mine" / "a-run").mkdir(parents=True)
    monkeypatch.chdir(old)
    assert paths.find_other_home() is None
    (old / "data" / "runs" / "mine" / "a-run" / "config.json").write_text("{}")
    assert paths.find_other_home() == old
    monkeypatch.setenv("STARSHIFT_HOME", str(old))
    assert paths.find_other_home() is None


def test_a_clone_is_its_own_home(monkeypatch):
    monkeypatch.delenv("STARSHIFT_HOME")
    assert paths.home_folder() == REPOSITORY and Path(REPOSITORY / "tasks.py").is_file()
