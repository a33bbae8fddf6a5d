"""Steps for pictures of one scene: the same plant on other days has the same class.

Nobody labels a picture for it. Which pictures are linked is seen in them (audit/sought.py). What a link is worth is
learned where classes are known, each fold playing the unknown one in turn: props are struck by the other folds' classes
alone, as they will be where it counts.

Two steps, each on its own merits: labelled pictures speak to the unknown ones that they are linked to, as training
pictures do to test pictures (folds that keep scenes together say that nothing is to be had there); and linked unknown
pictures agree among themselves.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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
class Links:
    """Pairs of pictures that were compared.

    Args:
        pairs: (pairs, 2) int, places among all pictures.
        strength: (pairs,) int, how many keypoints agree; 0 where nothing links them.
    """

    pairs: np.ndarray
    strength: np.ndarray

    def real(self) -> "Links":
        """Those that something links."""
        return Links(self.pairs[self.strength > 0], self.strength[self.strength > 0])


After = Callable[[np.ndarray, np.ndarray, Links, Worth], np.ndarray]
"""What predictions (pictures, classes) become, by the pictures' places (pictures,), their links, and what those are
worth."""


def spoken_to(known: np.ndarray, labels: np.ndarray) -> After:
    """Pictures of known classes speak: their places, (known,) int, and their classes, (known,) int."""

    def after(values: np.ndarray, rows: np.ndarray, links: Links, worth: Worth) -> np.ndarray:
        said, ratios = labels[places(links.pairs[:, 1], known)], worth.ratios(links.strength)
        return agreeing.with_labelled(values, places(links.pairs[:, 0], rows), said, ratios)

    return after


def agreed(values: np.ndarray, rows: np.ndarray, links: Links, worth: Worth) -> np.ndarray:
    """Pictures agree among themselves; see After."""
    return agreeing.beliefs(values, places(links.pairs, rows), worth.ratios(links.strength))


@dataclass(frozen=True)
class Seen:
    """All pictures, without the props that some classes tell.

    Args:
        sought: all pictures.
        props: their words, (words,) bool.
    """

    sought: Sought
    props: np.ndarray

    def links(self, rows: np.ndarray, pool: np.ndarray) -> Links:
        """Pairs that something links; see Finder."""
        return Links(*self.finder().links(rows, pool)).real()

    def finder(self) -> Finder:
        """It is large, and made anew."""
        return self.sought.finder(self.props)


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
        rows = rows_of(part)
        spoken = spoken_to(self.rows, self.labels)
        return spoken(part.predictions[0], rows, self.seen.links(rows, self.rows), self.worth)

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
        rows = rows_of(part)
        return agreed(part.predictions[0], rows, self.seen.links(rows, rows), self.worth)

    def told(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self.worth)


class Scenes:
    """Fits both steps. Props are remembered by the two folds whose classes tell them apart.

    Args:
        sought: all pictures.
    """

    def __init__(self, sought: Sought) -> None:
        self.sought = sought
        self._props: dict[Folds, np.ndarray] = {}

    def labelled(self, held: Held) -> Fitted:
        """Learns what links across folds are worth."""
        rows = rows_of(held.part)
        worth = self._worth(held, lambda own: ~own, spoken_to(rows, held.labels))
        return Labelled(seen=self._seen(held, held.folds), rows=rows, labels=held.labels, worth=worth)

    def agreeing(self, held: Held) -> Fitted:
        """Learns what links within a fold are worth."""
        return Agreeing(seen=self._seen(held, held.folds), worth=self._worth(held, lambda own: own, agreed))

    def _worth(self, held: Held, pool_of: Callable[[np.ndarray], np.ndarray], after: After) -> Worth:
        """Of links as they are found by who does not know a fold's classes: from its pictures to a pool of them.

        Args:
            held: the pictures.
            pool_of: of (pictures,) bool, those of the fold, which are looked among, (pictures,) bool.
            after: what a fold's predictions become.
        """
        rows, found = rows_of(held.part), list[tuple[np.ndarray, Links]]()
        for fold in sorted(held.folds):
            own = held.fold_of == fold
            finder = self._seen(held, held.folds - {fold} or held.folds).finder()
            found.append((own, Links(*finder.links(rows[own], rows[pool_of(own)]))))
        strength = np.concatenate([links.strength for _, links in found])
        first, second = held.labels[places(np.concatenate([links.pairs for _, links in found]), rows)].T
        worth = agreeing.worth(strength, first == second)
        linked = [(own, links.real()) for own, links in found]
        values = held.part.predictions[0].astype(np.float64)

        def gain(trusted: Worth) -> float:
            changed = values.copy()
            for own, links in linked:
                changed[own] = after(values[own], rows[own], links, trusted)
            return held.gain(changed)

        return max((replace(worth, trust=trust) for trust in agreeing.TRUSTS), key=gain)

    def _seen(self, held: Held, folds: Folds) -> Seen:
        """The pictures without the props that the classes of these folds tell."""
        both = [frozenset({one, other}) for one in folds for other in folds if one <= other]
        return Seen(self.sought, np.logical_or.reduce([self._between(held, pair) for pair in both]))

    def _between(self, held: Held, pair: Folds) -> np.ndarray:
        """The words of props that recur between the pictures of two folds, or of one."""
        if pair not in self._props:
            owned = [held.fold_of == fold for fold in (min(pair), max(pair))]
            first, second = ((rows_of(held.part)[own], held.labels[own]) for own in owned)
            self._props[pair] = self.sought.props(*first, *second)
            if len(pair) > 1:
                self._props[pair] |= self.sought.props(*second, *first)
        return self._props[pair]


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
