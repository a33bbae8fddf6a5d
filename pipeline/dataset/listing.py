"""Finding and measuring pictures: what lies below a folder, the pictures by id, their digests and sizes."""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

import pandas as pd

from pipeline.dataset import images
from pipeline.dataset.junk import count_files, kind_of_junk
from pipeline.errors import StarshiftError
from pipeline.files import read_json, sha256_of_file, write_json

log = logging.getLogger(__name__)
COLUMNS = ["id", "path", "label", "fold", "group", "width", "height", "sha256"]
NOT_PICTURES = {".txt", ".csv", ".db", ".json", ".md", ".html", ".ini", ".xml", ".py", ".zip", ".7z"}
PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".tga", ".pcx"),
}
"""Suffixes that are surely a picture's. A file with another one is tried, too, unless it is hidden."""


def natural(text: str) -> list[tuple[int, int | str]]:
    """A sort key by which 2 comes before 10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]


def some(names: Iterable[str]) -> str:
    """The first few names, with escapes for what cannot be printed."""
    listed = list(names)
    shown = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in name) for name in listed[:4]]
    return ", ".join(shown) + (", ..." if len(listed) > 4 else "")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What lies below a folder. Names are paths below it.

    Args:
        pictures: file by id, 2 before 10.
        folders: those right below it, empty ones too.
        junk: the number of files of each kind of known junk.
        others: files whose suffix says that they are no pictures.
        broken: links that lead nowhere.
        repeated: folders that are left out because another name leads to them, too.
        locked: folders that cannot be read.
    """

    pictures: dict[str, Path]
    folders: list[str]
    junk: Counter[str]
    others: list[str]
    broken: list[str]
    repeated: list[str]
    locked: list[str]


def scan(folder: Path | None, suffix: str = "", without: Sequence[Path | None] = ()) -> Scan:
    """Looks through a folder and all folders below it, linked ones too.

    Args:
        folder: where to begin; nothing lies in None.
        suffix: what an id lacks to be a path below the folder.
        without: folders that are not looked into.
    """
    names, junk = defaultdict[str, list[str]](list), Counter[str]()
    root = folder or Path()
    for kind, name in _walk(root, {str(place) for place in without}) if folder else ():
        if kind == "junk":
            junk[str(kind_of_junk(PurePath(name).name))] += count_files(root / name)
        else:
            names[kind].append(name)
    pictures = {name.removesuffix(suffix): root / name for name in names["picture"]}
    return Scan(
        pictures={identity: pictures[identity] for identity in sorted(pictures, key=natural)},
        folders=[name for name in names["folder"] if "/" not in name],
        junk=+junk,
        others=names["other"],
        broken=names["broken"],
        repeated=names["repeated"],
        locked=names["locked"],
    )


def list_pictures(folder: Path) -> dict[str, Path]:
    """The pictures below a folder by their paths below it; warns of what is left out."""
    found = scan(folder)
    for warning in left_out(found):
        log.warning("  warning: %s", warning)
    return found.pictures


def holds_pictures(folder: Path) -> bool:
    """Whether any picture lies below a folder."""
    return any(kind == "picture" for kind, _ in _walk(folder, set()))


def _walk(folder: Path, without: set[str]) -> Iterator[tuple[str, str]]:
    """Everything below a folder: what it is (a list of Scan, in the singular) and its path below the folder."""
    seen, waiting = {os.path.realpath(folder)}, [""]
    while waiting:
        below, inner = waiting.pop(), list[os.DirEntry[str]]()
        try:
            with os.scandir(folder / below) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            yield "locked", below.rstrip("/") or folder.name
            continue
        for entry in entries:
            if (kind := _kind(entry, below)) != "folder":
                yield kind, below + entry.name
            elif entry.path not in without:
                inner.append(entry)
        ahead = []
        for entry in sorted(inner, key=os.DirEntry.is_symlink):  # a folder keeps its own name, not that of a link to it
            real, name = os.path.realpath(entry.path), below + entry.name
            yield ("repeated" if real in seen else "folder"), name
            ahead += [] if real in seen else [f"{name}/"]
            seen.add(real)
        waiting += reversed(ahead)


def _kind(entry: os.DirEntry[str], below: str) -> str:
    """What an entry of a folder is."""
    if kind_of_junk(entry.name):
        return "junk"
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file():
            return "broken" if entry.is_symlink() else "other"
    except OSError:  # a link to itself, or to where nobody may look
        return "broken"
    return "picture" if is_picture(below + entry.name) else "other"


def is_picture(name: str) -> bool:
    """Whether the file of this path is to be tried as a picture; a hidden one only if its suffix is a picture's."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in PICTURES if "/." in f"/{name}" else suffix not in NOT_PICTURES


def left_out(*scans: Scan) -> list[str]:
    """What was left out of some folders, in a sentence a kind, with counts."""
    junk = sum((one.junk for one in scans), Counter[str]())
    kinds = [f"{name} ({count:,})" for name, count in junk.most_common()]
    found = [f"{junk.total():,} files of macOS, Windows, a NAS or a tool are left out: {some(kinds)}"] if junk else []
    for kind, words in (
        ("broken", "links lead nowhere"),
        ("repeated", "folders are left out, since another name leads to them too"),
        ("locked", "folders cannot be read"),
    ):
        if names := [name for one in scans for name in getattr(one, kind)]:
            found.append(f"{len(names):,} {words}: {some(names)}")
    return found


def measured(rows: list[tuple[str, Path | None, str | None]], raw: Path, memory: Path) -> pd.DataFrame:
    """The table with digests and dimensions, which are remembered by path, size and time of change."""
    known = read_json(memory)
    known = known if isinstance(known, dict) else {}

    def measure(path: Path | None) -> tuple[str, list] | None:
        if path is None:
            return None
        status = path.stat()
        key = f"{path.relative_to(raw).as_posix()} {status.st_size} {status.st_mtime_ns}"
        if key in known:
            return key, known[key]
        try:
            width, height = images.dimensions(path)
        except images.Unreadable:
            width, height = 0, 0
        return key, [_digest(path), width, height]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = list(pool.map(measure, [path for _, path, _ in rows], chunksize=64))
    fresh = dict(entry for entry in measured if entry is not None)
    if fresh.keys() - known.keys():
        write_json(memory, {**known, **fresh})
    records = []
    for (identity, path, label), entry in zip(rows, measured, strict=True):
        digest, width, height = entry[1] if entry else ("", 0, 0)
        relative = path.relative_to(raw).as_posix() if path else ""
        records.append((identity, relative, label, -1, identity, width, height, digest))
    return pd.DataFrame(records, columns=COLUMNS)


def _digest(path: Path) -> str:
    """SHA-256 of a picture's bytes.

    Raises:
        StarshiftError: nobody may read it, or it went away.
    """
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise StarshiftError(
            f"{path} cannot be read.",
            expected="a file that may be read",
            received=error.strerror or str(error),
            remedy="give yourself the right to read it, or take it away",
        ) from error
