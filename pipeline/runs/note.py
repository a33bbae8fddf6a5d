"""A run's name and note: words of the user in note.json, which have no part in the run's fingerprint."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.errors import require
from pipeline.files import read_json, write_json
from pipeline.runs import folder as runs

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""A letter comes first, so that no name is the beginning of a folder's name, which is a time."""
RESERVED_NAMES = ("latest", "best", "ensemble")
"""What --run and --teacher take for something else."""


@dataclass(frozen=True, kw_only=True)
class RunNote:
    """What the user calls a run, and remarks on it.

    Args:
        name: finds the run, as its folder's name does; empty where it has none.
        note: any text.
    """

    name: str = ""
    note: str = ""


def read_note(folder: Path) -> RunNote:
    """Reads a run's name and note; both are empty where there are none."""
    stored = read_json(folder / runs.NOTE_FILE)
    values = stored if isinstance(stored, dict) else {}
    return RunNote(name=str(values.get("name", "")), note=str(values.get("note", "")))


def write_note(folder: Path, name: str | None = None, note: str | None = None) -> RunNote:
    """Writes a run's name and note, and returns them; None leaves what is there, an empty text removes it.

    Raises:
        StarshiftError: the name is unusable, or another run of the competition has it.
    """
    before = read_note(folder)
    after = replace(before, name=before.name if name is None else name, note=before.note if note is None else note)
    check_name(folder.parent.name, after.name, lambda holder: holder == folder)
    if after != before:
        write_json(folder / runs.NOTE_FILE, asdict(after))
    return after


def check_name(competition: str, name: str, may_hold: Callable[[Path], bool]) -> None:
    """Checks that a run can be called by a name; an empty one is none.

    Args:
        competition: its name.
        name: of the run.
        may_hold: whether the run in a folder may have this name already.

    Raises:
        StarshiftError: the name is unusable, or another run of the competition has it.
    """
    if not name:
        return
    require(
        NAME_PATTERN.fullmatch(name) and name not in RESERVED_NAMES,
        "Unusable name of a run.",
        expected=f"letters, digits, - and _, a letter first; not {', '.join(RESERVED_NAMES)}",
        received=name,
    )
    holders = [one for one in runs.list_run_folders(competition) if read_note(one).name == name and not may_hold(one)]
    require(
        not holders,
        f"Another run of {competition} is called {name!r}.",
        expected="a name that no other run has",
        received=holders[0].name if holders else "",
        remedy=f"choose another; or invoke runs.note --run {holders[0].name} --name OTHER" if holders else "",
    )
