"""Making a learnware's specification from the features of its training pictures.

Its words are in terms.py; `packed` and `unpacked`, to a file and back, in record.py.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.errors import require
from pipeline.learnware import kernel, typical
from pipeline.learnware.embedding import reduced
from pipeline.learnware.record import packed, unpacked
from pipeline.learnware.terms import Embedding, Probe, Semantic, Specification, Typical

__all__ = ["Embedding", "Probe", "Semantic", "Specification", "Typical", "packed", "specify", "unpacked"]


def specify(
    features: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    probe: Probe,
    gamma: float,
    semantic: Semantic,
    points: int = 50,
    seed: int = 0,
) -> Specification:
    """The specification of a learnware.

    Args:
        features: (n, width), what the probe gives for the training pictures, as extracted; normalised here.
        labels: (n,) int, class numbers.
        classes: names, by number.
        probe: what the features are of.
        gamma: the store's, see `kernel.median_gamma`.
        semantic: the words.
        points: K, of the whole embedding.
        seed: of everything drawn.

    Raises:
        StarshiftError: too few pictures, or labels that are not theirs.
    """
    rows, numbers = kernel.normalised(features), np.asarray(labels)
    require(
        len(rows) >= typical.LEAST,
        "A specification that tells nothing of single pictures needs some.",
        expected=f"at least {typical.LEAST} training pictures",
        received=len(rows),
    )
    fits = numbers.shape == (len(rows),) and numbers.min() >= 0 and numbers.max() < len(classes)
    require(fits, "Labels belong to features.", expected=f"({len(rows)},), below {len(classes)}", received=numbers)
    by_class = typical.classwise(rows, numbers, gamma, seed)
    return Specification(
        semantic=semantic,
        probe=probe,
        gamma=gamma,
        whole=reduced(rows, gamma, points, seed),
        by_class={classes[number]: embedding for number, embedding in by_class.items()},
        typical=typical.measured(rows, numbers, gamma, points, seed),
    )
