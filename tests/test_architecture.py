"""The structure of the code: imports go one way, names can be searched for, files stay small, and the plan is true."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from pipeline.paths import REPOSITORY

PIPELINE = REPOSITORY / "pipeline"
ORDER = [
    *(
        "errors",
        "terminal",
        "files",
        "old_names",
        "paths",
        "logs",
        "output",
        "subprocesses",
        "names",
        "fields",
        "config",
        "settings",
    ),
    *(
        "synthetic",
        "kaggle",
        "data",
        "models",
        "features",
        "evaluation",
        "training",
        "figures",
        "runs",
        "run_report",
        "serving",
        "workflow",
    ),
    *("learnware", "audit", "ensemble", "kernels", "distillation", "experiments", "api", "cli"),
]
"""Each imports only those before it."""
NO_NAMES = {
    *("told", "found", "said", "kept", "given", "asked", "seen", "shown", "known", "wanted", "called", "held", "begun"),
    *("chosen", "judged", "gathered", "tell", "words", "look"),
}
"""Words that say nothing to a reader who searches for a function or a module."""
LONGEST = 450
REPEATED = {"run.py", "report.py", "__init__.py"}
MODULES = sorted(path for path in PIPELINE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def place_of(path: Path) -> str:
    """The package or the module below pipeline/ that a file belongs to."""
    return path.relative_to(PIPELINE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The packages of pipeline that a file imports, in strings (`-m` and `module:function`), too."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pipeline":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"pipeline(\.\w+)+(:\w+)?", str(node.value)):
            found.add(str(node.value).split(".")[1].partition(":")[0])
    return found


@pytest.mark.parametrize("place", ORDER)
def test_a_package_imports_only_those_before_it(place):
    allowed = set(ORDER[: ORDER.index(place) + 1])
    upwards = {
        path.name: imports_of(path) - allowed
        for path in MODULES
        if path.name != "__init__.py" and place_of(path) == place
    }
    assert not any(upwards.values()), upwards


def test_every_module_has_a_place_in_the_order():
    assert {place_of(path) for path in MODULES} - {"__init__"} == set(ORDER)


def test_a_file_name_is_used_once():
    names = Counter(path.name for path in MODULES if place_of(path) != "cli")
    assert {name for name, count in names.items() if count > 1} <= REPEATED


def test_no_file_is_longer_than_a_reader_can_hold():
    lines = {str(path.relative_to(PIPELINE)): path.read_text().count("\n") for path in MODULES}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_no_module_or_public_function_has_a_name_that_says_nothing():
    functions = {
        f"{path.relative_to(PIPELINE)}: {node.name}"
        for path in MODULES
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.strip("_") in NO_NAMES
    }
    assert not functions and not {path.stem for path in MODULES} & NO_NAMES


def test_every_module_stands_in_the_plan_and_the_plan_names_nothing_else():
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    listed = set(re.findall(r"`(pipeline/[\w/]+\.py)`", text))
    there = {str(path.relative_to(REPOSITORY)) for path in MODULES if path.name != "__init__.py"}
    assert listed == there, (there - listed, listed - there)


def test_one_module_imports_kaggle():
    importers = [
        path.name
        for path in MODULES
        if any(
            isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("kaggle", "kagglesdk")
            for node in ast.walk(tree_of(path))
        )
    ]
    assert set(importers) == {"kaggle_private.py"}


FOREIGN = {
    "kaggle/kaggle_private.py": {"_fields", "_init_session", "_session"},  # kaggle's, which no other file imports
    "cli/common.py": {"_exit"},  # os._exit is documented
    "cli/program.py": {"_exit"},
    "subprocesses.py": {"_exit"},
}
"""Names with an underscore that a file may use though it does not define them."""
PRIVATE = PIPELINE / "models" / "keras_private.py"


def underscored(node) -> str | None:
    """The attribute with one underscore that a node uses, directly or through getattr and its like."""
    name = None
    if isinstance(node, ast.Attribute):
        name = node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
        name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
    return name if name and name.startswith("_") and not name.startswith("__") else None


def own_names(tree) -> set[str]:
    """What a module defines: functions, classes, variables, fields, attributes of self that it assigns."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found |= {node.attr} if node.value.id == "self" else set()
    return found


def test_what_is_private_to_keras_is_used_in_one_file():
    for path in {*MODULES} - {PRIVATE}:
        tree = tree_of(path)
        allowed = own_names(tree) | FOREIGN.get(path.relative_to(PIPELINE).as_posix(), set())
        used = {name for node in ast.walk(tree) if (name := underscored(node))}
        assert used <= allowed, f"{path.name} uses {used - allowed}"


def test_names_that_keras_does_not_promise_stand_in_one_file():
    constants = (node.value for node in ast.walk(ast.parse(PRIVATE.read_text())) if isinstance(node, ast.Constant))
    words = {value for value in constants if isinstance(value, str) and value.isidentifier()}
    assert words == {
        "inner_optimizer", "seed_generator_state", "_compute_attention", "_apply_rotary", "DINOV3Attention"
    }  # fmt: skip
    for path in {*MODULES} - {PRIVATE}:
        assert not any(word in path.read_text() for word in words), path.name


def test_nothing_is_imported_from_inside_keras_or_its_backends():
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names = [f"{node.module}.{name}" for name in names] if isinstance(node, ast.ImportFrom) else names
            names += [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
            assert not any(name.startswith(("keras.src", "tensorflow.python", "jax._src")) for name in names), path.name
