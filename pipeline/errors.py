"""The one error that users meet: what was expected, what came, and what to do about it.

The command line prints it without a traceback and exits with code 1. Everything else that is raised is a bug of ours.
"""

from collections.abc import Sequence


class StarshiftError(Exception):
    """Something the user can put right.

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

    @property
    def words(self) -> list[str]:
        """What `said` takes in another process: plain JSON values."""
        return [self.message, self.expected, self.received, self.remedy]

    @classmethod
    def said(cls, words: Sequence[str]) -> "StarshiftError":
        """The error whose `words` another process left."""
        message, expected, received, remedy = words
        return cls(message, expected=expected, received=received, remedy=remedy)


def require(condition: object, message: str, *, expected: str, received: object, remedy: str = "") -> None:
    """Raises a StarshiftError unless the condition holds."""
    if not condition:
        raise StarshiftError(message, expected=expected, received=repr(received), remedy=remedy)
