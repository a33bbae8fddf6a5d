"""Search by one's own pictures: which learnwares were trained on such pictures, alone or together, or none.

Distances are squared MMD, unbiased for the number of pictures, compared with those of sets of about as many pictures of
each learnware's own task (`InDistributionThreshold`); single pictures are compared with single ones.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import StarshiftError, require
from pipeline.learnware import kernel_mean_embedding
from pipeline.learnware.kernel_mean_embedding import (
    compute_inner_product,
    compute_mean_kernel,
    compute_nearness,
    evaluate_embedding,
    fit_mixture_weights,
)
from pipeline.learnware.probe import require_equal_probes
from pipeline.learnware.types import Probe, Specification

FIT_PERCENTILE = 99
"""Percentage of a task's own sets that fit."""
OUTLIER_PERCENTILE = 5
"""Percentage of a task's own pictures that are not at home."""
MIN_SHARE_AT_HOME = 0.8
"""Share of pictures at home from which a set is a part of the task, in other proportions."""
FITS, PARTLY_FITS, DOES_NOT_FIT = "fits", "part of its task", "does not fit"


@dataclass(frozen=True, kw_only=True)
class SearchHit:
    """How one learnware compares with the pictures.

    Args:
        name: of the learnware.
        task: what it classifies.
        distance: squared MMD of the pictures to its training pictures; about zero, even below, where they are alike.
        typical: the median of such distances within its task, for sets of `compared` pictures.
        limit: what 99 of 100 such sets stay below.
        compared: pictures in those sets: the largest measured number that is not above that of the pictures.
        at_home: share of the pictures that are no stranger to it than 95 of 100 of its own.
        weight: its share in the mixture.
        verdict: FITS, PARTLY_FITS or DOES_NOT_FIT.
    """

    name: str
    task: str
    distance: float
    typical: float
    limit: float
    compared: int
    at_home: float
    weight: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The result of a search.

    Args:
        pictures: how many were searched with.
        matches: the nearest first.
        left_out: why, by the name of a learnware that the filter left out.
        mixture_distance: squared MMD of the pictures to the mixture of all matches by their weights.
        mixture_limit: the same mixture of the matches' limits.
        belongs: for each picture the name of the learnware it belongs to, or None.
    """

    pictures: int
    matches: tuple[SearchHit, ...]
    left_out: Mapping[str, str]
    mixture_distance: float
    mixture_limit: float
    belongs: tuple[str | None, ...]

    @property
    def covered(self) -> bool:
        """Whether the learnwares together cover the pictures."""
        return self.mixture_distance <= self.mixture_limit

    @property
    def fits(self) -> bool:
        """Whether anything here fits."""
        return self.covered or any(match.verdict != DOES_NOT_FIT for match in self.matches)


def search_specifications(
    features: np.ndarray,
    specifications: Sequence[Specification],
    probe: Probe,
    gamma: float,
    classes: Sequence[str] = (),
) -> SearchResult:
    """Ranks learnwares by how near their training pictures are to one's own.

    Args:
        features: (n, width), of the probe, as extracted; n at least 2.
        specifications: of the store.
        probe: of the features.
        gamma: the store's.
        classes: names that a learnware must know, all of them.

    Raises:
        StarshiftError: one picture, nothing to search in, or a specification of another probe or kernel.
    """
    for one in specifications:
        require_equal_probes(one.probe, probe, f"The learnware {one.semantic.name} was specified with another probe.")
        message = f"The learnware {one.semantic.name} was specified with another kernel."
        require(np.isclose(one.gamma, gamma, rtol=1e-6), message, expected=f"gamma {gamma}", received=one.gamma)
        width = one.whole.points.shape[1]
        fits = features.ndim == 2 and features.shape[1] == width
        require(fits, "Features of another width.", expected=f"(n, {width})", received=features.shape)
    matching, left_out = filter_by_classes(specifications, classes)
    require(len(features) >= 2, "A search needs pictures.", expected="at least 2", received=len(features))
    return _rank_specifications(kernel_mean_embedding.normalize_features(features), matching, gamma, left_out)


def normalize_class_name(name: str) -> str:
    """Returns a class name in the form that is compared: `Golden_Retriever` and `golden retriever` are equal."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def filter_by_classes(
    specifications: Sequence[Specification], classes: Sequence[str]
) -> tuple[list[Specification], dict[str, str]]:
    """Returns the specifications with every class of these names, and why the others are left out, by name.

    Raises:
        StarshiftError: none is left.
    """
    matching, left_out = [], {}
    for one in specifications:
        own = {normalize_class_name(name) for name in one.semantic.classes}
        missing = [name for name in classes if normalize_class_name(name) not in own]
        if missing:
            left_out[one.semantic.name] = f"does not know {', '.join(missing)}"
        else:
            matching.append(one)
    if not matching:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise StarshiftError("There is no learnware to compare with.", received=reasons or "an empty store")
    return matching, left_out


