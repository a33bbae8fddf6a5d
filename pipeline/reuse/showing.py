"""A store on the terminal: its learnwares in a table, one of them by its card."""

import logging

from pipeline import paths
from pipeline.learnware.archive import Learnware
from pipeline.learnware.store import Store
from pipeline.report.table import lines

log = logging.getLogger(__name__)
HEADER = ["learnware", "classes", "score", "base", "rung", "pictures", "MB", "pictures/s", "digest"]


def tell(store: Store) -> None:
    """Prints the learnwares of a store that can be used; of the others why not."""
    gamma = "not yet decided" if store.gamma is None else f"{store.gamma:.4g}"
    log.info("%s: compared by %s, gamma %s", paths.shown(store.folder), store.probe, gamma)
    rows = [row(learnware) for learnware in store.learnwares()]
    for line in lines(HEADER, rows, HEADER[5:8]):
        log.info("%s", line)
    if rows:
        log.info("next: invoke store.show --learnware %s", rows[0][0])


def row(learnware: Learnware) -> list[str]:
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


def describe(learnware: Learnware) -> None:
    """Prints a learnware's card, and the digests of what its archive holds."""
    for line in learnware.card.splitlines():
        log.info("%s", line)
    log.info("%s, SHA-256 of its digests %s", paths.shown(learnware.path), learnware.digest)
    for name, digest in learnware.digests.items():
        log.info("  %s  %s", digest, name)
