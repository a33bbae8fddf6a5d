"""StarshiftError, the one error that users meet: what was expected, what was received, and what to do.

The command line prints it without a traceback and exits with code 1. Any other exception is a bug.
"""

import difflib
from collections.abc import Collection, Iterable, Sequence


class StarshiftError(Exception):
    """A mistake that the user can correct.

    Args:
        message: what went wrong, in one sentence.
        expected: what should have been there.
        received: what was there instead.
        remedy: what to do now: a command, a page or a place.
    """

    def __init__(self, message: str, *, expected: str = "", received: str = "", remedy: str = "") -> None:
        self.message = message
        self.expected = expected
        self.received = received
        self.remedy = remedy
        parts = [("expected", expected), ("received", received), ("remedy", remedy)]
        lines = [message] + [f"  {name}: {text}" for name, text in parts if text]
        super().__init__("\n".join(lines))

    def to_json(self) -> list[str]:
        """Returns the error as plain JSON values, for another process."""
        return [self.message, self.expected, self.received, self.remedy]

    @classmethod
    def from_json(cls, values: Sequence[str]) -> "StarshiftError":
        """Builds the error from what `to_json` returned."""
        message, expected, received, remedy = values
        return cls(message, expected=expected, received=received, remedy=remedy)


def suggest_name(received: object, names: Iterable[str]) -> str:
    """Returns the question whether the most similar name was meant; empty where none is similar."""
    known = {name.casefold().replace("_", "-"): name for name in names}
    close = difflib.get_close_matches(str(received).casefold().replace("_", "-"), known, n=1)
    return f"did you mean {known[close[0]]}?" if close else ""


def require_name(
    received: object, names: Collection[str], message: str, *, expected: str = "", remedy: str = ""
) -> None:
    """Raises a StarshiftError unless a name is one of those that there are; it suggests the most similar one.

    Args:
        received: the name.
        names: those that there are.
        message: what went wrong.
        expected: instead of the names.
        remedy: where no name is similar.
    """
    require(received in names, message, expected=expected or " | ".join(names), received=received,
            remedy=suggest_name(received, names) or remedy)  # fmt: skip


def require(condition: object, message: str, *, expected: str, received: object, remedy: str = "") -> None:
    """Raises a StarshiftError unless the condition holds."""
    if not condition:
        raise StarshiftError(message, expected=expected, received=repr(received), remedy=remedy)
