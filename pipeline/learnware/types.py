"""The words of a learnware's specification: what it is for in words, and how its training pictures are spread.

The second part is a reduced kernel mean embedding (Wu, Xu, Liu, Zhou, Model Reuse with Reduced Kernel Mean Embedding
Specification, arXiv 2001.07135): a few weighted points in a probe's feature space, and never a picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The one base whose features a store compares pictures by.

    Args:
        base: `name[@cut][+pooling][=weights]`.
        size: side of the pictures in pixels.
        digest: SHA-256 of its weights, or `random:SEED`.
        preprocessing: as in models.bases.
    """

    base: str
    size: int
    digest: str
    preprocessing: str

    def __str__(self) -> str:
        return f"{self.base} at {self.size} px (weights {self.digest[:12]}, preprocessing {self.preprocessing})"


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A distribution of pictures as weighted points: the mean of k(z, .) over them.

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
    """What a learnware is for, in plain JSON values.

    Args:
        name: in the store: small letters, digits, `-` and `_`.
        task: what is told apart, in a few words.
        competition: the name of the competition it was trained for.
        classes: in the order of its outputs.
        metric: what `score` is.
        score: measured on folds it was not trained on; None where nobody measured it.
        spread: sample deviation of the score over folds; None as above.
        base: the network below the head, as a recipe names it; several joined by ` + `.
        rung: how it was trained.
        data: a sentence on the training pictures.
        pictures: how many they are.
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
    rung: str
    data: str
    pictures: int
    licence: str
    size: int
    megabytes: float
    pictures_per_second: float | None
    parameters: int


@dataclass(frozen=True, kw_only=True)
class InDistributionThreshold:
    """How far pictures of the task itself are from its embedding, measured on pictures that it was not fitted to.

    Args:
        sizes: numbers of pictures in a set, ascending.
        distances: (sizes, draws) float32: unbiased squared MMD of drawn sets of each size, ascending in each row.
        single: (quantiles,) float32: how near single pictures are (`kernel.nearness`), ascending.
    """

    sizes: tuple[int, ...]
    distances: np.ndarray
    single: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What a learnware is for, in words and in numbers.

    Args:
        semantic: the words.
        probe: what the points are features of.
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
