"""The worked examples of docs/extend.md: each is applied to a copy of the repository, where its commands are run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.paths import REPOSITORY

pytestmark = pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="needs git's list of files")
DOCUMENT = (REPOSITORY / "docs" / "extend.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))


def list_blocks(section, language):
    """The fenced blocks of a section in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)


def apply_diff(section, folder, *options):
    """Applies the change of a section to a folder by git."""
    (diff,) = list_blocks(section, "diff")
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    command = ["git", "apply", "-v", *options, "-"]
    done = subprocess.run(command, cwd=folder, env=environment, input=diff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The examples draw `sprouts` once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def copy(tmp_path):
    """A copy of the files that git knows, as they are in the working tree."""
    names = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (REPOSITORY / name).is_file():
            target = tmp_path / "copy" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target)
    return tmp_path / "copy"


def test_the_document_shows_every_kind_of_extension():
    assert list(SECTIONS) == ["A metric", "A base", "A view", "A head", "A strategy"]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_change_still_applies(section):
    apply_diff(section, REPOSITORY, "--check")


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_an_example_passes_its_tests_and_makes_a_run(section, copy, home):
    apply_diff(section, copy)
    tools = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(copy),
                   "STARSHIFT_HOME": str(home), "KERAS_HOME": str(home / "keras")}  # fmt: skip
    commands = "".join(list_blocks(section, "sh")).splitlines()
    assert [command.split()[0] for command in commands] == ["python", "invoke"]
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    for check in (["format", "--check"], ["check"]):
        done = subprocess.run([tools / "ruff", *check, "."], cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
