"""How a competition is called on this command line: by its name, or by the file that it was given as.

What a message tells to type next has to work as it stands.
"""

import shlex

_FILES: dict[str, str] = {}


def given(name: str, file: str) -> None:
    """Remembers that the competition of this name lies in a file outside the repository."""
    _FILES[name] = shlex.quote(file)


def called(name: str) -> str:
    """What --comp takes for the competition of this name."""
    return _FILES.get(name, name)
