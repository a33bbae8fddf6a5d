"""Names of version 0.1 in the files that it wrote: one table, applied where such a file is read.

Files carry `format`; version 0.1 wrote none. A file of a later format is refused by name, never misread.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.files import read_json

FORMAT = 2
"""Format of run folders, kernel records and kernel jobs; raised when a name in them changes."""
COMPETITION = {
    "drawn": "synthetic",
    "recipe.rung": "strategy",
    "recipe.strength": "l2",
    "recipe.training.batch": "batch_size",
    "recipe.training.rate": "learning_rate",
    "recipe.training.decay": "weight_decay",
    "recipe.training.depth_decay": "layer_decay",
}
CONFIG = {
    **{f"competition.{old}": new for old, new in COMPETITION.items()},
    "distillation.rung": "strategy",
    "distillation.taught_by": "teacher_records",
}
RENAMED: dict[str, dict[str, str]] = {
    "config": CONFIG,
    "metrics": {
        "hand_over": "parity_difference",
        "megabytes": "peak_megabytes",
        "seconds_an_epoch": "seconds_per_epoch",
        "standing": "leaderboard_position",
        "steps.told": "note",
        "strength": "l2",
        "training.hand_over": "parity_difference",
        "training.seconds_an_epoch": "seconds_per_epoch",
    },
    "history": {"held_loss": "val_loss", "aside_loss": "inner_val_loss", "strength": "l2"},
    "kernel record": {
        **{f"config.{old}": new for old, new in CONFIG.items()},
        "order": "job_digest",
        "words": "summary",
    },
    "learnware contract": {"rung": "strategy"},
    "learnware specification": {"semantic.rung": "strategy"},
    "owner": {"drawn": "synthetic"},
}
"""By kind of file: the dotted path of an old name, and the name that stands there now."""
HEADS = {"gaussian": "lda", "dense": "mlp"}
HEAD_PATHS = {"config": "competition.recipe.head", "kernel record": "config.competition.recipe.head"}


def update_names(values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Returns the content of a file with today's names; a path that leads through a list applies to its items.

    Args:
        values: the content, unchanged.
        kind: a key of RENAMED.
    """
    return _update(dict(values), RENAMED[kind], HEAD_PATHS.get(kind, ""))


def _update(values: Any, renamed: Mapping[str, str], head: str) -> Any:
    if isinstance(values, list):
        return [_update(one, renamed, head) for one in values]
    if not isinstance(values, dict):
        return values
    updated = {}
    for name, value in values.items():
        inside = {path.removeprefix(f"{name}."): new for path, new in renamed.items() if path.startswith(f"{name}.")}
        today = HEADS.get(value, value) if head == name else value
        updated[renamed.get(name, name)] = _update(today, inside, head.removeprefix(f"{name}."))
    return updated


def suggest_new_name(message: str) -> str:
    """Suggests today's name where Python's message says that a competition file has a field of version 0.1."""
    renamed = {path.rpartition(".")[2]: new for path, new in COMPETITION.items()}
    found = re.search(r"unexpected keyword argument '(\w+)'", message)
    return f"{found[1]} is {renamed[found[1]]} now, see CHANGELOG.md" if found and found[1] in renamed else ""


def read_versioned(path: Path, kind: str) -> dict[str, Any]:
    """Reads a JSON file of this or of an earlier version with today's names; {} where it is missing or no mapping.

    Raises:
        StarshiftError: a later version wrote it.
    """
    stored = read_json(path)
    if not isinstance(stored, dict):
        return {}
    check_format(stored.get("format", 1), path.name)
    return update_names(stored, kind)


def check_format(received: Any, name: str) -> None:
    """Checks that this version can read a file's format.

    Raises:
        StarshiftError: it cannot.
    """
    if not isinstance(received, int) or received > FORMAT:
        raise StarshiftError(
            f"A later version of Starshift wrote {name}.",
            expected=f"format {FORMAT} or earlier",
            received=received,
            remedy="update this repository: git pull",
        )
