"""Search by one's own pictures: which learnwares were trained on such pictures, alone or together, or none.

Distances are squared MMD, unbiased for the number of pictures, compared with those of sets of about as many pictures of
each learnware's own task (`InDistributionThreshold`); single pictures are compared with single ones.
"""

import logging
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.data.picture_files import format_unreadable
from pipeline.errors import StarshiftError, require
from pipeline.figures.text_table import Cell, format_records
from pipeline.files import write_json
from pipeline.learnware import kernel_mean_embedding
from pipeline.learnware.archive import Learnware
from pipeline.learnware.kernel_mean_embedding import (
    compute_inner_product,
    compute_mean_kernel,
    compute_nearness,
    evaluate_embedding,
    fit_mixture_weights,
)
from pipeline.learnware.probe import FolderFeatures, extract_folder_features, load_probe_base, require_equal_probes
from pipeline.learnware.store import Store
from pipeline.learnware.types import Probe, Specification
from pipeline.output import print_results

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


log = logging.getLogger(__name__)
SEARCH_COLUMNS: dict[str, Cell] = {
    "learnware": "{name}", "verdict": "{verdict}", "task": "{task}", "MMD²": "{distance:.4f}",
    "typical": "{typical:.4f}", "limit": "{limit:.4f}", "of sets of": "{compared}", "at home": "{at_home:.0%}",
    "share": "{weight:.0%}",
}  # fmt: skip
MIN_LISTED_SHARE = 0.005
"""Shares of a mixture below this are left out of its sentence."""


def run_search(images: Path, store: Store, classes: Sequence[str] = (), engine: str = "auto") -> Path:
    """Searches a store by the pictures of a folder and prints the result. Returns the report's path.

    Args:
        images: a folder of pictures, and the folders below it.
        store: where to search.
        classes: names of classes that a learnware must know, all of them.
        engine: `auto` or the name of an engine.

    Raises:
        StarshiftError: the store is empty, or no learnware knows the classes, or the folder has too few pictures.
    """
    specifications = [learnware.specification for learnware in store.learnwares()]
    filter_by_classes(specifications, classes)
    if store.gamma is None:
        raise StarshiftError("The store has no kernel yet.", remedy="invoke store.add decides it with the first run")
    pictures = extract_folder_features(images, load_probe_base(store.probe), engine)
    result = search_specifications(pictures.features, specifications, store.probe, store.gamma, classes)
    best = select_best(result)
    report = build_report(images, store, pictures, result, classes)
    log_pictures(images, pictures, result, classes)
    sentences = [format_mixture(result), format_picture_matches(pictures, result), report["verdict"]]
    print_results(report, format_records(report["matches"], SEARCH_COLUMNS), sentences)
    path = paths.reports_folder("store") / f"search-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    write_json(path, report)
    log.info("wrote %s", paths.format_path(path))
    if result.fits:
        log.info("next: invoke predict --learnware %s%s --images %s", best.name, store.flag, shlex.quote(str(images)))
    return path


def select_best(result: SearchResult) -> SearchHit:
    """Returns the learnware to try first: the nearest of those with the best verdict."""
    order = (FITS, PARTLY_FITS, DOES_NOT_FIT)
    return min(result.matches, key=lambda match: (order.index(match.verdict), match.distance))


def log_pictures(images: Path, pictures: FolderFeatures, result: SearchResult, classes: Sequence[str]) -> None:
    """Logs which pictures were searched with, and by which learnwares."""
    log.info("%s: %d pictures, looked at here; nothing was sent", paths.format_path(images), result.pictures)
    if pictures.copies:
        log.info("  %d copies of them are counted once", pictures.copies)
    for line in format_unreadable(pictures.unreadable):
        log.warning("  warning: %s", line)
    if classes:
        left_out = "; ".join(f"{name} ({reason})" for name, reason in result.left_out.items())
        log.info("only learnwares that know %s; left out: %s", ", ".join(classes), left_out or "none")


def format_mixture(result: SearchResult) -> str:
    """Formats the mixture as a sentence."""
    by_weight = sorted(result.matches, key=lambda match: -match.weight)
    parts = " + ".join(f"{match.weight:.0%} {match.name}" for match in by_weight if match.weight >= MIN_LISTED_SHARE)
    covers = "covers your pictures" if result.covered else "does not cover your pictures"
    return f"mixture: {parts}: MMD² {result.mixture_distance:.4f} (limit {result.mixture_limit:.4f}), {covers}"


