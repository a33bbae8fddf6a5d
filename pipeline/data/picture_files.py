"""Scans folders for pictures, tells junk from data, and measures pictures."""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePath

import pandas as pd

from pipeline.data import images
from pipeline.errors import StarshiftError
from pipeline.files import hash_file, is_utf8, read_json, write_json
from pipeline.terminal import open_bar

log = logging.getLogger(__name__)
PICTURE_COLUMNS = ["id", "path", "label", "fold", "group", "width", "height", "kind", "sha256"]
NON_PICTURE_SUFFIXES = {".txt", ".csv", ".db", ".json", ".md", ".html", ".ini", ".xml", ".py", ".zip", ".7z"}
PICTURE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".tga", ".pcx"),
}
"""Suffixes that are surely a picture's. A file with another one is one if it can be opened as such, unless hidden."""


JUNK_NAMES = frozenset(
    {
        # macOS
        *(".ds_store", "__macosx", "icon\r", ".localized", ".spotlight-v100", ".trashes", ".fseventsd", ".apdisk"),
        *(".temporaryitems", ".documentrevisions-v100", ".appledouble", ".appledb", ".appledesktop", ".picasa.ini"),
        *("network trash folder", "temporary items"),
        # Windows
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("recycled", "recycler", "found.000", "picasa.ini"),
        # network drives
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", ".@__thumb", ".@upload_cache"),
        *(".snapshot", ".snapshots", "~snapshot", ".zfs", ".streams"),
        # Linux
        *("lost+found", ".directory", ".nomedia", ".thumbnails", ".comments"),
        # tools
        *(".ipynb_checkpoints", "__pycache__", ".git", ".svn", ".hg", ".dvc", ".venv", ".idea", ".vscode", ".cache"),
        *(".gitkeep", ".gitignore", ".gitattributes", ".dvcignore", ".keep", ".placeholder", ".picasaoriginals"),
        *(".dropbox", ".dropbox.cache", ".stfolder", ".stversions", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
    }
)
"""In small letters, as they are compared. All else is used, hidden or not: a class may be called `__background__`."""
JUNK_PREFIXES = ("._", ".trash", ".nfs", ".fuse_hidden", ".~lock.", "~$")
JUNK_SUFFIXES = (
    "~",
    ".part",
    ".partial",
    ".crdownload",
    ".download",
    ".opdownload",
    ".filepart",
    ".tmp",
    ".bak",
    ".swp",
)
"""Of earlier versions of files, and of downloads that were broken off."""


def find_junk_kind(name: str) -> str | None:
    """Returns the kind of junk that a file or folder of this name is, such as `.DS_Store` or `._*`; else None."""
    small = name.casefold()
    if small in JUNK_NAMES:
        return name
    ends = (f"*{end}" for end in JUNK_SUFFIXES if small.endswith(end) and is_picture(small.removesuffix(end)))
    return next((f"{start}*" for start in JUNK_PREFIXES if small.startswith(start)), None) or next(ends, None)


def count_files(path: Path) -> int:
    """Counts the files of one piece of junk: 1, or those in the folder; links are not followed."""
    return sum(len(names) for _, _, names in os.walk(path)) if path.is_dir() and not path.is_symlink() else 1


def natural_sort_key(text: str) -> list[tuple[int, int | str]]:
    """Returns a sort key by which 2 comes before 10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]


def format_names(names: Iterable[str]) -> str:
    """Formats the first few names, with escapes for what cannot be printed, and quotes where they have outer blanks."""
    names = list(names)
    first = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in name) for name in names[:4]]
    first = [repr(name) if name != name.strip() else name for name in first]
    return ", ".join(first) + (", ..." if len(names) > 4 else "")


def format_warning(names: Collection[str], text: str) -> list[str]:
    """Returns one warning with the number of names and the first few; none without names."""
    return [f"{len(names):,} {text}: {format_names(names)}"] if names else []


SHOWN_UNREADABLE = 5


def format_unreadable(reasons: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each of the first unreadable pictures, and one with the number of the others."""
    first = list(reasons.items())[:SHOWN_UNREADABLE]
    lines = [f"{format_names([name])} cannot be read: {reason}" for name, reason in first]
    return lines + [f"{len(reasons) - len(first):,} more cannot be read"] * (len(reasons) > len(first))


@dataclass(frozen=True, kw_only=True)
class FolderScan:
    """The contents of a folder. Names are paths below it.

    Args:
        pictures: file by id, 2 before 10.
        folders: its direct subfolders, empty ones too.
        junk: the number of files of each kind of known junk.
        others: files whose suffix is not a picture's.
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


def scan_folder(folder: Path | None, suffix: str = "", without: Sequence[Path | None] = ()) -> FolderScan:
    """Scans a folder and all folders below it, linked ones too.

    Args:
        folder: where to begin; None is empty.
        suffix: removed from a picture's path below the folder to get its id.
        without: folders that are skipped.

    Raises:
        StarshiftError: the name of a picture, or of its folder, is not UTF-8.
    """
    names, junk = defaultdict[str, list[str]](list), Counter[str]()
    root = folder or Path()
    for kind, name in _walk_folder(root, {str(place) for place in without}) if folder else ():
        if kind == "junk":
            junk[str(find_junk_kind(PurePath(name).name))] += count_files(root / name)
        else:
            names[kind].append(name)
    if odd := [name for name in names["picture"] if not name.isascii() and not is_utf8(name)]:
        raise StarshiftError(
            f"{len(odd):,} pictures in {root.name} have names that are not UTF-8.", expected="names in UTF-8",
            received=format_names(odd), remedy="rename them; the program convmv does so for a whole folder",
        )  # fmt: skip
    pictures = {name.removesuffix(suffix): root / name for name in names["picture"]}
    return FolderScan(
        pictures={identity: pictures[identity] for identity in sorted(pictures, key=natural_sort_key)},
        folders=[name for name in names["folder"] if "/" not in name],
        junk=+junk,
        others=names["other"],
        **{kind: names[kind] for kind in ("broken", "repeated", "locked")},
    )


def list_pictures(folder: Path) -> dict[str, Path]:
    """Lists the pictures below a folder by their paths below it; warns of files that are left out."""
    scan = scan_folder(folder)
    for warning in format_omissions(scan):
        log.warning("  warning: %s", warning)
    return scan.pictures


def has_pictures(folder: Path) -> bool:
    """Returns whether any picture lies below a folder."""
    return any(kind == "picture" for kind, _ in _walk_folder(folder, set()))


def _walk_folder(folder: Path, without: set[str]) -> Iterator[tuple[str, str]]:
    """Yields the kind of everything below a folder (a field of FolderScan, in the singular), and its path below it."""
    visited, stack = {os.path.realpath(folder)}, [""]
    while stack:
        below, inner = stack.pop(), list[os.DirEntry[str]]()
        try:
            with os.scandir(folder / below) as iterator:
                entries = sorted(iterator, key=lambda entry: entry.name)
        except OSError:
            yield "locked", below.rstrip("/") or folder.name
            continue
        for entry in entries:
            if (kind := _classify_entry(entry, below)) != "folder":
                yield kind, below + entry.name
            elif entry.path not in without:
                inner.append(entry)
        ahead = []
        for entry in sorted(inner, key=os.DirEntry.is_symlink):  # a folder keeps its own name, not that of a link to it
            real, name = os.path.realpath(entry.path), below + entry.name
            yield ("repeated" if real in visited else "folder"), name
            ahead += [] if real in visited else [f"{name}/"]
            visited.add(real)
        stack += reversed(ahead)


def _classify_entry(entry: os.DirEntry[str], below: str) -> str:
    """Returns the kind of an entry of a folder."""
    if find_junk_kind(entry.name):
        return "junk"
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file():
            return "broken" if entry.is_symlink() else "other"
    except OSError:  # a link to itself, or to where nobody may look
        return "broken"
    is_hidden, suffix = "/." in f"/{below}{entry.name}", os.path.splitext(entry.name)[1].lower()
    if is_picture(entry.name):
        return "picture"
    return "other" if is_hidden or suffix in NON_PICTURE_SUFFIXES or not images.is_readable(entry.path) else "picture"


def is_picture(name: str) -> bool:
    """Returns whether a file is a picture by its suffix."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def format_omissions(*scans: FolderScan) -> list[str]:
    """Returns a warning for each kind of file or folder that scans left out, with counts."""
    junk = sum((scan.junk for scan in scans), Counter[str]())
    kinds = format_names(f"{name} ({count:,})" for name, count in junk.most_common())
    warnings = [f"{junk.total():,} files of macOS, Windows, a NAS or a tool are left out: {kinds}"] if junk else []
    for kind, text in (
        ("broken", "links lead nowhere"),
        ("repeated", "folders are left out, since another name leads to them too"),
        ("locked", "folders cannot be read"),
    ):
        warnings += format_warning([name for scan in scans for name in getattr(scan, kind)], text)
    return warnings


def measure_pictures(rows: list[tuple[str, Path | None, str | None]], raw: Path, memory: Path) -> pd.DataFrame:
    """Returns the picture table with digests, formats and sides, cached in `memory` by path, size, inode and times."""
    cached = read_json(memory)
    cached = cached if isinstance(cached, dict) else {}

    def measure(path: Path | None) -> tuple[str, list] | None:
        if path is None:
            return None
        status = path.stat()
        changed = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        key = f"{path.relative_to(raw).as_posix()} {changed}"
        if key in cached:
            return key, cached[key]
        try:
            header: tuple[int, int, str] = images.read_header(path)
        except images.UnreadableImageError:
            header = (0, 0, "")
        return key, [_compute_digest(path), *header]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(measure, [path for _, path, _ in rows], chunksize=64)
        measured = list(open_bar(results, total=len(rows), desc="read pictures", unit="picture"))
    fresh = dict(entry for entry in measured if entry is not None)
    if fresh.keys() - cached.keys():
        write_json(memory, {**cached, **fresh})
    records = []
    for (identity, path, label), entry in zip(rows, measured, strict=True):
        digest, width, height, kind = entry[1] if entry else ("", 0, 0, "")
        relative = path.relative_to(raw).as_posix() if path else ""
        records.append((identity, relative, label, -1, identity, width, height, kind, digest))
    return pd.DataFrame(records, columns=PICTURE_COLUMNS)


def _compute_digest(path: Path) -> str:
    """Returns the SHA-256 of a picture's bytes.

    Raises:
        StarshiftError: the file cannot be read.
    """
    try:
        return hash_file(path)
    except OSError as error:
        raise StarshiftError(
            f"{path} cannot be read.",
            expected="a file that may be read",
            received=error.strerror or str(error),
            remedy="give yourself the right to read it, or take it away",
        ) from error


def find_paths(raw: Path, name: str, usable: Callable[[Path], bool] = os.path.lexists) -> list[Path]:
    """Returns usable paths of a relative name in `raw`, or else one or two levels below, or else in another case."""
    if name == ".":
        return [raw]
    for case_sensitive in (True, False):
        spelt = escape(name) if case_sensitive else "".join(map(_build_case_pattern, name))
        for pattern in ("", "*/", "*/*/"):
            if paths := [path for path in sorted(raw.glob(pattern + spelt)) if usable(path) and not is_junk(path, raw)]:
                return paths
    return []


def is_junk(path: Path, raw: Path) -> bool:
    """Returns whether a path below `raw` is junk, or lies in it."""
    return any(map(find_junk_kind, path.relative_to(raw).parts))


def _build_case_pattern(letter: str) -> str:
    """Returns a glob pattern for a letter in both cases."""
    return f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else escape(letter)
