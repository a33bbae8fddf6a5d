"""Everything that an audit found, and the counts that sum it up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit.drift import Drift
from pipeline.audit.duplicates import Pair
from pipeline.audit.groups import Groups
from pipeline.audit.scenes import Links
from pipeline.audit.subject import Subject
from pipeline.audit.suspects import Suspects
from pipeline.audit.telling import Told
from pipeline.audit.validation import Crossed


@dataclass(frozen=True, kw_only=True)
class Found:
    """An audit's results.

    Args:
        subject: the pictures.
        unreadable: why, by `part/id`.
        pairs: equal pictures.
        links: pictures of one scene.
        groups: of the training pictures, from both.
        apart: cross-validation with equal pictures together and scenes torn apart.
        together: cross-validation with the groups whole.
        leak: classes told from files alone.
        suspects: labels that may be wrong.
        drift: training and test pictures told apart; None where there are too few.
    """

    subject: Subject
    unreadable: Mapping[str, str]
    pairs: Sequence[Pair]
    links: Links
    groups: Groups
    apart: Crossed
    together: Crossed
    leak: Told
    suspects: Suspects
    drift: Drift | None


def kinds(pair: Pair, subject: Subject) -> list[str]:
    """Where a pair lies: `within test`, `train and test`, or `within train` and then `two labels`, `across folds`."""
    parts = subject.part[[pair.first, pair.second]]
    if parts[0] != parts[1]:
        return ["train and test"]
    if parts[0] == 1:
        return ["within test"]
    found = ["within train"]
    found += ["two labels"] if subject.labels[pair.first] != subject.labels[pair.second] else []
    return found + (["across folds"] if subject.folds[pair.first] != subject.folds[pair.second] else [])


def counted(pairs: Sequence[Pair], subject: Subject) -> Counter[str]:
    """How many pairs there are of each kind, and how many are exact."""
    found = Counter(kind for pair in pairs for kind in kinds(pair, subject))
    found["exact"] = sum(pair.exact for pair in pairs)
    return found


def tests_known(pairs: Sequence[Pair], links: Links, subject: Subject) -> np.ndarray:
    """Rows of the test pictures that show a training picture, or its scene."""
    rows = {pair.second for pair in pairs if pair.first < subject.training <= pair.second}
    return np.array(sorted(rows | set(links.across[:, 0].tolist())), int)
