"""Several learnwares beside one's pictures: their weights in the mixture that covers them best, and who is nearest."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.learnware import kernel, probe
from pipeline.learnware.archive import Learnware
from pipeline.learnware.distances import nearness
from pipeline.learnware.search import NOT, search
from pipeline.learnware.store import Store

log = logging.getLogger(__name__)
LOOKED_AT = 500


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How learnwares stand to pictures.

    Args:
        weights: of each learnware in the mixture, (learnwares,) float64, their sum 1.
        nearest: for each picture the number of the learnware, one of whose classes' mean is nearest, (pictures,) int.
    """

    weights: np.ndarray
    nearest: np.ndarray


def strange(learnware: Learnware, files: Mapping[str, Path], shelf: Store) -> str:
    """Says so where a learnware was not trained on such pictures; empty where it may have been, or none can tell here.

    Args:
        learnware: of the store.
        files: pictures that can be read, by digest; some of them are looked at.
        shelf: the store.
    """
    some = list(files)[:LOOKED_AT]
    if len(some) < 2:
        return ""
    try:
        base = probe.base_of(shelf.probe)
    except StarshiftError:  # another probe than this machine's: the learnware answers all the same
        return ""
    features = probe.features(base, {name: files[name] for name in some}, some, "keras")
    (match,) = search(features, [learnware.specification], shelf.probe, learnware.specification.gamma).matches
    if match.verdict != NOT:
        return ""
    return (
        f"{match.name} was not trained on such pictures (MMD² {match.distance:.4f}, sets of its own task stay below "
        f"{match.limit:.4f}): its answers are guesses"
    )


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
