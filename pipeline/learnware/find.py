"""Prints the store: the search of it by a folder of pictures, the table of its learnwares, one learnware by its card.

Only the store's specifications are read: no picture, feature or number of one's own leaves the machine.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.figures.text_table import format_text_table
from pipeline.files import write_json
from pipeline.learnware.archive import Learnware
from pipeline.learnware.probe import FolderFeatures, extract_folder_features, load_probe_base
from pipeline.learnware.search import (
    DOES_NOT_FIT,
    FITS,
    PARTLY_FITS,
    SearchHit,
    SearchResult,
    filter_by_classes,
    search_specifications,
)
from pipeline.learnware.store import Store

log = logging.getLogger(__name__)
SEARCH_HEADER = ["learnware", "task", "MMD²", "typical", "limit", "of sets of", "at home", "share", "verdict"]
STORE_HEADER = ["learnware", "classes", "score", "base", "strategy", "pictures", "MB", "pictures/s", "digest"]
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
    print_result(images, pictures, result, classes)
    path = paths.reports_folder("store") / f"search-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    write_json(path, build_report(images, store, pictures, result, classes))
    log.info("wrote %s", paths.format_path(path))
    if result.fits:
        log.info("next: invoke predict --learnware %s --images %s", best.name, images)
    return path


def select_best(result: SearchResult) -> SearchHit:
    """Returns the learnware to try first: the nearest of those with the best verdict."""
    order = (FITS, PARTLY_FITS, DOES_NOT_FIT)
    return min(result.matches, key=lambda match: (order.index(match.verdict), match.distance))


def print_result(images: Path, pictures: FolderFeatures, result: SearchResult, classes: Sequence[str]) -> None:
    """Prints the table, the mixture, where single pictures belong, and the verdict."""
    log.info("%s: %d pictures, looked at here; nothing was sent", paths.format_path(images), result.pictures)
    if pictures.copies:
        log.info("  %d copies of them are counted once", pictures.copies)
    for name, reason in pictures.unreadable.items():
        log.warning("  warning: %s cannot be read: %s", name, reason)
    if classes:
        left_out = "; ".join(f"{name} ({reason})" for name, reason in result.left_out.items())
        log.info("only learnwares that know %s; left out: %s", ", ".join(classes), left_out or "none")
    rows = [
        [
            *(match.name, match.task, *(f"{value:.4f}" for value in (match.distance, match.typical, match.limit))),
            *(str(match.compared), f"{match.at_home:.0%}", f"{match.weight:.0%}", match.verdict),
        ]
        for match in result.matches
    ]
    for line in format_text_table(SEARCH_HEADER, rows, SEARCH_HEADER[2:8]):
        log.info("%s", line)
    log.info("%s", format_mixture(result))
    log.info("%s", format_picture_matches(pictures, result))
    log.info("%s", format_verdict(result))


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
    log.info("%s: compared by %s, gamma %s", paths.format_path(store.folder), store.probe, gamma)
    rows = [format_store_row(learnware) for learnware in store.learnwares()]
    for line in format_text_table(STORE_HEADER, rows, STORE_HEADER[5:8]):
        log.info("%s", line)
    if rows:
        log.info("next: invoke store.show --learnware %s", rows[0][0])


def format_store_row(learnware: Learnware) -> list[str]:
    """Formats a learnware's line in the table."""
    about = learnware.specification.semantic
    score = "" if about.score is None else f"{about.metric} {about.score:.5f}"
    score += f" ± {about.spread:.5f}" if about.spread else ""
    speed = "" if about.pictures_per_second is None else f"{about.pictures_per_second:.0f}"
    return [
        *(learnware.name, str(len(about.classes)), score, about.base, about.strategy, f"{about.pictures:,}"),
        *(f"{about.megabytes:.1f}", speed, learnware.digest[:12]),
    ]


def print_card(learnware: Learnware) -> None:
    """Prints a learnware's card, and the digests of the archive's members."""
    for line in learnware.card.splitlines():
        log.info("%s", line)
    log.info("%s, SHA-256 of its digests %s", paths.format_path(learnware.path), learnware.digest)
    for name, digest in learnware.digests.items():
        log.info("  %s  %s", digest, name)
