"""What Kaggle answered to a run's submission, as leaderboard.json in the run's folder keeps it.

Each field is a value or null: {"public": score, "private": score, "ref": Kaggle's name of the submission,
"when": ISO 8601, UTC}; more fields may stand beside them. Whoever submits writes it, `invoke runs` reads it, and it may
be written by hand.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.files import read_json

FILE = "leaderboard.json"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Kaggle's scores; None where it did not say."""

    public: float | None = None
    private: float | None = None
    ref: str | None = None
    when: str | None = None

    @property
    def final(self) -> float | None:
        """The score that decides: the private one, the public one until it is known."""
        return self.public if self.private is None else self.private


def answer_to(folder: Path) -> Answer | None:
    """Reads the leaderboard.json of a run; None where the run was not submitted.

    Raises:
        StarshiftError: the file is there and holds something else.
    """
    path = folder / FILE
    if not path.exists():
        return None
    stored: Any = read_json(path)
    if not isinstance(stored, dict) or not all(is_score(stored.get(name)) for name in ("public", "private")):
        raise StarshiftError(
            f"{path} is no answer of Kaggle's.",
            expected='{"public": 0.61, "private": null, "ref": "123", "when": "2026-07-01T12:00:00Z"}',
            received=repr(stored),
            remedy="put it right, or delete it",
        )
    public, private = (None if stored.get(name) is None else float(stored[name]) for name in ("public", "private"))
    ref, when = (None if stored.get(name) is None else str(stored[name]) for name in ("ref", "when"))
    return Answer(public=public, private=private, ref=ref, when=when)


def is_score(value: Any) -> bool:
    """Whether it is a finite number, or null."""
    return value is None or (type(value) in (int, float) and bool(np.isfinite(value)))
