"""Compares new pictures with a run's training pictures, in the features of its frozen bases: nearest ones, and novelty.

A picture is novel where its K-th nearest training picture is farther than that of nearly every training picture (Sun
et al. 2022, Out-of-Distribution Detection with Deep Nearest Neighbors, ICML, section 3). Distances are 1 - cosine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline import paths
from pipeline.config import Competition, Labels, Submission, select_bases
from pipeline.data.labels import load_labeled_pictures
from pipeline.data.row_store import DamagedShardError
from pipeline.data.subsets import select_evenly
from pipeline.errors import StarshiftError
from pipeline.features.cache import open_feature_store
from pipeline.models.base import find_missing_weights, parse_base
from pipeline.runs import load
from pipeline.runs.listing import DERIVED_STRATEGIES
from pipeline.runs.load import Run

NEIGHBOURS = 5
"""K of the K-th nearest."""
FALSE_ALARMS = 0.05
"""The share of pictures like the training pictures that are called novel, too."""
MAX_REFERENCE = 5000
"""Training pictures that the threshold is estimated from."""
CHUNK_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The training pictures of a run, to compare new ones with.

    Args:
        names: their ids.
        labels: their classes.
        texts: the bases of the features, as the recipe names them.
        features: (n, width) float32, of length 1.
        threshold: the distance of the K-th nearest above which a picture is novel.
        digests: their SHA-256, by id, where they are known.
    """

    names: Sequence[str]
    labels: Sequence[str]
    texts: tuple[str, ...]
    features: np.ndarray
    threshold: float
    digests: Mapping[str, str] = field(default_factory=dict)

    def is_novel(self, features: np.ndarray) -> np.ndarray:
        """Returns whether pictures are unlike the training ones, (m,) bool; features (m, width) of length 1."""
        return compute_distances(features, self.features) > self.threshold

    def find_nearest(self, features: np.ndarray, count: int) -> list[list[tuple[str, str, float]]]:
        """Finds the nearest training pictures of each of these features (m, width): id, class and cosine."""
        cosines = features @ self.features.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return [
            [(self.names[place], self.labels[place], float(row[place])) for place in places]
            for places, row in zip(order, cosines, strict=True)
        ]


def normalize_parts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Scales each base's features to equal length and joins them, (n, width) float32 of length 1."""
    unit = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in parts]
    return np.concatenate(unit, axis=1) / np.float32(np.sqrt(len(unit)))


def compute_distances(
    features: np.ndarray, reference: np.ndarray, groups: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Computes the distance to the K-th nearest reference picture, (m,) float32.

    Args:
        features: (m, width) float32, of length 1.
        reference: (n, width) float32, of length 1.
        groups: the groups of both; a picture is not compared with those of its own.
    """
    distances = np.empty(len(features), np.float32)
    k = min(NEIGHBOURS, len(reference) - 1)
    for start in range(0, len(features), CHUNK_SIZE):
        part = slice(start, start + CHUNK_SIZE)
        far = 1 - features[part] @ reference.T
        if groups is not None:
            far[groups[0][part, None] == groups[1][None]] = np.inf
        distances[part] = np.partition(far, k - 1, axis=1)[:, k - 1]
    return distances


def estimate_threshold(features: np.ndarray, groups: np.ndarray) -> float:
    """Estimates the threshold from the distances of training pictures to those of other groups.

    Args:
        features: (n, width) float32, of length 1.
        groups: (n,), of pictures that are kept in one fold.
    """
    chosen = np.array(select_evenly(len(features), MAX_REFERENCE))
    distances = compute_distances(features[chosen], features, (groups[chosen], groups))
    return float(np.quantile(distances, 1 - FALSE_ALARMS))


def load_neighbours(run: Run) -> Neighbours | None:
    """Loads the training pictures of a run; None where their data or features are not on this machine."""
    digests = find_digests(run)
    names = list(run.folds.index)
    if not all(name in digests for name in names) or len(names) <= NEIGHBOURS:
        return None
    parts = load_features(run, [digests[name] for name in names])
    if not parts:
        return None
    features = normalize_parts(list(parts.values()))
    return Neighbours(
        names=names,
        labels=list(run.folds["label"]),
        texts=tuple(parts),
        features=features,
        threshold=estimate_threshold(features, run.folds["group"].to_numpy(str)),
        digests=digests,
    )


def find_digests(run: Run) -> dict[str, str]:
    """Finds the SHA-256 of each training picture by its id, from the picture table; {} where its data is not here."""
    stored = run.config["competition"]
    folder = paths.competition_folder(stored["name"])
    is_here = (folder / "complete.json").is_file() and (folder / "raw").is_dir()
    if stored.get("data") is None and not is_here:
        return {}
    kept = {key: stored.get(key) for key in ("name", "slug", "data", "synthetic", "metric")}
    submission = Submission(**stored["submission"]) if stored.get("submission") else None
    try:
        train, _ = load_labeled_pictures(Competition(**kept, labels=Labels(**stored["labels"]), submission=submission))
    except (StarshiftError, OSError, TypeError):  # TypeError: fields of another version
        return {}
    return dict(zip(train["id"], train["sha256"], strict=True))


def load_features(run: Run, digests: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Loads the cached features (pictures, width) float32 of pictures in the plain view, by base.

    Args:
        run: its recipe names the bases; one that a strategy trains is taken as it was before.
        digests: SHA-256 of the pictures.

    Returns:
        Only bases with a row of every picture in the cache of this machine.
    """
    strategy = run.recipe["strategy"]
    uses_all = strategy in DERIVED_STRATEGIES or load.read_strategy(run.config) == "features"
    texts = select_bases("features" if uses_all else strategy, run.recipe.get("bases", ()))
    found = {text: _read_features(text, run.recipe.get("size"), digests) for text in texts}
    return {text: part for text, part in found.items() if part is not None}


def _read_features(text: str, size: int | None, digests: Sequence[str]) -> np.ndarray | None:
    """Reads a base's cached features of either precision; None where a row or the file of weights is missing."""
    try:
        base = parse_base(text, size)
        if find_missing_weights(base) is not None:
            return None
        for precision in ("float32", "bfloat16"):
            store = open_feature_store(base, "plain", precision)
            if not store.missing(digests) and not store.unreadable(digests):
                return store.read(digests)
    except (DamagedShardError, StarshiftError):
        pass
    return None
