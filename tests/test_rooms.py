"""The rooms of the house: each imports only those above it."""

import ast
import re

from pipeline.paths import REPOSITORY

GROUND = {
    *("config", "recipe", "regime", "options", "paths", "runs"),
    *("errors", "files", "naming", "quiet", "subprocesses"),
}
ORDER = [
    *("drawn", "kaggle", "dataset", "models", "features", "training"),
    *("predict", "learnware", "audit", "report", "remote"),
]
STAGES = {"preparation", "leaderboard", "closing", "results", "schooling", "flow"}
AFTER = ["ledger", "composing", "experiments", "reuse", "away"]
"""What stands above the stages of a run, and calls them."""


def imports_of(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


def test_a_room_imports_only_rooms_above_it():
    for position, room in enumerate(ORDER):
        for path in (REPOSITORY / "pipeline" / room).glob("*.py"):
            allowed = GROUND | set(ORDER[: position + 1])
            assert imports_of(path) <= allowed, f"{path.name} imports {imports_of(path) - allowed}"


def test_a_stage_imports_rooms_and_stages_only():
    for name in STAGES:
        imported = imports_of(REPOSITORY / "pipeline" / f"{name}.py")
        assert imported <= GROUND | set(ORDER) | STAGES, name


def test_what_is_made_of_runs_imports_only_packages_before_it():
    for position, package in enumerate(AFTER):
        for path in (REPOSITORY / "pipeline" / package).glob("*.py"):
            allowed = GROUND | set(ORDER) | STAGES | set(AFTER[: position + 1])
            assert imports_of(path) <= allowed, f"{path.name} imports {imports_of(path) - allowed}"


def test_every_module_has_a_place_in_the_house():
    there = {path.stem for path in (REPOSITORY / "pipeline").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - {"__init__", "__pycache__", "commands"} == GROUND | set(ORDER) | STAGES | set(AFTER)


def test_what_the_plan_of_the_house_names_is_there():
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    there = {path.name for path in (*(REPOSITORY / "pipeline").rglob("*.py"), *REPOSITORY.glob("*.py"))}
    named = set(re.findall(r"`(?:[a-z_]+/)*([a-z_]+\.py)`", text))
    assert len(named) > 100 and named <= there | {"test_rooms.py"}, named - there


def test_the_ground_imports_no_room():
    for name in GROUND:
        assert imports_of(REPOSITORY / "pipeline" / f"{name}.py") <= GROUND


def test_only_the_client_imports_kaggle():
    importers = [
        path.name
        for path in (REPOSITORY / "pipeline").rglob("*.py")
        if any(
            isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("kaggle", "kagglesdk")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert importers == ["client.py"]


FOREIGN = {
    "kaggle/client.py": {"_fields", "_init_session", "_session", "_verbose"},  # kaggle's, which no other file imports
    "commands/shared.py": {"_exit"},  # os._exit is documented
    "subprocesses.py": {"_exit"},
}
"""Names with an underscore that a file may use though it does not define them."""
PRIVATE = REPOSITORY / "pipeline" / "models" / "keras_private.py"


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
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found |= {node.attr} if node.value.id == "self" else set()
    return found


def test_what_is_private_to_keras_is_used_in_one_file():
    for path in {*(REPOSITORY / "pipeline").rglob("*.py")} - {PRIVATE}:
        tree = ast.parse(path.read_text())
        allowed = own_names(tree) | FOREIGN.get(path.relative_to(REPOSITORY / "pipeline").as_posix(), set())
        used = {name for node in ast.walk(tree) if (name := underscored(node))}
        assert used <= allowed, f"{path.name} uses {used - allowed}"


def test_names_that_keras_does_not_promise_stand_in_one_file():
    constants = (node.value for node in ast.walk(ast.parse(PRIVATE.read_text())) if isinstance(node, ast.Constant))
    words = {value for value in constants if isinstance(value, str) and value.isidentifier()}
    assert words == {"inner_optimizer", "seed_generator_state"}
    for path in {*(REPOSITORY / "pipeline").rglob("*.py")} - {PRIVATE}:
        assert not any(word in path.read_text() for word in words), path.name


def test_nothing_is_imported_from_inside_keras_or_tensorflow():
    for path in (REPOSITORY / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names = [f"{node.module}.{name}" for name in names] if isinstance(node, ast.ImportFrom) else names
            names += [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
            assert not any(name.startswith(("keras.src", "tensorflow.python")) for name in names), path.name
