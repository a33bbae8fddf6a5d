"""Steps for pictures of one scene: the same plant on other days has the same class.

Nobody labels a picture for it. Which pictures are linked is seen in them (audit/sought.py). What a link is worth is
learned where classes are known, each fold playing the unknown one in turn: props are struck by the other folds' classes
alone, as they will be where it counts.

Two steps, each on its own merits: labelled pictures speak to the unknown ones that they are linked to, as training
pictures do to test pictures (folds that keep scenes together say that nothing is to be had there); and linked unknown
pictures agree among themselves.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.audit.keypoints import describe, joined
from pipeline.audit.sought import Finder, Sought
from pipeline.audit.subject import directions
from pipeline.dataset import pixels
from pipeline.features.extract import Extractor
from pipeline.predict import agreeing
from pipeline.predict.agreeing import Worth
from pipeline.predict.held import Folds, Held, Part
from pipeline.predict.nested import Fitted


@dataclass(frozen=True)
class Seen:
    """All pictures, without the props that some classes tell.

    Args:
        sought: all pictures.
        struck: props, (pictures, MOST) bool.
    """

    sought: Sought
    struck: np.ndarray

    def links(self, rows: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs that something links, and how strongly; see Finder."""
        pairs, strength = self.finder().links(rows, pool)
        return pairs[strength > 0], strength[strength > 0]

    def finder(self) -> Finder:
        """It is large, and made anew."""
        return self.sought.finder(self.struck)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Pictures of known classes speak to those linked to them.

    Args:
        seen: all pictures.
        rows: (known pictures,) int, their places among all.
        labels: (known pictures,) int.
        worth: of the links.
    """

    seen: Seen
    rows: np.ndarray
    labels: np.ndarray
    worth: Worth

    def predict(self, part: Part) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        pairs, strength = self.seen.links(rows_of(part), self.rows)
        labels = self.labels[places(pairs[:, 1], self.rows)]
        own = places(pairs[:, 0], rows_of(part))
        return agreeing.with_labelled(part.predictions[0], own, labels, self.worth.ratios(strength))

    def told(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self.worth)


@dataclass(frozen=True, kw_only=True)
class Agreeing:
    """Linked pictures agree among themselves.

    Args:
        seen: all pictures.
        worth: of the links.
    """

    seen: Seen
    worth: Worth

    def predict(self, part: Part) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        pairs, strength = self.seen.links(rows_of(part), rows_of(part))
        return agreeing.beliefs(part.predictions[0], places(pairs, rows_of(part)), self.worth.ratios(strength))

    def told(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self.worth)


class Scenes:
    """Fits both steps. Props are remembered by the folds whose classes told them.

    Args:
        sought: all pictures.
    """

    def __init__(self, sought: Sought) -> None:
        self.sought = sought
        self._props: dict[Folds, np.ndarray] = {}

    def labelled(self, held: Held) -> Fitted:
        """Learns what links across folds are worth."""
        worth = self._worth(held, lambda own: ~own)
        return Labelled(seen=self._seen(held, held.folds), rows=rows_of(held.part), labels=held.labels, worth=worth)

    def agreeing(self, held: Held) -> Fitted:
        """Learns what links within a fold are worth."""
        return Agreeing(seen=self._seen(held, held.folds), worth=self._worth(held, lambda own: own))

    def _worth(self, held: Held, pool_of: Callable[[np.ndarray], np.ndarray]) -> Worth:
        """Of links as they are found by who does not know a fold's classes: from its pictures to a pool of them.

        Args:
            held: the pictures.
            pool_of: of (pictures,) bool, those of the fold, which are looked among, (pictures,) bool.
        """
        rows, strengths, same = rows_of(held.part), [], []
        for fold in sorted(held.folds):
            own = held.fold_of == fold
            seen = self._seen(held, held.folds - {fold} or held.folds)
            pairs, strength = seen.finder().links(rows[own], rows[pool_of(own)])
            first, second = held.labels[places(pairs, rows)].T
            strengths.append(strength)
            same.append(first == second)
        return agreeing.worth(np.concatenate(strengths), np.concatenate(same))

    def _seen(self, held: Held, folds: Folds) -> Seen:
        """The pictures without the props that the classes of these folds tell."""
        if folds not in self._props:
            known = held.among(folds)
            self._props[folds] = self.sought.props(rows_of(held.part)[known], held.labels[known])
        return Seen(self.sought, self._props[folds])


def words(told: dict[str, Any]) -> str:
    """What was fitted, from its numbers."""
    found = [
        f"{share:.0%} from {least:g} on" for least, share in zip(told["least"], told["share"], strict=True) if least
    ]
    return f"of one class by agreeing keypoints: {', '.join(found[:1] + found[-1:])}" if found else "no links"


def sought_in(extractor: Extractor, digests: list[str]) -> Sought:
    """The pictures of these files, looked at.

    Args:
        extractor: of the base that says which pictures are worth comparing, and of the pixels.
        digests: SHA-256 of the files of all training and, after them, all readable test pictures.
    """
    values = extractor.features(digests, "plain")
    extractor.store.refresh()
    chunks = pixels.chunks(extractor.store, digests, extractor.files, "plain")
    return Sought(joined([describe(seen) for _, seen in chunks]), directions(values, values.mean(axis=0)))


def rows_of(part: Part) -> np.ndarray:
    """The places of its pictures among all."""
    if part.rows is None:
        raise ValueError("links need to know which pictures these are")
    return part.rows


def places(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where values, (...) int, stand among distinct rows."""
    order = np.argsort(rows)
    return np.asarray(order[np.searchsorted(rows, values, sorter=order)])
