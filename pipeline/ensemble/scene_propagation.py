"""Lets pictures of one scene agree on a class: label and belief propagation over links between pictures.

A link of some strength is `ratio` times as likely between two pictures of one class as between two of different ones.
Which pictures are linked is computed from them alone (audit/scene_links.py). What a link is worth is learned where
classes are known, each fold in turn playing the unknown one: static props are removed by the other folds' classes
alone, as they will be for test pictures.

There are two steps. Labelled pictures speak to unknown ones that they are linked to, as training pictures do to test
pictures (with folds that keep scenes together this gains nothing). Linked unknown pictures agree among themselves.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.audit.scene_links import KeypointIndex, LinkFinder
from pipeline.ensemble.log_linear import compute_logs, softmax
from pipeline.evaluation.nested_cv import Folds, MemberPredictions, OOFPredictions, Predictor
from pipeline.terminal import open_bar


@dataclass(frozen=True)
class SceneLinks:
    """Pairs of pictures that were compared.

    Args:
        pairs: (pairs, 2) int, places among all pictures.
        strength: (pairs,) int, how many keypoints agree; 0 where nothing links them.
    """

    pairs: np.ndarray
    strength: np.ndarray

    def real(self) -> "SceneLinks":
        """Returns the pairs that are linked."""
        return SceneLinks(self.pairs[self.strength > 0], self.strength[self.strength > 0])


@dataclass(frozen=True)
class SceneLinkIndex:
    """All pictures, without the props that some classes tell.

    Args:
        index: all pictures.
        props: their words, (words,) bool.
    """

    index: KeypointIndex
    props: np.ndarray

    def links(self, rows: np.ndarray, pool: np.ndarray) -> SceneLinks:
        """Pairs that something links; see Finder."""
        return SceneLinks(*self.finder().links(rows, pool)).real()

    def finder(self) -> LinkFinder:
        """Builds the finder; it is large, and not kept."""
        return self.index.finder(self.props)


class FoldwiseLinkIndex:
    """All pictures as they look to who knows the classes of some folds.

    Props are remembered by the two folds whose classes tell them apart.

    Args:
        index: all pictures.
    """

    def __init__(self, index: KeypointIndex) -> None:
        self.index = index
        self._props: dict[Folds, np.ndarray] = {}

    def build_index(self, oof: OOFPredictions, folds: Folds) -> SceneLinkIndex:
        """Indexes all pictures without the props that the classes of these folds reveal."""
        both = [frozenset({one, other}) for one in folds for other in folds if one <= other]
        return SceneLinkIndex(self.index, np.logical_or.reduce([self._between(oof, pair) for pair in both]))

    def _between(self, oof: OOFPredictions, pair: Folds) -> np.ndarray:
        """Finds the words of props that recur between the pictures of two folds, or of one."""
        if pair not in self._props:
            owned = [oof.fold_of == fold for fold in (min(pair), max(pair))]
            first, second = ((require_rows(oof.part)[own], oof.labels[own]) for own in owned)
            self._props[pair] = self.index.props(*first, *second)
            if len(pair) > 1:
                self._props[pair] |= self.index.props(*second, *first)
        return self._props[pair]


def require_rows(part: MemberPredictions) -> np.ndarray:
    """Returns the places of its pictures among all."""
    if part.rows is None:
        raise ValueError("links need to know which pictures these are")
    return part.rows


def find_positions(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Finds the positions of values, (...) int, among distinct rows."""
    order = np.argsort(rows)
    return np.asarray(order[np.searchsorted(rows, values, sorter=order)])


PROPAGATION_ROUNDS, DAMPING = 30, 0.5
TRUST_GRID = (1.0, 0.7, 0.5, 0.35, 0.25)
BELIEF_FLOOR = 1e-6
"""The least probability that a network is taken to mean."""


