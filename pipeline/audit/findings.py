"""Everything that an audit found, and the counts that sum it up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit.dataset import AuditDataset
from pipeline.audit.drift import DriftResult
from pipeline.audit.duplicates import DuplicatePair
from pipeline.audit.groups import Groups
from pipeline.audit.label_errors import LabelIssues
from pipeline.audit.leakage import SeparabilityResult
from pipeline.audit.scene_links import SceneLinks
from pipeline.audit.split_leakage import RepeatedCVResult


@dataclass(frozen=True, kw_only=True)
class AuditReport:
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

    subject: AuditDataset
    unreadable: Mapping[str, str]
    pairs: Sequence[DuplicatePair]
    links: SceneLinks
    groups: Groups
    apart: RepeatedCVResult
    together: RepeatedCVResult
    leak: SeparabilityResult
    suspects: LabelIssues
    drift: DriftResult | None


def list_pair_kinds(pair: DuplicatePair, subject: AuditDataset) -> list[str]:
    """Where a pair lies: `within test`, `train and test`, or `within train` and then `two labels`, `across folds`."""
    parts = subject.part[[pair.first, pair.second]]
    if parts[0] != parts[1]:
        return ["train and test"]
    if parts[0] == 1:
        return ["within test"]
    found = ["within train"]
    found += ["two labels"] if subject.labels[pair.first] != subject.labels[pair.second] else []
    return found + (["across folds"] if subject.folds[pair.first] != subject.folds[pair.second] else [])


def count_pair_kinds(pairs: Sequence[DuplicatePair], subject: AuditDataset) -> Counter[str]:
    """How many pairs there are of each kind, and how many are exact."""
    found = Counter(kind for pair in pairs for kind in list_pair_kinds(pair, subject))
    found["exact"] = sum(pair.exact for pair in pairs)
    return found


def find_test_overlap(pairs: Sequence[DuplicatePair], links: SceneLinks, subject: AuditDataset) -> np.ndarray:
    """Rows of the test pictures that show a training picture, or its scene."""
    rows = {pair.second for pair in pairs if pair.first < subject.training <= pair.second}
    return np.array(sorted(rows | set(links.across[:, 0].tolist())), int)
