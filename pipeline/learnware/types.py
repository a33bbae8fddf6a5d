"""The data of a learnware's specification: what it is for in words, and how its training pictures are spread.

The second part is a reduced kernel mean embedding (Wu, Xu, Liu, Zhou, Model Reuse with Reduced Kernel Mean Embedding
Specification, arXiv 2001.07135): a few weighted points in a probe's feature space, and never a picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The base whose features of pictures a store compares.

    Args:
        base: `name[@cut][+pooling][=weights]`.
        size: side of the pictures in pixels.
        digest: SHA-256 of its weights, or `random:SEED` (see `models.base.compute_weights_digest`).
        preprocessing: as in models.base.
    """

    base: str
    size: int
    digest: str
    preprocessing: str

    def __str__(self) -> str:
        return f"{self.base} at {self.size} px (weights {self.digest[:12]}, preprocessing {self.preprocessing})"


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The kernel mean embedding of a distribution of pictures, as weighted points: sum_j beta_j k(z_j, .).

    Args:
        points: z, (K, width) float32, normalised as in `kernel_mean_embedding.normalize_features`, or near that.
        weights: beta, (K,) float32, not negative, their sum 1.
        pictures: how many pictures it stands for.
    """

    points: np.ndarray
    weights: np.ndarray
    pictures: int


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """The description of a learnware, in plain JSON values.

    Args:
        name: in the store: small letters, digits, `-` and `_`.
        task: what is classified, in a few words.
        competition: the name of the competition it was trained for.
        classes: in the order of its outputs.
        metric: what `score` is.
        score: on folds that it was not trained on; None where not measured.
        spread: sample standard deviation of the score over folds; None where not measured.
        base: the network below the head, as a recipe names it; several joined by ` + `.
        strategy: the strategy that it was trained by.
        data: a sentence on the training pictures.
        pictures: number of training pictures.
        licence: of the model.
        size: side of the pictures that it takes, in pixels.
        megabytes: of the model's file.
        pictures_per_second: measured where it was added; None where not.
        parameters: number of weights.
    """

    name: str
    task: str
    competition: str
    classes: tuple[str, ...]
    metric: str
    score: float | None
    spread: float | None
    base: str
    strategy: str
    data: str
    pictures: int
    licence: str
    size: int
    megabytes: float
    pictures_per_second: float | None
    parameters: int


@dataclass(frozen=True, kw_only=True)
class InDistributionThreshold:
    """Distances of pictures of the task itself to its embedding, measured on pictures that it was not fitted to.

    Args:
        sizes: numbers of pictures in a set, ascending.
        distances: (sizes, draws) float32: unbiased squared MMD of drawn sets of each size, ascending in each row.
        single: (quantiles,) float32: nearness of single pictures (`compute_nearness`), ascending.
    """

    sizes: tuple[int, ...]
    distances: np.ndarray
    single: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Specification:
    """The specification of a learnware.

    Args:
        semantic: its description.
        probe: whose features the points are.
        gamma: of the kernel exp(-gamma |x - y|^2); one for a store.
        whole: the embedding of all training pictures.
        by_class: the embedding of each class's training pictures, by class name; only of classes that have some.
        typical: distances within the task.
    """

    semantic: ModelMetadata
    probe: Probe
    gamma: float
    whole: Embedding
    by_class: Mapping[str, Embedding]
    typical: InDistributionThreshold
