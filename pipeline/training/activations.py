"""Activations at the cut: which ones training wants, what they cost, and whether the disk has room for them."""

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline import paths
from pipeline.config import SYMMETRIES
from pipeline.features.cache import feature_store
from pipeline.features.extract import Keeping
from pipeline.models import cuts
from pipeline.models.bases import Base
from pipeline.regime import Training

log = logging.getLogger(__name__)
MARGIN = 2 << 30
"""Bytes of the disk that activations leave free."""


def views_of(regime: Training) -> tuple[str, ...]:
    """The cached views that training draws from: the pictures as they are, or all their symmetries; augmentations."""
    if not regime.warp:
        return SYMMETRIES if regime.symmetries else SYMMETRIES[:2]
    augmented = (f"augment-{number}" for number in range(1, (regime.cached_views or 0) + 1))
    return (*(SYMMETRIES if regime.symmetries else SYMMETRIES[:1]), *augmented)


def from_cached(regime: Training) -> bool:
    """Whether a recipe has `finetune` train from activations that are cached at the cut, where there is one."""
    return not (regime.sizes or regime.randaugment or (regime.warp and not regime.cached_views))


def trained_on(train: Sequence[str], fold_of: np.ndarray, folds: Sequence[int]) -> list[str]:
    """Digests of the training pictures that one of these folds is trained on: all, where there are several folds.

    Args:
        train: digests of the training pictures.
        fold_of: (training pictures,) int.
        folds: that are trained.
    """
    return [digest for digest, fold in zip(train, fold_of, strict=True) if any(fold != one for one in folds)]


def predicted(train: Sequence[str], test: Sequence[str], fold_of: np.ndarray, folds: Sequence[int]) -> list[str]:
    """Digests of the pictures that are predicted: held out by one of these folds, and the test pictures."""
    held = np.isin(fold_of, folds)
    return [digest for digest, wanted in zip(train, held, strict=True) if wanted] + list(test)


def wanted(
    regime: Training, views: Sequence[str], trained: Sequence[str], predicted: Sequence[str]
) -> dict[str, list[str]]:
    """Digests of the pictures whose activations `finetune` wants, by view.

    Args:
        regime: nothing left open.
        views: that are predicted.
        trained: from `trained_on`.
        predicted: from `predicted`.
    """
    found = {view: list(predicted) for view in views}
    for view in views_of(regime):
        found[view] = list(dict.fromkeys([*trained, *found.get(view, [])]))
    return found


def kept(base: Base, regime: Training | None, asked: Mapping[str, Sequence[str]]) -> Keeping | None:
    """What an extraction of the whole base keeps for a `finetune` that follows; None where it is nothing.

    Args:
        base: the whole one.
        regime: of the rung that follows; None where none does.
        asked: from `wanted`.
    """
    cut = cuts.resolve(cuts.anatomy(base), str(regime.unfreeze)) if regime and from_cached(regime) else None
    if cut is None:
        return None
    lower = replace(base, cut=cut.name, pooling="none")
    room = affordable(cut, lower, "float32", asked)
    return Keeping(lower, {view: frozenset(ids) for view, ids in asked.items()}) if room else None


def affordable(cut: cuts.Layer, lower: Base, precision: str, asked: Mapping[str, Sequence[str]]) -> bool:
    """Says what activations cost on the disk, and whether it has room for those that are missing.

    Args:
        cut: its shape gives the bytes of a row.
        lower: the base up to it.
        precision: of the arithmetic.
        asked: from `wanted`.
    """
    each = 2 * math.prod(cut.shape)
    rows = sum(map(len, asked.values()))
    missing = sum(len(feature_store(lower, view, precision).missing(ids)) for view, ids in asked.items())
    price = f"activations of {each / 1e3:,.0f} kB at {cut.name}, {rows:,} of them: {rows * each / 1e6:,.0f} MB"
    folder = paths.cache_folder("features")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if missing * each + MARGIN > free:
        log.warning("  warning: %s; the disk has %.0f MB, so they are not kept", price, free / 1e6)
        return False
    log.info("          %s, float16, %.0f MB of them new", price, missing * each / 1e6)
    return True
