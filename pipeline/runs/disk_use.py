"""Measures what competitions, shared caches and the store take on the disk, in one walk; a hard link counts once."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.figures.text_table import format_records
from pipeline.output import print_results

COMPETITION_KINDS = ("raw", "download", "runs", "reports", "submissions", "other")
REMOVALS = {
    "raw": "rm -r {data}/competitions/NAME/raw; invoke download --comp NAME fetches it again",
    "download": "rm -r {data}/competitions/NAME/download; it is what an interrupted download goes on from",
    "runs": "invoke runs.delete --comp NAME --run RUN; invoke runs lists them",
    "reports": "rm -r {data}/reports/NAME; the command that wrote them writes them again",
    "submissions": "rm -r {submissions}/NAME; each run keeps its own submission.csv",
    "pixels": "invoke cache --prune KEY; invoke cache lists them, the next run decodes what it needs again",
    "features": "invoke cache --prune KEY; invoke cache lists them, the next run computes what it needs again",
    "answers": "invoke cache --prune KEY; they are a learnware's, which predicts again where it is asked",
    "engines": "rm -r {data}/cache/engines; the next run measures and exports again",
    "store": "invoke store.remove --learnware NAME; invoke store.list lists them",
}
"""How to free what is of a kind."""


@dataclass(frozen=True)
class DiskUse:
    """Bytes on the disk.

    Args:
        competitions: by competition, by kind.
        shared: by kind: what belongs to no single competition.
    """

    competitions: dict[str, Counter[str]] = field(default_factory=dict)
    shared: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Of everything."""
        return self.shared.total() + sum(kinds.total() for kinds in self.competitions.values())


def measure_disk_use() -> DiskUse:
    """Measures data/ and submissions/; links to elsewhere are not followed."""
    result, visited, home = DiskUse(), set[tuple[int, int]](), paths.home_folder()
    for path, status in _walk_files([home / "data", home / "submissions"]):
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        name, kind = _classify(path.relative_to(home).parts)
        kinds = result.competitions.setdefault(name, Counter()) if name else result.shared
        kinds[kind] += status.st_size
    return result


def count_freed_bytes(folders: Sequence[Path]) -> int:
    """Counts the bytes that are free once the folders are gone: not those of files with a hard link elsewhere."""
    links, size = Counter[tuple[int, int]](), dict[tuple[int, int], tuple[int, int]]()
    for _, status in _walk_files(folders):
        key = (status.st_dev, status.st_ino)
        links[key] += 1
        size[key] = (status.st_size, status.st_nlink)
    return sum(count for key, (count, needed) in size.items() if links[key] >= needed)


def _walk_files(folders: Sequence[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Yields every file in the folders, in the order of names."""
    for folder in folders:
        for parent, below, names in os.walk(folder):
            below.sort()
            for name in sorted(names):
                path = Path(parent) / name
                try:
                    yield path, path.lstat()
                except FileNotFoundError:  # removed meanwhile, by a run
                    continue


def _classify(parts: Sequence[str]) -> tuple[str, str]:
    """Returns the competition that a path below the home belongs to, empty for shared ones, and its kind."""
    match parts:
        case ["data", "competitions", name, kind, _, *_]:
            return name, kind if kind in ("raw", "download") else "other"
        case ["data", "reports", "store", *_] | ["data", "store", *_]:
            return "", "store"
        case ["data", ("runs" | "reports") as kind, name, _, *_]:
            return name, kind
        case ["data", ("competitions" | "kernels"), name, _, *_]:
            return name, "other"
        case ["submissions", name, _, *_]:
            return name, "submissions"
        case ["data", "cache", kind, _, *_]:
            return "", kind
    return "", "other"


def print_disk_use() -> None:
    """Prints what each competition takes, what is shared, the total, and how to free it."""
    use = measure_disk_use()
    home = paths.home_folder()
    names = {"data": paths.format_path(home / "data"), "submissions": paths.format_path(home / "submissions")}
    present = {kind for kinds in (use.shared, *use.competitions.values()) for kind, count in kinds.items() if count}
    removals = {kind: text.format_map(names) for kind, text in REMOVALS.items() if kind in present}
    records = [
        {"name": name, **{kind: kinds[kind] for kind in COMPETITION_KINDS}, "total": kinds.total()}
        for name, kinds in sorted(use.competitions.items(), key=lambda one: -one[1].total())
    ]
    shared = [{"name": kind, "bytes": count} for kind, count in use.shared.most_common()]
    columns = {"competition": "{name}", **{kind: _build_cell(kind) for kind in (*COMPETITION_KINDS, "total")}}
    print_results(
        {"competitions": records, "shared": dict(use.shared), "total": use.total, "removal": removals},
        [f"{_format_megabytes(use.total)} MB in {names['data']} and {names['submissions']}; the tables are in MB"],
        format_records(records, columns),
        format_records(shared, {"shared": "{name}", "total": _build_cell("bytes")}),
        format_records([{"kind": kind, "text": text} for kind, text in removals.items()],
                       {"to free": "{kind}", "command": "{text}"}),
        apart=False,
    )  # fmt: skip


def _build_cell(kind: str) -> Any:
    """Builds the cell of a kind's bytes, in MB; empty for none."""
    return lambda record: _format_megabytes(record[kind]) if record[kind] else ""


def _format_megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"
