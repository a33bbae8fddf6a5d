"""Computes what some steps need of the pictures: features for the pair classifier, keypoints for scene links."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.audit.dataset import center_and_normalize
from pipeline.audit.keypoints import concatenate_keypoints, detect_keypoints
from pipeline.audit.scene_links import KeypointIndex
from pipeline.config import VIEWS, Competition
from pipeline.data import pixel_cache
from pipeline.ensemble.members import AlignedMembers
from pipeline.evaluation.metrics import find_metric
from pipeline.features.extractor import Extractor
from pipeline.models.base import parse_base
from pipeline.runs.load import Run


@dataclass(frozen=True)
class PictureFeatureExtractor:
    """Bases at work on the pictures that runs were gathered of, all of them decoded.

    Args:
        extractors: one a base.
        views: symmetries that features are averaged over.
        train: SHA-256 of the files of the training pictures.
        test: of the readable test pictures.
    """

    extractors: Sequence[Extractor]
    views: Sequence[str]
    train: list[str]
    test: list[str]

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Computes features of training and test pictures, (pictures, width) float32: bases joined, views averaged."""
        result = self._compute_mean_features(self.train)
        return result, self._compute_mean_features(self.test) if self.test else result[:0]

    def build_keypoint_index(self) -> KeypointIndex:
        """Indexes training and, after them, test pictures by keypoints and by features of the first base."""
        extractor, digests = self.extractors[0], self.train + self.test
        values = extractor.features(digests, "plain")
        extractor.store.refresh()
        chunks = pixel_cache.iterate_chunks(extractor.store, digests, extractor.files, "plain")
        return KeypointIndex(
            concatenate_keypoints([detect_keypoints(pixels) for _, pixels in chunks]),
            center_and_normalize(values, values.mean(axis=0)),
        )

    def _compute_mean_features(self, digests: list[str]) -> np.ndarray:
        columns = [np.mean([one.features(digests, view) for view in self.views], axis=0) for one in self.extractors]
        return np.concatenate(columns, axis=1)


def build_extractor(
    competition: Competition, aligned: AlignedMembers, bases: Sequence[str], engine: str
) -> PictureFeatureExtractor:
    """Decodes the pictures for the bases.

    Args:
        competition: whose pictures.
        aligned: its runs; the best of those on features says which bases, size and views are used.
        bases: use these instead, at the recipe's size.
        engine: `auto` or an engine's name.
    """
    recipe = select_recipe(aligned.members, competition.metric)
    chosen = [parse_base(text, recipe["size"]) for text in bases or recipe["bases"]]
    for size in {base.size for base in chosen}:
        pixel_cache.fill_pixel_store(pixel_cache.open_pixel_store(size), aligned.data.files)
    pictures, readable = aligned.data.pictures, aligned.data.test_readable
    return PictureFeatureExtractor(
        extractors=[Extractor(base, aligned.data.files, wanted=engine) for base in chosen],
        views=[view for view in recipe["views"] if view in VIEWS] or ["plain"],
        train=list(pictures.train["sha256"]),
        test=list(pictures.test[readable]["sha256"]),
    )


def select_recipe(members: Sequence[Run], metric: str) -> dict[str, Any]:
    """Selects the recipe of the best member that is a head on features; of the best one, where there is none."""
    sign = find_metric(metric).sign
    best = max(members, key=lambda one: (one.recipe.get("strategy") == "features", sign * one.results["score"]))
    return dict(best.recipe)
