"""Several learnwares beside one's pictures: their weights in the mixture that covers them best, and who is nearest."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.learnware import kernel, probe
from pipeline.learnware.archive import Learnware
from pipeline.learnware.distances import nearness
from pipeline.learnware.search import search
from pipeline.learnware.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How learnwares stand to pictures.

    Args:
        weights: of each learnware in the mixture, (learnwares,) float64, their sum 1.
        nearest: for each picture the number of the learnware, one of whose classes' mean is nearest, (pictures,) int.
    """

    weights: np.ndarray
    nearest: np.ndarray


def compared(learnwares: Sequence[Learnware], files: Mapping[str, Path], shelf: Store) -> Compared:
    """Compares in the probe's feature space; the pictures stay here.

    Args:
        learnwares: of the store.
        files: pictures that can be read, by digest; at least two.
        shelf: the store.

    Raises:
        StarshiftError: the probe on this machine is another one than the store's.
    """
    specifications = [one.specification for one in learnwares]
    gamma = specifications[0].gamma
    features = probe.features(probe.base_of(shelf.probe), files, list(files))
    found = search(features, specifications, shelf.probe, gamma)
    weight_of = {match.name: match.weight for match in found.matches}
    weights = np.array([weight_of[one.name] for one in learnwares])
    near = [nearness(kernel.normalised(features), list(one.by_class.values()), gamma) for one in specifications]
    log.info("mixture   %s", ", ".join(f"{one.name} {w:.2f}" for one, w in zip(learnwares, weights, strict=True)))
    for match in found.matches:
        log.info("          %s %s: distance %.4f, its own task's sets stay below %.4f", match.name, match.verdict,
                 match.distance, match.limit)  # fmt: skip
    return Compared(weights=weights, nearest=np.argmax(near, axis=0))