def find_class_columns(name: str, classes: Sequence[str], task_classes: Sequence[str]) -> list[int]:
    """Finds the columns of a learnware's predictions that are the classes of a task.

    Args:
        name: of the learnware.
        classes: its classes, in the order of its columns.
        task_classes: the task's.

    Returns:
        Places in `classes`, in the order of `task_classes`; an exact name before one that is equal once normalized.

    Raises:
        StarshiftError: it does not know all of them, or one of its classes stands for two.
    """
    normalized = {normalize_class_name(one): place for place, one in reversed(list(enumerate(classes)))}
    exact = {one: place for place, one in enumerate(classes)}
    places = {one: exact.get(one, normalized.get(normalize_class_name(one))) for one in task_classes}
    missing = [one for one, place in places.items() if place is None]
    if missing:
        raise StarshiftError(
            f"The learnware {name} does not know {len(missing)} of the {len(task_classes)} classes.",
            expected=", ".join(task_classes[:10]),
            received=f"{len(classes)} classes, without {', '.join(missing[:10])}",
            remedy="invoke store.search --images FOLDER --classes A,B lists those that know them",
        )
    columns = [place for place in places.values() if place is not None]
    twice = [one for one, place in places.items() if columns.count(place or 0) > 1]
    if twice:
        raise StarshiftError(
            f"The learnware {name} has one class for several of the task.",
            expected="classes that differ in more than case and signs",
            received=", ".join(twice[:10]),
        )
    return columns


def _rank_specifications(
    rows: np.ndarray, specifications: Sequence[Specification], gamma: float, left_out: Mapping[str, str]
) -> SearchResult:
    """Computes distances, the mixture, and where each picture belongs."""
    own = compute_mean_kernel(rows, gamma)
    cross = np.array([evaluate_embedding(rows, one.whole, gamma).mean() for one in specifications])
    inner = np.array([[compute_inner_product(a.whole, b.whole, gamma) for b in specifications] for a in specifications])
    weights = fit_mixture_weights(inner, cross)
    near = np.stack([compute_nearness(rows, list(one.by_class.values()), gamma) for one in specifications], axis=1)
    home = near >= [one.typical.single[OUTLIER_PERCENTILE] for one in specifications]
    matches = [
        _build_hit(one, len(rows), float(own - 2 * cross[m] + inner[m, m]), float(home[:, m].mean()), float(weights[m]))
        for m, one in enumerate(specifications)
    ]
    nearest = np.where(home, near, -np.inf).argmax(axis=1)
    names = [one.semantic.name for one in specifications]
    belongs = [names[best] if some else None for best, some in zip(nearest, np.any(home, axis=1).tolist(), strict=True)]
    return SearchResult(
        pictures=len(rows),
        matches=tuple(sorted(matches, key=lambda match: match.distance)),
        left_out=left_out,
        mixture_distance=float(own - 2 * weights @ cross + weights @ inner @ weights),
        mixture_limit=float(weights @ [match.limit for match in matches]),
        belongs=tuple(belongs),
    )


def _build_hit(one: Specification, pictures: int, distance: float, at_home: float, weight: float) -> SearchHit:
    """Builds the result of one learnware, with its verdict."""
    row = max(0, int(np.searchsorted(one.typical.sizes, pictures, side="right")) - 1)
    quantiles = one.typical.distances[row]
    typical, limit = (float(np.quantile(quantiles, share)) for share in (0.5, FIT_PERCENTILE / 100))
    verdict = FITS if distance <= limit else PARTLY_FITS if at_home >= MIN_SHARE_AT_HOME else DOES_NOT_FIT
    return SearchHit(
        name=one.semantic.name,
        task=one.semantic.task,
        distance=distance,
        typical=typical,
        limit=limit,
        compared=one.typical.sizes[row],
        at_home=at_home,
        weight=weight,
        verdict=verdict,
    )
