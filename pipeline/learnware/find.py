"""`invoke store.search`: a folder of pictures is looked at here, and a store's learnwares are ranked by their nearness.

Only the store's specifications are read: no picture, feature or number of one's own leaves the machine.

A store on the terminal: its learnwares in a table, one of them by its card.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
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
    search_specifications,
    select_specifications,
)
from pipeline.learnware.store import Store

log = logging.getLogger(__name__)
SEARCH_HEADER = ["learnware", "task", "MMD²", "typical", "limit", "of sets of", "at home", "share", "verdict"]
MIN_LISTED_SHARE = 0.005
"""Shares of a mixture below this are left out of its sentence."""


def run_search(images: Path, store: Store, classes: Sequence[str] = (), engine: str = "auto") -> Path:
    """Searches a store by the pictures of a folder, and says what came of it. Returns the report's path.

    Args:
        images: a folder of pictures, and the folders below it.
        store: where to search.
        classes: names of classes that a learnware must know, all of them.
        engine: `auto` or the name of an engine.

    Raises:
        StarshiftError: the store is empty, or no learnware knows the classes, or the folder has too few pictures.
    """
    specifications = [learnware.specification for learnware in store.learnwares()]
    select_specifications(specifications, classes)
    if store.gamma is None:
        raise StarshiftError("The store has no kernel yet.", remedy="invoke store.add decides it with the first run")
    seen = extract_folder_features(images, load_probe_base(store.probe), engine)
    found = search_specifications(seen.features, specifications, store.probe, store.gamma, classes)
    print_result(images, seen, found, classes)
    path = paths.reports_folder("store") / f"search-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    write_json(path, build_report(images, store, seen, found, classes))
    log.info("wrote %s", paths.format_path(path))
    if found.fits:
        log.info("next: invoke predict --learnware %s --images %s", select_best(found), images)
    return path


def select_best(found: SearchResult) -> str:
    """The learnware to try first: the nearest of those that fit, or else of those whose task has such pictures."""
    return min(
        found.matches, key=lambda match: ((FITS, PARTLY_FITS, DOES_NOT_FIT).index(match.verdict), match.distance)
    ).name


def print_result(images: Path, seen: FolderFeatures, found: SearchResult, classes: Sequence[str]) -> None:
    """Prints the table, the mixture, where single pictures belong, and the verdict."""
    log.info("%s: %d pictures, looked at here; nothing was sent", paths.format_path(images), found.pictures)
    if seen.copies:
        log.info("  %d copies of them are counted once", seen.copies)
    for name, reason in seen.unreadable.items():
        log.warning("  warning: %s cannot be read: %s", name, reason)
    if classes:
        log.info(
            "only learnwares that know %s; left out: %s", ", ".join(classes), format_left_out(found.left_out) or "none"
        )
    for line in format_text_table(SEARCH_HEADER, [format_row(match) for match in found.matches], SEARCH_HEADER[2:8]):
        log.info("%s", line)
    log.info("%s", format_mixture(found))
    log.info("%s", format_picture_matches(seen, found))
    log.info("%s", format_verdict(found))


def format_row(match: SearchHit) -> list[str]:
    """A learnware's line in the table."""
    distances = [f"{value:.4f}" for value in (match.distance, match.typical, match.limit)]
    shares = [f"{match.at_home:.0%}", f"{match.weight:.0%}"]
    return [match.name, match.task, *distances, str(match.compared), *shares, match.verdict]


def format_left_out(left_out: Mapping[str, str]) -> str:
    """Who was left out and why, in a line."""
    return "; ".join(f"{name} ({reason})" for name, reason in left_out.items())


def format_mixture(found: SearchResult) -> str:
    """The mixture's sentence."""
    listed = sorted(found.matches, key=lambda match: -match.weight)
    parts = " + ".join(f"{match.weight:.0%} {match.name}" for match in listed if match.weight >= MIN_LISTED_SHARE)
    covers = "covers your pictures" if found.covered else "does not cover your pictures"
    return f"mixture: {parts}: MMD² {found.mixture_distance:.4f} (limit {found.mixture_limit:.4f}), {covers}"