@dataclass(frozen=True)
class LinkLikelihood:
    """What links are worth, by their strength.

    Args:
        least: (steps,) growing; the strength from which on each step counts.
        share: (steps,) in (0, 1): of the step's links, between pictures of one class.
        base: the same of all pairs that were compared.
        trust: exponent of the ratios, at most 1: links that tell the same twice are believed too often at 1.
    """

    least: tuple[float, ...] = ()
    share: tuple[float, ...] = ()
    base: float = 0.5
    trust: float = 1.0

    def ratios(self, strength: np.ndarray) -> np.ndarray:
        """Computes P(strength, one class) / P(strength, different ones), (links,) float64, at least 1.

        Args:
            strength: (links,).
        """
        odds = np.array([share / (1 - share) for share in (self.base, *self.share)])
        place = np.searchsorted(self.least, strength, side="right")
        return np.asarray(np.maximum(odds[place] * (1 - self.base) / self.base, 1.0) ** self.trust)


def fit_link_likelihood(strength: np.ndarray, same: np.ndarray) -> LinkLikelihood:
    """Fits shares that grow with the strength, by isotonic regression; a step of n pairs, k of one class: (k+1)/(n+2).

    Args:
        strength: (pairs,) of pictures whose classes are known, 0 where nothing links them; any number of pairs.
        same: (pairs,) bool, whether their classes are the same.
    """
    from sklearn.isotonic import IsotonicRegression

    if not len(strength):
        return LinkLikelihood()
    fitted = IsotonicRegression().fit_transform(strength.astype(float), same.astype(float))
    steps = [fitted == level for level in np.unique(fitted)]
    return LinkLikelihood(
        least=tuple(float(strength[step].min()) for step in steps),
        share=tuple(_estimate_share(same[step]) for step in steps),
        base=_estimate_share(same),
    )


def _estimate_share(same: np.ndarray) -> float:
    """Laplace's rule of succession."""
    return float((same.sum() + 1) / (len(same) + 2))


