"""The parts of the torture, by name, and how a worker process calls them."""

import logging
from importlib import import_module
from pathlib import Path

PARTS = {
    "rot": ("rot", "one damaged file of a home, read by the commands that need it"),
    "pictures": ("inputs", "damaged and hostile pictures, decoded"),
    "archives": ("inputs", "damaged and hostile archives, unpacked"),
    "tables": ("inputs", "damaged and odd tables of labels, read"),
    "learnwares": ("learnwares", "damaged and hostile learnwares, loaded and asked"),
    "kills": ("kills", "a command killed at a random moment, then called again"),
}


def run_trial(part: str, place: str, number: int) -> tuple[str, str]:
    """Runs one trial in a process of its own pool. Returns right, clear or wrong, and why."""
    logging.lastResort = None
    return import_module(f"benchmarks.torture.{PARTS[part][0]}").TRIALS[part](Path(place), number)


def prepare(part: str, place: str) -> None:
    """Makes what the trials of a part need, once."""
    import_module(f"benchmarks.torture.{PARTS[part][0]}").prepare(Path(place))