def format_picture_matches(pictures: FolderFeatures, result: SearchResult) -> str:
    """Formats where single pictures belong."""
    parts = [f"{count} to {name}" for name, count in Counter(result.belongs).most_common() if name]
    strangers = [name for name, owner in zip(pictures.names, result.belongs, strict=True) if owner is None]
    line = f"picture by picture: {', '.join(parts) or 'none belongs to any'}"
    return line + (f"; {len(strangers)} to none, such as {', '.join(strangers[:3])}" if strangers and parts else "")


def format_verdict(result: SearchResult) -> str:
    """Formats the verdict as one sentence."""
    nearest, best = result.matches[0], select_best(result)
    if not result.fits:
        times = nearest.distance / max(nearest.limit, 1e-9)
        return (
            f"nothing here fits: the MMD² of your pictures to the nearest, {nearest.name}, is {times:.0f} times what "
            "99 of 100 sets of its own task stay below"
        )
    if best.verdict == FITS:
        return f"{best.name} fits: your pictures are as near to its own as those are among themselves"
    if best.verdict == PARTLY_FITS:
        return f"{best.name} knows such pictures ({best.at_home:.0%} are at home), but in other proportions"
    return "no single learnware fits, but together they cover your pictures: see the mixture"


def build_report(
    images: Path, store: Store, pictures: FolderFeatures, result: SearchResult, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns the result as JSON values."""
    return {
        "images": str(images),
        "store": str(store.folder),
        "probe": asdict(store.probe),
        "gamma": store.gamma,
        "classes": list(classes),
        "pictures": result.pictures,
        "copies": pictures.copies,
        "unreadable": dict(pictures.unreadable),
        "fits": result.fits,
        "verdict": format_verdict(result),
        "matches": [asdict(match) for match in result.matches],
        "left_out": dict(result.left_out),
        "mixture": {
            "weights": {match.name: match.weight for match in result.matches},
            "distance": result.mixture_distance,
            "limit": result.mixture_limit,
            "covers": result.covered,
        },
        "belongs": dict(zip(pictures.names, result.belongs, strict=True)),
    }


def print_store(store: Store) -> None:
    """Prints the learnwares of a store that can be used, and of the others why not."""
    gamma = "not yet decided" if store.gamma is None else f"{store.gamma:.4g}"
    header = f"{paths.format_path(store.folder)}: compared by {store.probe}, gamma {gamma}"
    records = [build_record(learnware) for learnware in store.learnwares()]
    following = [f"next: invoke store.show --learnware {records[0]['name']}{store.flag}"] if records else []
    about = {"store": store.folder, "probe": asdict(store.probe), "gamma": store.gamma}
    lines = [header, *format_records(records, STORE_COLUMNS), *following]
    print_results({**about, "learnwares": records}, lines, apart=False)


def build_record(learnware: Learnware) -> dict[str, Any]:
    """Builds a learnware's line in the table as plain JSON values."""
    about = learnware.specification.semantic
    return {
        "name": learnware.name, "task": about.task, "classes": len(about.classes), "metric": about.metric,
        "score": about.score, "spread": about.spread, "base": about.base, "strategy": about.strategy,
        "pictures": about.pictures, "megabytes": about.megabytes, "pictures_per_second": about.pictures_per_second,
        "digest": learnware.digest,
    }  # fmt: skip


def format_learnware_score(record: Mapping[str, Any]) -> str:
    """Formats the score with its spread, where they are known."""
    score = "" if record["score"] is None else f"{record['metric']} {record['score']:.5f}"
    return score + (f" ± {record['spread']:.5f}" if record["spread"] else "")


STORE_COLUMNS: dict[str, Cell] = {
    "learnware": "{name}", "classes": "{classes}", "score": format_learnware_score,
    "base": "{base}", "strategy": "{strategy}", "pictures": "{pictures:,}", "MB": "{megabytes:.1f}",
    "pictures/s": "{pictures_per_second:.0f}", "digest": "{digest:.12}",
}  # fmt: skip


def print_card(learnware: Learnware) -> None:
    """Prints a learnware's card, and the digests of the archive's members."""
    digests = [f"  {digest}  {name}" for name, digest in learnware.digests.items()]
    about = f"{paths.format_path(learnware.path)}, SHA-256 of its digests {learnware.digest}"
    record = {**build_record(learnware), "path": learnware.path, "digests": learnware.digests, "card": learnware.card}
    print_results(record, [*learnware.card.splitlines(), about, *digests], apart=False)
