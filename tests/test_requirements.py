"""The requirements name what is imported and nothing else, and no import fails on Windows."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.models.registry import BASES
from pipeline.paths import REPOSITORY

OURS = {"pipeline", "competitions", "tests", "benchmarks", "tasks"}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "keras_hub": "keras-hub",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow-cpu",
}
"""Of imports that bear another name than what is installed."""
FOR_USERS = {f"requirements{kind}.txt" for kind in ("", "-common", "-cpu", "-jax", "-hub", "-serve", "-export")}
ONLY_RUN = {"tensorflow", "ruff", "mypy", "pre-commit", "pytest-xdist", "setuptools"}
ONLY_RUN |= {"kagglehub", "regex", "sentencepiece", "tokenizers", "six", "python-multipart", "tf2onnx", "onnx"}
"""Required, nowhere imported: TensorFlow where there is no tensorflow-cpu, tools, what other packages import."""
ONLY_FILES = {entry.package for entry in BASES.values()}
"""Required for the weights in them."""
UNIX = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}
"""Modules that Windows lacks; a function that imports one does without where it is missing."""


def required(names: set[str]) -> dict[str, str]:
    """The distributions that requirement files ask for, with the lowest version of each."""
    found = {}
    for name in names:
        for line in (REPOSITORY / name).read_text().splitlines():
            if asked := re.match(r"([a-z0-9-]+)(?:\[.*\])?>=([\d.]+),<[\d.]+(?=[;\s]|$)", line):
                found[asked[1]] = asked[2]
            else:
                assert re.match(r"#|-r |$", line), f"{name}: {line} has no lowest or no highest version"
    return found


def imported(path: Path, *, at_once: bool = False) -> Iterator[str]:
    """The packages that a file imports; those that its import alone imports, if asked."""
    tree = ast.parse(path.read_text())
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def distributions(paths: list[Path]) -> set[str]:
    names = {name for path in paths for name in imported(path)} - OURS - sys.stdlib_module_names
    return {DISTRIBUTIONS.get(name, name) for name in names}


def test_what_the_pipeline_imports_is_required_of_its_users():
    used = distributions([*files("pipeline", "competitions"), REPOSITORY / "tasks.py"])
    assert used - set(required(FOR_USERS)) == set()


def test_what_tests_and_benchmarks_import_is_required_of_developers():
    assert distributions(files("tests", "benchmarks")) - set(required({*FOR_USERS, "requirements-dev.txt"})) == set()


def test_what_is_required_is_imported():
    needed = distributions([*files(*OURS - {"tasks"}), REPOSITORY / "tasks.py"]) | ONLY_RUN | ONLY_FILES
    assert set(required({*FOR_USERS, "requirements-dev.txt"})) - needed == set()


def test_a_gpu_needs_the_same_tensorflow():
    gpu, processor = required({"requirements-gpu.txt"}), required({"requirements-cpu.txt"})
    assert gpu["tensorflow"] == processor["tensorflow"] == processor["tensorflow-cpu"]


def test_jax_comes_in_the_place_of_tensorflow():
    assert set(required({"requirements-jax.txt"})) == {"jax", "six"}


def test_no_import_fails_on_windows():
    paths = [*files("pipeline", "competitions"), REPOSITORY / "tasks.py"]
    assert [path.name for path in paths if UNIX & set(imported(path, at_once=True))] == []
