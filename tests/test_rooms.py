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
