"""Linked pictures tell each other what they are: loopy belief propagation.

A link of some strength is `ratio` times as likely between two pictures of one class as between two of different ones.
Beliefs are a network's probabilities times what the linked pictures say (sum-product: Pearl 1988, Probabilistic
Reasoning in Intelligent Systems, chapter 4; on graphs with loops: Murphy, Weiss and Jordan 1999, UAI).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.predict.loglinear import logs, normalised

ROUNDS, DAMPING = 30, 0.5
TRUSTS = (1.0, 0.7, 0.5, 0.35, 0.25)
FLOOR = 1e-6
"""The least probability that a network is taken to mean."""


@dataclass(frozen=True)
class Worth:
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
        """P(strength, one class) / P(strength, different ones), (links,) float64, at least 1 (none speaks against).

        Args:
            strength: (links,).
        """
        odds = np.array([share / (1 - share) for share in (self.base, *self.share)])
        place = np.searchsorted(self.least, strength, side="right")
        return np.asarray(np.maximum(odds[place] * (1 - self.base) / self.base, 1.0) ** self.trust)


def worth(strength: np.ndarray, same: np.ndarray) -> Worth:
    """Fits shares that grow with the strength, by isotonic regression; a step of n pairs, k of one class: (k+1)/(n+2).

    Args:
        strength: (pairs,) of pictures whose classes are known, 0 where nothing links them; any number of pairs.
        same: (pairs,) bool, whether their classes are the same.
    """
    from sklearn.isotonic import IsotonicRegression

    if not len(strength):
        return Worth()
    fitted = IsotonicRegression().fit_transform(strength.astype(float), same.astype(float))
    steps = [fitted == level for level in np.unique(fitted)]
    return Worth(
        least=tuple(float(strength[step].min()) for step in steps),
        share=tuple(_share(same[step]) for step in steps),
        base=_share(same),
    )


def _share(same: np.ndarray) -> float:
    """Laplace's rule of succession."""
    return float((same.sum() + 1) / (len(same) + 2))


def with_labelled(probabilities: np.ndarray, rows: np.ndarray, labels: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """The probabilities after links to pictures of known classes have spoken, (pictures, classes) float64.

    Of a picture's links to one class the strongest speaks alone: the others show the same scene once more.

    Args:
        probabilities: (pictures, classes), rows sum to 1.
        rows: (links,) int, a row of `probabilities` each.
        labels: (links,) int, the classes of the linked pictures.
        ratios: (links,) at least 1.
    """
    strongest = np.ones(probabilities.shape)
    np.maximum.at(strongest, (rows, labels), ratios)
    return normalised(logs(np.maximum(probabilities, FLOOR)) + np.log(strongest))


def beliefs(probabilities: np.ndarray, pairs: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """The probabilities after linked pictures have spoken with each other, (pictures, classes) float64.

    Args:
        probabilities: (pictures, classes), rows sum to 1.
        pairs: (links, 2) int, rows of `probabilities`, each pair once.
        ratios: (links,) at least 1.
    """
    own, links = logs(np.maximum(probabilities, FLOOR)), len(pairs)
    source, target = np.concatenate([pairs, pairs[:, ::-1]]).T
    back = np.concatenate([np.arange(links) + links, np.arange(links)])
    more = np.concatenate([ratios, ratios])[:, None] - 1
    messages = np.zeros((2 * links, own.shape[1]))
    for _ in range(ROUNDS):
        heard = own.copy()
        np.add.at(heard, target, messages)
        before = normalised(heard[source] - messages[back])
        messages = DAMPING * messages + (1 - DAMPING) * np.log1p(more * before)
    heard = own.copy()
    np.add.at(heard, target, messages)
    return normalised(heard)
