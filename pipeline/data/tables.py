"""The tables of a competition: the sample submission (ids in Kaggle's order, and columns) and the labels' rows.

Finding and measuring pictures: what lies below a folder, the pictures by id, their digests and sizes.
"""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePath

import pandas as pd

from pipeline.config import Competition, Labels
from pipeline.data import images
from pipeline.data.junk import count_files, find_junk_kind
from pipeline.errors import StarshiftError
from pipeline.files import hash_file, read_json, write_json

log = logging.getLogger(__name__)
PICTURE_COLUMNS = ["id", "path", "label", "fold", "group", "width", "height", "sha256"]
NON_PICTURE_SUFFIXES = {".txt", ".csv", ".db", ".json", ".md", ".html", ".ini", ".xml", ".py", ".zip", ".7z"}
PICTURE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".tga", ".pcx"),
}
"""Suffixes that are surely a picture's. A file with another one is tried, too, unless it is hidden."""


def natural_sort_key(text: str) -> list[tuple[int, int | str]]:
    """A sort key by which 2 comes before 10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part]


def format_names(names: Iterable[str]) -> str:
    """The first few names, with escapes for what cannot be printed."""
    listed = list(names)
    shown = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in name) for name in listed[:4]]
    return ", ".join(shown) + (", ..." if len(listed) > 4 else "")


@dataclass(frozen=True, kw_only=True)
class FolderScan:
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


def scan_folder(folder: Path | None, suffix: str = "", without: Sequence[Path | None] = ()) -> FolderScan:
    """Looks through a folder and all folders below it, linked ones too.

    Args:
        folder: where to begin; nothing lies in None.
        suffix: what an id lacks to be a path below the folder.
        without: folders that are not looked into.
    """
    names, junk = defaultdict[str, list[str]](list), Counter[str]()
    root = folder or Path()
    for kind, name in _walk_folder(root, {str(place) for place in without}) if folder else ():
        if kind == "junk":
            junk[str(find_junk_kind(PurePath(name).name))] += count_files(root / name)
        else:
            names[kind].append(name)
    pictures = {name.removesuffix(suffix): root / name for name in names["picture"]}
    return FolderScan(
        pictures={identity: pictures[identity] for identity in sorted(pictures, key=natural_sort_key)},
        folders=[name for name in names["folder"] if "/" not in name],
        junk=+junk,
        others=names["other"],
        broken=names["broken"],
        repeated=names["repeated"],
        locked=names["locked"],
    )


def list_pictures(folder: Path) -> dict[str, Path]:
    """The pictures below a folder by their paths below it; warns of what is left out."""
    found = scan_folder(folder)
    for warning in format_omissions(found):
        log.warning("  warning: %s", warning)
    return found.pictures


def has_pictures(folder: Path) -> bool:
    """Whether any picture lies below a folder."""
    return any(kind == "picture" for kind, _ in _walk_folder(folder, set()))


def _walk_folder(folder: Path, without: set[str]) -> Iterator[tuple[str, str]]:
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
            if (kind := _classify_entry(entry, below)) != "folder":
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


def _classify_entry(entry: os.DirEntry[str], below: str) -> str:
    """What an entry of a folder is."""
    if find_junk_kind(entry.name):
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
    return suffix in PICTURE_SUFFIXES if "/." in f"/{name}" else suffix not in NON_PICTURE_SUFFIXES


def format_omissions(*scans: FolderScan) -> list[str]:
    """What was left out of some folders, in a sentence a kind, with counts."""
    junk = sum((one.junk for one in scans), Counter[str]())
    kinds = [f"{name} ({count:,})" for name, count in junk.most_common()]
    found = (
        [f"{junk.total():,} files of macOS, Windows, a NAS or a tool are left out: {format_names(kinds)}"]
        if junk
        else []
    )
    for kind, words in (
        ("broken", "links lead nowhere"),
        ("repeated", "folders are left out, since another name leads to them too"),
        ("locked", "folders cannot be read"),
    ):
        if names := [name for one in scans for name in getattr(one, kind)]:
            found.append(f"{len(names):,} {words}: {format_names(names)}")
    return found


def measure_pictures(rows: list[tuple[str, Path | None, str | None]], raw: Path, memory: Path) -> pd.DataFrame:
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
            width, height = images.read_dimensions(path)
        except images.UnreadableImageError:
            width, height = 0, 0
        return key, [_compute_digest(path), width, height]

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
    return pd.DataFrame(records, columns=PICTURE_COLUMNS)


def _compute_digest(path: Path) -> str:
    """SHA-256 of a picture's bytes.

    Raises:
        StarshiftError: nobody may read it, or it went away.
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


