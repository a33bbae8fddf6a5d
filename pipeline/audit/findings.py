"""The results of an audit, and the counts that sum them up."""

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
        dataset: the pictures.
        unreadable: why, by `part/id`.
        pairs: equal pictures.
        links: pictures of one scene.
        groups: of the training pictures, from both.
        random_folds: cross-validation with equal pictures together and scenes torn apart.
        grouped_folds: cross-validation with the groups whole.
        metadata: classes told from files alone.
        label_issues: labels that may be wrong.
        drift: training and test pictures told apart; None where there are too few.
    """

    dataset: AuditDataset
    unreadable: Mapping[str, str]
    pairs: Sequence[DuplicatePair]
    links: SceneLinks
    groups: Groups
    random_folds: RepeatedCVResult
    grouped_folds: RepeatedCVResult
    metadata: SeparabilityResult
    label_issues: LabelIssues
    drift: DriftResult | None


def list_pair_kinds(pair: DuplicatePair, dataset: AuditDataset) -> list[str]:
    """Returns where a pair lies: `within test`, `train and test`, `within train` with `two labels`, `across folds`."""
    first, second = pair.first, pair.second
    parts = dataset.part[[first, second]]
    if parts[0] != parts[1]:
        return ["train and test"]
    if parts[0] == 1:
        return ["within test"]
    differ = {"two labels": dataset.labels, "across folds": dataset.folds}
    return ["within train", *(kind for kind, values in differ.items() if values[first] != values[second])]


def count_pair_kinds(pairs: Sequence[DuplicatePair], dataset: AuditDataset) -> Counter[str]:
    """Counts the pairs of each kind, and those that are exact."""
    counts = Counter(kind for pair in pairs for kind in list_pair_kinds(pair, dataset))
    counts["exact"] = sum(pair.exact for pair in pairs)
    return counts


def find_test_overlap(pairs: Sequence[DuplicatePair], links: SceneLinks, dataset: AuditDataset) -> np.ndarray:
    """Returns the rows of the test pictures that show a training picture, or its scene."""
    rows = {pair.second for pair in pairs if pair.first < dataset.training <= pair.second}
    return np.array(sorted(rows | set(links.test_pairs[:, 0].tolist())), int)
