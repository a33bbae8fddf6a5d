"""The specification of a learnware: fitted to features of its training pictures, packed into a file, unpacked, checked.

It holds a kernel mean embedding of all pictures and of each class, and distances that sets of the task's own pictures
have: measured with embeddings of one half of the pictures, on sets drawn from the other half. What is unpacked may come
from anyone: types, lengths, shapes, finiteness and the simplex are checked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.config import NAME_PATTERN
from pipeline.errors import require
from pipeline.learnware import kernel_mean_embedding
from pipeline.learnware.kernel_mean_embedding import (
    MAX_PICTURES,
    compute_inner_product,
    compute_nearness,
    evaluate_embedding,
    fit_embedding,
    rbf_kernel,
)
from pipeline.learnware.safe_loading import is_plain_value, parse_record, require_valid
from pipeline.learnware.types import Embedding, InDistributionThreshold, ModelMetadata, Probe, Specification
from pipeline.old_names import update_names

FORMAT_VERSION = 2
READABLE_FORMATS = (1, 2)
MAX_CLASSES, MAX_POINTS, MAX_WIDTH, MAX_DRAWS = 10_000, 100_000, 100_000, 10_000
SUM_TOLERANCE = 1e-3
DIGEST_PATTERN = re.compile(r"[0-9a-f]{64}|random:\d{1,10}(:jax)?")
ARRAY_NAMES = ("whole_points", "whole_weights", "class_points", "class_weights", "typical_distances", "typical_single")
SET_SIZES = (2, 5, 10, 20, 50, 100, 200, 500)
DRAWS = 200
POOL_DIVISOR = 4
"""A set is a quarter of the pictures at most: larger ones would overlap too much."""
QUANTILES = np.linspace(0, 1, 101)
MAX_CLASS_POINTS, PICTURES_PER_POINT = 10, 10
"""A class has a point for every ten pictures, ten at most, so that no point is a picture."""
CLASS_ROUNDS = 8
MIN_PICTURES = 16
"""Pictures that a task must have: halves of fewer are too small to measure."""


def fit_specification(
    features: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    probe: Probe,
    gamma: float,
    semantic: ModelMetadata,
    points: int = 50,
    seed: int = 0,
) -> Specification:
    """Fits the specification of a learnware.

    Args:
        features: (n, width), of the probe, of the training pictures as extracted; normalised here.
        labels: (n,) int, class numbers.
        classes: names, by number.
        probe: whose features they are.
        gamma: the store's, see `kernel_mean_embedding.estimate_gamma`.
        semantic: its description.
        points: K, of the whole embedding.
        seed: of everything drawn.

    Raises:
        StarshiftError: too few pictures, or labels that are not theirs.
    """
    rows, numbers = kernel_mean_embedding.normalize_features(features), np.asarray(labels)
    require(
        len(rows) >= MIN_PICTURES,
        "A specification that tells nothing of single pictures needs some.",
        expected=f"at least {MIN_PICTURES} training pictures",
        received=len(rows),
    )
    fits = numbers.shape == (len(rows),) and numbers.min() >= 0 and numbers.max() < len(classes)
    require(fits, "Labels belong to features.", expected=f"({len(rows)},), below {len(classes)}", received=numbers)
    by_class = fit_class_embeddings(rows, numbers, gamma, seed)
    return Specification(
        semantic=semantic,
        probe=probe,
        gamma=gamma,
        whole=fit_embedding(rows, gamma, points, seed),
        by_class={classes[number]: embedding for number, embedding in by_class.items()},
        typical=estimate_threshold(rows, numbers, gamma, points, seed),
    )


def fit_class_embeddings(rows: np.ndarray, labels: np.ndarray, gamma: float, seed: int) -> dict[int, Embedding]:
    """Fits the embedding of each class that has pictures, by its number."""
    embeddings = {}
    for number in np.unique(labels):
        own = rows[labels == number]
        points = int(np.clip(len(own) // PICTURES_PER_POINT, 1, MAX_CLASS_POINTS))
        embeddings[int(number)] = fit_embedding(own, gamma, points, seed, CLASS_ROUNDS)
    return embeddings


def estimate_threshold(
    rows: np.ndarray, labels: np.ndarray, gamma: float, points: int, seed: int
) -> InDistributionThreshold:
    """Measures distances within a task, of one half of its pictures to the embedding of the other.

    Args:
        rows: (n, width) float32, normalised, n at least MIN_PICTURES.
        labels: (n,) int.
        gamma: of the kernel.
        points: of the embedding.
        seed: draws the halves and the sets.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows))
    fitted, validation = order[: len(order) // 2], order[len(order) // 2 :]
    classes = fit_class_embeddings(rows[fitted], labels[fitted], gamma, seed)
    single = compute_nearness(rows[validation], list(classes.values()), gamma)
    whole = fit_embedding(rows[fitted], gamma, points, seed)
    pool = rows[validation[:MAX_PICTURES]]
    sizes = tuple(size for size in SET_SIZES if size <= max(SET_SIZES[0], len(pool) // POOL_DIVISOR))
    kernel = rbf_kernel(pool, pool, gamma)
    np.fill_diagonal(kernel, 0)
    values, length = evaluate_embedding(pool, whole, gamma), compute_inner_product(whole, whole, gamma)
    distances = [_compute_set_distances(kernel, values, size, random) + length for size in sizes]
    return InDistributionThreshold(
        sizes=sizes,
        distances=np.quantile(distances, QUANTILES, axis=1).T.astype(np.float32),
        single=np.quantile(single, QUANTILES).astype(np.float32),
    )


def _compute_set_distances(
    kernel: np.ndarray, values: np.ndarray, size: int, random: np.random.Generator
) -> np.ndarray:
    """Returns the unbiased squared MMD (DRAWS,) of sets drawn from a pool to an embedding, less its own length.

    Args:
        kernel: k of every two pictures of the pool, zero on the diagonal.
        values: the embedding at each picture of the pool.
        size: pictures in a set.
        random: draws them.
    """
    drawn = random.random((DRAWS, len(values))).argpartition(size - 1, axis=1)[:, :size]
    member = np.zeros((DRAWS, len(values)), np.float32)
    np.put_along_axis(member, drawn, 1, axis=1)
    own = ((member @ kernel) * member).sum(axis=1, dtype=np.float64) / (size * (size - 1))
    return own - 2 * (member @ values) / size


def update_record(record: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Returns the record of a learnware with today's names; kind is a key of old_names.RENAMED.

    Raises:
        StarshiftError: its format is not one that this version reads.
    """
    require_valid(record["format"] in READABLE_FORMATS, f"format {FORMAT_VERSION} or earlier", record["format"])
    return update_names(record, kind)


def pack_specification(specification: Specification) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the specification as (JSON values, arrays by name); `unpack_specification` reads both."""
    classes = specification.by_class.values()
    record = {
        "format": FORMAT_VERSION,
        "semantic": {**asdict(specification.semantic), "classes": list(specification.semantic.classes)},
        "probe": asdict(specification.probe),
        "gamma": specification.gamma,
        "pictures": specification.whole.pictures,
        "by_class": [
            {"class": name, "points": len(one.points), "pictures": one.pictures}
            for name, one in specification.by_class.items()
        ],
        "sizes": list(specification.typical.sizes),
    }
    width = specification.whole.points.shape[1]
    arrays = {
        "whole_points": specification.whole.points,
        "whole_weights": specification.whole.weights,
        "class_points": np.concatenate([np.empty((0, width), np.float32), *(one.points for one in classes)]),
        "class_weights": np.concatenate([np.empty(0, np.float32), *(one.weights for one in classes)]),
        "typical_distances": specification.typical.distances,
        "typical_single": specification.typical.single,
    }
    return record, arrays


def unpack_specification(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Specification:
    """Returns the specification that `pack_specification` packed.

    Raises:
        StarshiftError: anything is missing, of another type or shape, out of bounds, not finite, or off the simplex.
    """
    keys = {"format", "semantic", "probe", "gamma", "pictures", "by_class", "sizes"}
    require_valid(isinstance(record, Mapping) and set(record) == keys, f"the entries {', '.join(sorted(keys))}", record)
    record = update_record(record, "learnware specification")
    require_valid(
        isinstance(arrays, Mapping) and set(arrays) == set(ARRAY_NAMES),
        f"the arrays {', '.join(ARRAY_NAMES)}",
        type(arrays),
    )
    semantic = parse_record(ModelMetadata, record["semantic"])
    require_valid(NAME_PATTERN.fullmatch(semantic.name), f"a name {NAME_PATTERN.pattern}", semantic.name)
    require_valid(0 < len(semantic.classes) <= MAX_CLASSES, f"1 to {MAX_CLASSES} classes", len(semantic.classes))
    require_valid(len(set(semantic.classes)) == len(semantic.classes), "distinct classes", semantic.classes)
    probe = parse_record(Probe, record["probe"])
    require_valid(DIGEST_PATTERN.fullmatch(probe.digest), "a probe's digest", probe.digest)
    gamma = record["gamma"]
    require_valid(is_plain_value(float, gamma) and 0 < gamma < 1e9, "gamma above 0", gamma)
    points = _unpack_array(arrays, "whole_points", (None, None), MAX_POINTS)
    width = points.shape[1]
    require_valid(1 <= width <= MAX_WIDTH, f"points of width 1 to {MAX_WIDTH}", width)
    whole = _unpack_embedding(
        points, _unpack_array(arrays, "whole_weights", (len(points),), MAX_POINTS), record["pictures"]
    )
    return Specification(
        semantic=semantic,
        probe=probe,
        gamma=float(gamma),
        whole=whole,
        by_class=_unpack_classes(record["by_class"], arrays, semantic.classes, width),
        typical=_unpack_threshold(record["sizes"], arrays),
    )


def _unpack_classes(
    listed: Any, arrays: Mapping[str, np.ndarray], classes: tuple[str, ...], width: int
) -> dict[str, Embedding]:
    """Unpacks the embeddings of the classes from the two arrays that hold all of them."""
    require_valid(isinstance(listed, list) and 0 < len(listed) <= len(classes), "a list of classes", listed)
    for one in listed:
        require_valid(
            isinstance(one, Mapping) and set(one) == {"class", "points", "pictures"}, "class, points, pictures", one
        )
        require_valid(
            isinstance(one["class"], str) and one["class"] in classes, "a class of this learnware", one["class"]
        )
        require_valid(
            is_plain_value(int, one["points"]) and 1 <= one["points"] <= MAX_POINTS, "a number of points", one["points"]
        )
    require_valid(
        len({one["class"] for one in listed}) == len(listed), "each class once", [one["class"] for one in listed]
    )
    edges = np.cumsum([0, *(one["points"] for one in listed)])
    points = _unpack_array(arrays, "class_points", (int(edges[-1]), width), MAX_POINTS)
    weights = _unpack_array(arrays, "class_weights", (int(edges[-1]),), MAX_POINTS)
    return {
        one["class"]: _unpack_embedding(points[start:end], weights[start:end], one["pictures"])
        for one, start, end in zip(listed, edges, edges[1:], strict=False)
    }


def _unpack_embedding(points: np.ndarray, weights: np.ndarray, pictures: Any) -> Embedding:
    require_valid(len(points) > 0, "at least one point", len(points))
    require_valid(is_plain_value(int, pictures) and 0 < pictures < 10**9, "a number of pictures", pictures)
    on_simplex = (weights >= 0).all() and abs(float(weights.sum(dtype=np.float64)) - 1) <= SUM_TOLERANCE
    require_valid(on_simplex, "weights that are not negative and whose sum is 1", weights[:5])
    return Embedding(points=points, weights=weights, pictures=pictures)


def _unpack_threshold(sizes: Any, arrays: Mapping[str, np.ndarray]) -> InDistributionThreshold:
    known = (
        isinstance(sizes, list) and 0 < len(sizes) <= 100 and all(is_plain_value(int, one) and one > 1 for one in sizes)
    )
    require_valid(known and sizes == sorted(set(sizes)), "sizes of sets, ascending", sizes)
    distances = _unpack_array(arrays, "typical_distances", (len(sizes), None), MAX_DRAWS)
    single = _unpack_array(arrays, "typical_single", (None,), MAX_DRAWS)
    require_valid(distances.shape[1] > 0 and len(single) > 0, "distances", (distances.shape, single.shape))
    ascending = (np.diff(distances, axis=1) >= 0).all() and (np.diff(single) >= 0).all()
    require_valid(ascending, "distances in ascending order", "others")
    return InDistributionThreshold(sizes=tuple(sizes), distances=distances, single=single)


def _unpack_array(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...], most: int) -> np.ndarray:
    """Returns a float32 array of this shape (None: any length up to `most`), every value finite."""
    value = arrays[name]
    require_valid(isinstance(value, np.ndarray) and value.dtype == np.float32, f"{name} in float32", type(value))
    fits = value.ndim == len(shape) and all(
        have <= most if want is None else have == want for have, want in zip(value.shape, shape, strict=True)
    )
    require_valid(fits, f"{name} of shape {shape}", value.shape)
    require_valid(np.isfinite(value).all(), f"{name} with finite values", "others")
    return value