@dataclass(frozen=True, kw_only=True)
class SampleSubmission:
    """What the submission must look like.

    Args:
        ids: in Kaggle's order.
        columns: the header.
    """

    ids: list[str]
    columns: list[str]


def find_path(raw: Path, name: str) -> Path | None:
    """The file or folder of this relative name in `raw`, or one level or two below; else one that differs in case."""
    return next(iter(find_paths(raw, name)), None)


def find_paths(raw: Path, name: str) -> list[Path]:
    """The same, and all others of the same level: none of them stands out. Junk is looked past."""
    if name == ".":
        return [raw]
    for case_sensitive in (True, False):
        spelt = escape(name) if case_sensitive else "".join(map(_build_case_pattern, name))
        for pattern in ("", "*/", "*/*/"):
            found = [path for path in sorted(raw.glob(pattern + spelt)) if not _is_junk_path(path.relative_to(raw))]
            if found:
                return found
    return []


def _is_junk_path(path: Path) -> bool:
    """Whether a path leads through known junk."""
    return any(map(find_junk_kind, path.parts))


def _build_case_pattern(letter: str) -> str:
    """A pattern for a letter in both cases."""
    return f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else escape(letter)


def read_csv_as_text(path: Path) -> pd.DataFrame:
    """A CSV file with a header, every value as the text that it is: ids keep their zeros, no name means NaN.

    Raises:
        StarshiftError: empty, not UTF-8, or no table.
    """
    try:
        return _restore_columns(pd.read_csv(path, dtype=str, keep_default_na=False))
    except (ValueError, pd.errors.ParserError) as error:
        raise StarshiftError(
            f"{path.name} cannot be read.", expected="a CSV file with a header, in UTF-8", received=str(error),
            remedy="download again with --force, or save it as UTF-8",
        ) from error  # fmt: skip


def _restore_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as its header says, where pandas took first columns for an index since rows end in more commas."""
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    rows, columns = frame.reset_index(), list(frame.columns)
    if (rows.iloc[:, len(columns) :] != "").any(axis=None):
        raise ValueError(f"rows have more values than the {len(columns)} of the header")
    return rows.iloc[:, : len(columns)].set_axis(columns, axis=1)


def read_sample_submission(competition: Competition, raw: Path) -> SampleSubmission | None:
    """The sample submission; None for one's own pictures.

    Raises:
        StarshiftError: it is missing, lacks its columns or names a picture twice.
    """
    wanted = competition.submission
    if wanted is None:
        return None
    path = find_path(raw, wanted.sample)
    if path is None:
        others = [found for found in raw.rglob("*.csv") if "sample" in found.name.lower()]
        others = [found for found in others if not _is_junk_path(found.relative_to(raw))]
        path = others[0] if len(others) == 1 else None
    if path is None:
        raise StarshiftError(
            "The sample submission is missing.", expected=wanted.sample, received=f"no such file in {raw}",
            remedy="download again with --force, or set Submission(sample=...)",
        )  # fmt: skip
    frame = read_csv_as_text(path)
    columns = list(frame.columns)
    needed = [wanted.image] if wanted.layout == "one column per class" else [wanted.image, wanted.label]
    if columns[: len(needed)] != needed or (wanted.layout != "one column per class" and len(columns) != 2):
        raise StarshiftError(
            f"{path.name} has other columns.", expected=", ".join(needed), received=", ".join(columns[:5])
        )
    ids = list(frame[wanted.image])
    if doubled := sorted(frame.loc[frame[wanted.image].duplicated(), wanted.image]):
        raise StarshiftError(f"{path.name} names {len(doubled)} ids twice.", received=", ".join(doubled[:5]))
    return SampleSubmission(ids=ids, columns=columns)


def read_label_rows(labels: Labels, raw: Path) -> tuple[Path, pd.DataFrame]:
    """The file of labels, and its rows as text.

    Raises:
        StarshiftError: it is not there, or lacks a column.
    """
    path = find_path(raw, str(labels.csv))
    frame = pd.DataFrame() if path is None else read_csv_as_text(path)
    if path is None or not {labels.image, labels.label} <= set(frame.columns):
        raise StarshiftError(
            "The labels are missing." if path is None else f"{path.name} has other columns.",
            expected=f"{labels.csv} with the columns {labels.image}, {labels.label}",
            received=", ".join(frame.columns[:5]) if path else f"no such file in {raw}",
        )
    return path, frame