def propagate_labels(probabilities: np.ndarray, rows: np.ndarray, labels: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Updates probabilities by links to labelled pictures, (pictures, classes) float64.

    Of a picture's links to one class the strongest speaks alone: the others show the same scene once more.

    Args:
        probabilities: (pictures, classes), rows sum to 1.
        rows: (links,) int, a row of `probabilities` each.
        labels: (links,) int, the classes of the linked pictures.
        ratios: (links,) at least 1.
    """
    strongest = np.ones(probabilities.shape)
    np.maximum.at(strongest, (rows, labels), ratios)
    return softmax(compute_logs(np.maximum(probabilities, BELIEF_FLOOR)) + np.log(strongest))


def propagate_beliefs(probabilities: np.ndarray, pairs: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Updates probabilities by loopy belief propagation over links, (pictures, classes) float64.

    Args:
        probabilities: (pictures, classes), rows sum to 1.
        pairs: (links, 2) int, rows of `probabilities`, each pair once.
        ratios: (links,) at least 1.
    """
    own, links = compute_logs(np.maximum(probabilities, BELIEF_FLOOR)), len(pairs)
    source, target = np.concatenate([pairs, pairs[:, ::-1]]).T
    back = np.concatenate([np.arange(links) + links, np.arange(links)])
    more = np.concatenate([ratios, ratios])[:, None] - 1
    messages = np.zeros((2 * links, own.shape[1]))
    for _ in range(PROPAGATION_ROUNDS):
        heard = own.copy()
        np.add.at(heard, target, messages)
        before = softmax(heard[source] - messages[back])
        messages = DAMPING * messages + (1 - DAMPING) * np.log1p(more * before)
    heard = own.copy()
    np.add.at(heard, target, messages)
    return softmax(heard)


Propagation = Callable[[np.ndarray, np.ndarray, SceneLinks, LinkLikelihood], np.ndarray]
"""What predictions (pictures, classes) become, by the pictures' places (pictures,), their links, and what those are
worth."""


def build_label_propagation(known: np.ndarray, labels: np.ndarray) -> Propagation:
    """Pictures of known classes speak: their places, (known,) int, and their classes, (known,) int."""

    def after(values: np.ndarray, rows: np.ndarray, links: SceneLinks, worth: LinkLikelihood) -> np.ndarray:
        lines, ratios = labels[find_positions(links.pairs[:, 1], known)], worth.ratios(links.strength)
        return propagate_labels(values, find_positions(links.pairs[:, 0], rows), lines, ratios)

    return after


def apply_belief_propagation(
    values: np.ndarray, rows: np.ndarray, links: SceneLinks, worth: LinkLikelihood
) -> np.ndarray:
    """Pictures agree among themselves; see After."""
    return propagate_beliefs(values, find_positions(links.pairs, rows), worth.ratios(links.strength))


@dataclass(frozen=True, kw_only=True)
class LinkPropagation:
    """A fitted step: passes what linked pictures say.

    Args:
        index: all pictures.
        worth: of the links.
        propagate: what predictions become.
        pool: places of the pictures that are linked to, (pool,) int; None takes those that are predicted.
    """

    index: SceneLinkIndex
    worth: LinkLikelihood
    propagate: Propagation
    pool: np.ndarray | None = None

    def predict(self, part: MemberPredictions) -> np.ndarray:
        """Probabilities (pictures, classes) float64."""
        rows = require_rows(part)
        links = self.index.links(rows, rows if self.pool is None else self.pool)
        return self.propagate(part.predictions[0], rows, links, self.worth)

    def record(self) -> dict[str, Any]:
        """Returns the numbers as plain JSON values."""
        return asdict(self.worth)


class SceneSteps:
    """Fits both steps.

    Args:
        index: all pictures.
    """

    def __init__(self, index: KeypointIndex) -> None:
        self.index = index
        self._indexes = FoldwiseLinkIndex(index)

    def labelled(self, oof: OOFPredictions) -> Predictor:
        """Learns what links across folds are worth."""
        rows = require_rows(oof.part)
        return self._fit(oof, lambda own: ~own, build_label_propagation(rows, oof.labels), rows)

    def agreeing(self, oof: OOFPredictions) -> Predictor:
        """Learns what links within a fold are worth."""
        return self._fit(oof, lambda own: own, apply_belief_propagation, None)

    def _fit(
        self,
        oof: OOFPredictions,
        pool_of: Callable[[np.ndarray], np.ndarray],
        propagate: Propagation,
        pool: np.ndarray | None,
    ) -> LinkPropagation:
        worth = self._worth(oof, pool_of, propagate)
        return LinkPropagation(
            index=self._indexes.build_index(oof, oof.folds), worth=worth, propagate=propagate, pool=pool
        )

    def _worth(
        self, oof: OOFPredictions, pool_of: Callable[[np.ndarray], np.ndarray], after: Propagation
    ) -> LinkLikelihood:
        """Fits what links are worth, each fold's as they are found without its classes: from its pictures to a pool.

        Args:
            oof: the pictures.
            pool_of: of (pictures,) bool, those of the fold, which are looked among, (pictures,) bool.
            after: what a fold's predictions become.
        """
        rows, result = require_rows(oof.part), list[tuple[np.ndarray, SceneLinks]]()
        for fold in open_bar(sorted(oof.folds), desc="links of scenes", unit="fold"):
            own = oof.fold_of == fold
            finder = self._indexes.build_index(oof, oof.folds - {fold} or oof.folds).finder()
            result.append((own, SceneLinks(*finder.links(rows[own], rows[pool_of(own)]))))
        strength = np.concatenate([links.strength for _, links in result])
        first, second = oof.labels[find_positions(np.concatenate([links.pairs for _, links in result]), rows)].T
        worth = fit_link_likelihood(strength, first == second)
        linked = [(own, links.real()) for own, links in result]
        values = oof.part.predictions[0].astype(np.float64)

        def gain(trusted: LinkLikelihood) -> float:
            changed = values.copy()
            for own, links in linked:
                changed[own] = after(values[own], rows[own], links, trusted)
            return oof.gain(changed)

        return max((replace(worth, trust=trust) for trust in TRUST_GRID), key=gain)


def format_link_shares(record: dict[str, Any]) -> str:
    """Formats the fitted shares."""
    result = [
        f"{share:.0%} from {least:g} on" for least, share in zip(record["least"], record["share"], strict=True) if least
    ]
    return f"of one class by agreeing keypoints: {', '.join(result[:1] + result[-1:])}" if result else "no links"
