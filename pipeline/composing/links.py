"""Pictures that were compared, and how strongly they are linked, by who knows the classes of some folds alone."""

from dataclasses import dataclass

import numpy as np

from pipeline.audit.sought import Finder, Sought
from pipeline.predict.held import Folds, Held, Part


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


class Known:
    """All pictures as they look to who knows the classes of some folds.

    Props are remembered by the two folds whose classes tell them apart.

    Args:
        sought: all pictures.
    """

    def __init__(self, sought: Sought) -> None:
        self.sought = sought
        self._props: dict[Folds, np.ndarray] = {}

    def seen(self, held: Held, folds: Folds) -> Seen:
        """All pictures without the props that the classes of these folds tell."""
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


def rows_of(part: Part) -> np.ndarray:
    """The places of its pictures among all."""
    if part.rows is None:
        raise ValueError("links need to know which pictures these are")
    return part.rows


def places(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where values, (...) int, stand among distinct rows."""
    order = np.argsort(rows)
    return np.asarray(order[np.searchsorted(rows, values, sorter=order)])