def format_picture_matches(seen: FolderFeatures, found: SearchResult) -> str:
    """Where single pictures belong."""
    counts = Counter(found.belongs)
    parts = [f"{count} to {name}" for name, count in counts.most_common() if name]
    strange = [name for name, belongs in zip(seen.names, found.belongs, strict=True) if belongs is None]
    words = f"picture by picture: {', '.join(parts) or 'none belongs to any'}"
    return words + (f"; {len(strange)} to none, such as {', '.join(strange[:3])}" if strange and parts else "")


def format_verdict(found: SearchResult) -> str:
    """The answer in one sentence."""
    nearest = found.matches[0]
    if not found.fits:
        times = nearest.distance / max(nearest.limit, 1e-9)
        return (
            f"nothing here fits: the MMD² of your pictures to the nearest, {nearest.name}, is {times:.0f} times what "
            "99 of 100 sets of its own task stay below"
        )
    first = next(match for match in found.matches if match.name == select_best(found))
    if first.verdict == FITS:
        return f"{first.name} fits: your pictures are as near to its own as those are among themselves"
    if first.verdict == PARTLY_FITS:
        return f"{first.name} knows such pictures ({first.at_home:.0%} are at home), but in other proportions"
    return "no single learnware fits, but together they cover your pictures: see the mixture"


def build_report(
    images: Path, store: Store, seen: FolderFeatures, found: SearchResult, classes: Sequence[str]
) -> dict[str, Any]:
    """What was found, as JSON values."""
    return {
        "images": str(images),
        "store": str(store.folder),
        "probe": asdict(store.probe),
        "gamma": store.gamma,
        "classes": list(classes),
        "pictures": found.pictures,
        "copies": seen.copies,
        "unreadable": dict(seen.unreadable),
        "fits": found.fits,
        "verdict": format_verdict(found),
        "matches": [asdict(match) for match in found.matches],
        "left_out": dict(found.left_out),
        "mixture": {
            "weights": {match.name: match.weight for match in found.matches},
            "distance": found.mixture_distance,
            "limit": found.mixture_limit,
            "covers": found.covered,
        },
        "belongs": dict(zip(seen.names, found.belongs, strict=True)),
    }


STORE_HEADER = ["learnware", "classes", "score", "base", "rung", "pictures", "MB", "pictures/s", "digest"]


def print_store(store: Store) -> None:
    """Prints the learnwares of a store that can be used; of the others why not."""
    gamma = "not yet decided" if store.gamma is None else f"{store.gamma:.4g}"
    log.info("%s: compared by %s, gamma %s", paths.format_path(store.folder), store.probe, gamma)
    rows = [format_store_row(learnware) for learnware in store.learnwares()]
    for line in format_text_table(STORE_HEADER, rows, STORE_HEADER[5:8]):
        log.info("%s", line)
    if rows:
        log.info("next: invoke store.show --learnware %s", rows[0][0])


def format_store_row(learnware: Learnware) -> list[str]:
    """One line of the table."""
    words = learnware.specification.semantic
    score = "" if words.score is None else f"{words.metric} {words.score:.5f}"
    return [
        learnware.name,
        str(len(words.classes)),
        score + (f" ± {words.spread:.5f}" if words.spread else ""),
        words.base,
        words.rung,
        f"{words.pictures:,}",
        f"{words.megabytes:.1f}",
        "" if words.pictures_per_second is None else f"{words.pictures_per_second:.0f}",
        learnware.digest[:12],
    ]


def print_card(learnware: Learnware) -> None:
    """Prints a learnware's card, and the digests of what its archive holds."""
    for line in learnware.card.splitlines():
        log.info("%s", line)
    log.info("%s, SHA-256 of its digests %s", paths.format_path(learnware.path), learnware.digest)
    for name, digest in learnware.digests.items():
        log.info("  %s  %s", digest, name)
