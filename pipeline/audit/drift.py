"""Drift: whether a classifier can tell the test pictures from the training pictures."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.audit.leakage import SeparabilityResult, cross_validate_features, cross_validate_metadata

MIN_PICTURES = 20
"""Pictures that each part needs."""


@dataclass(frozen=True)
class DriftResult:
    """How well training and test pictures are told apart.

    Args:
        features: by the base's features.
        metadata: by the files.
    """

    features: SeparabilityResult
    metadata: SeparabilityResult

    def extremes(self, part: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows of the training and of the test pictures that are most unlike the other part, by features.

        Args:
            part: (pictures,) int; 1 is test.
            most: how many of each.
        """
        order = np.argsort(self.features.scores[:, 1], kind="stable")
        train, test = order[part[order] == 0], order[::-1][part[order[::-1]] == 1]
        return train[:most], test[:most]


def detect_drift(
    features: np.ndarray, table: pd.DataFrame, part: np.ndarray, groups: np.ndarray, seed: int
) -> DriftResult | None:
    """Tells training from test pictures.

    Args:
        features: (pictures, width) float32.
        table: of the same pictures, from `leakage.read_metadata_table`.
        part: (pictures,) int; 1 is test.
        groups: (pictures,); pictures of a group are never on both sides.
        seed: of the folds and the forest.

    Returns:
        None where a part has too few pictures.
    """
    if min(np.bincount(part, minlength=2)) < MIN_PICTURES:
        return None
    return DriftResult(
        cross_validate_features(features, part, groups, seed), cross_validate_metadata(table, part, groups, seed)
    )
