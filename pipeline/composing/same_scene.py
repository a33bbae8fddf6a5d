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

from pipeline.audit.sought import Sought
from pipeline.composing.links import Known, Links, Seen, places, rows_of
from pipeline.predict import agreeing
from pipeline.predict.agreeing import Worth
from pipeline.predict.held import Held, Part
from pipeline.predict.nested import Fitted

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
    """Fits both steps.

    Args:
        sought: all pictures.
    """

    def __init__(self, sought: Sought) -> None:
        self.sought = sought
        self._known = Known(sought)

    def labelled(self, held: Held) -> Fitted:
        """Learns what links across folds are worth."""
        rows = rows_of(held.part)
        worth = self._worth(held, lambda own: ~own, spoken_to(rows, held.labels))
        return Labelled(seen=self._known.seen(held, held.folds), rows=rows, labels=held.labels, worth=worth)

    def agreeing(self, held: Held) -> Fitted:
        """Learns what links within a fold are worth."""
        return Agreeing(seen=self._known.seen(held, held.folds), worth=self._worth(held, lambda own: own, agreed))

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
            finder = self._known.seen(held, held.folds - {fold} or held.folds).finder()
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


def words(told: dict[str, Any]) -> str:
    """What was fitted, from its numbers."""
    found = [
        f"{share:.0%} from {least:g} on" for least, share in zip(told["least"], told["share"], strict=True) if least
    ]
    return f"of one class by agreeing keypoints: {', '.join(found[:1] + found[-1:])}" if found else "no links"
