"""What some steps see of the pictures themselves: features for a pair's specialist, keypoints for links of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.audit.keypoints import describe, joined
from pipeline.audit.sought import Sought
from pipeline.audit.subject import directions
from pipeline.composing.joining import Gathered
from pipeline.composing.members import Member
from pipeline.config import SYMMETRIES, Competition
from pipeline.dataset import pixels
from pipeline.features.extract import Extractor
from pipeline.models.bases import parse
from pipeline.predict.metrics import higher_is_better


@dataclass(frozen=True)
class Looking:
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
        """Of training and of test pictures, (pictures, width) float32: bases side by side, views averaged."""
        found = self._seen(self.train)
        return found, self._seen(self.test) if self.test else found[:0]

    def sought(self) -> Sought:
        """Training and, after them, test pictures by their keypoints; the first base says which are alike."""
        extractor, digests = self.extractors[0], self.train + self.test
        values = extractor.features(digests, "plain")
        extractor.store.refresh()
        chunks = pixels.chunks(extractor.store, digests, extractor.files, "plain")
        return Sought(joined([describe(seen) for _, seen in chunks]), directions(values, values.mean(axis=0)))

    def _seen(self, digests: list[str]) -> np.ndarray:
        columns = [np.mean([one.features(digests, view) for view in self.views], axis=0) for one in self.extractors]
        return np.concatenate(columns, axis=1)


def looking(competition: Competition, gathered: Gathered, bases: Sequence[str], engine: str) -> Looking:
    """Decodes the pictures for the bases.

    Args:
        competition: whose pictures.
        gathered: its runs; the best of those on features says which bases, size and views are used.
        bases: use these instead, at the recipe's size.
        engine: `auto` or an engine's name.
    """
    recipe = source(gathered.members, competition.metric)
    chosen = [parse(text, recipe["size"]) for text in bases or recipe["bases"]]
    for size in {base.size for base in chosen}:
        pixels.fill(pixels.pixel_store(size), gathered.data.files)
    pictures, readable = gathered.data.pictures, gathered.data.test_readable
    return Looking(
        extractors=[Extractor(base, gathered.data.files, wanted=engine) for base in chosen],
        views=[view for view in recipe["views"] if view in SYMMETRIES] or ["plain"],
        train=list(pictures.train["sha256"]),
        test=list(pictures.test[readable]["sha256"]),
    )


def source(members: Sequence[Member], metric: str) -> dict[str, Any]:
    """The recipe of the best member that is a head on features; of the best one, where there is none."""
    sign = 1 if higher_is_better(metric) else -1
    best = max(members, key=lambda one: (one.recipe.get("rung") == "features", sign * one.results["score"]))
    return dict(best.recipe)
