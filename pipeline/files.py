"""Writes files atomically: beside, flushed to disk, renamed, so that no half-written file is taken for whole."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from pipeline.errors import StarshiftError
from pipeline.terminal import open_bar

CHUNK_BYTES = 1 << 20
MIN_BAR_BYTES = 1 << 26
"""Bytes of a file that may take some time to read."""
PARTIAL_PATTERN = re.compile(r"^\..*\.partial(\.|$)")
"""Names of files that are being written, or that a killed process left."""

DISK_FULL_MESSAGES = ("free space", "requested and")
"""Parts of NumPy's messages where a disk is full; its errors have no number."""
MIN_FREE_BYTES = 1 << 20
"""With fewer free bytes, an error of OpenVINO or HDF5 means a full disk."""
SIGNATURES = {
    b"\x1f\x8b": "a gzip file", b"PK\x07\x08": "one part of a split zip archive", b"BZh": "a bzip2 file",
    b"PK": "a zip archive, or a workbook of Excel", b"\xfd7zXZ": "an xz file", b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive", b"\x28\xb5\x2f\xfd": "a file packed by zstd", b"\x04\x22\x4d\x18": "a file packed by lz4",
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old workbook of Excel", b"PAR1": "a Parquet table", b"\x93NUMPY": "an array of NumPy",
    b"\xff\xfe": "text in UTF-16", b"\xfe\xff": "text in UTF-16", b"<": "an HTML page, or XML",
    b"{": "JSON", b"[": "JSON", b"version https://git-lfs": "a pointer of Git LFS, which `git lfs pull` replaces",
}  # fmt: skip
"""What a file of an unexpected kind may be, by its first bytes."""
HEIC = "a HEIC picture, which is to be saved as JPEG"
LATER_SIGNATURES = {
    4: {b"ftyphe": HEIC, b"ftypmif1": HEIC, b"ftyp": "a video"},
    128: {b"DICM": "a DICOM picture, which is to be saved as PNG"},
}
"""The same, by bytes at a later place."""
UNWRITABLE_ERRNOS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)


@contextlib.contextmanager
def translate_disk_errors(folder: Path) -> Iterator[None]:
    """Translates errors of a full or unwritable disk.

    Raises:
        StarshiftError: instead of the OSError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        full = number in (errno.ENOSPC, errno.EDQUOT) or any(text in str(error) for text in DISK_FULL_MESSAGES)
        if full or (number is None and count_free_bytes(folder) < MIN_FREE_BYTES):
            raise build_disk_full_error(folder) from error
        if isinstance(error, OSError) and number in UNWRITABLE_ERRNOS:
            raise StarshiftError(
                f"Nothing can be written to {folder}.",
                expected="a folder that may be written to",
                received=error.strerror or str(error),
                remedy="set STARSHIFT_HOME to a folder that may be written to",
            ) from error
        raise


def build_disk_full_error(folder: Path, needed: int = 0) -> StarshiftError:
    """Builds the error for a full disk."""
    return StarshiftError(
        "The disk is full.",
        expected=f"room for {needed / 1e9:.2f} GB in {folder}" if needed else f"room in {folder}",
        received=f"{count_free_bytes(folder) / 1e9:.2f} GB free",
        remedy="free some room, `invoke cache --prune KEY` helps, or set STARSHIFT_HOME to a larger disk",
    )


def count_free_bytes(folder: Path) -> int:
    """Counts the free bytes on the disk of a folder, which need not exist."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` with a binary file that takes the name `path` only once it is whole and on disk.

    Args:
        path: the final name; its folder is made where it is missing.
        write: called once with the open file.

    Raises:
        StarshiftError: the disk is full, or the folder cannot be written to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with remove_after(partial), translate_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


@contextlib.contextmanager
def remove_after(partial: Path) -> Iterator[None]:
    """Removes a file at the end, if it exists and can be removed; hides no error."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_atomic(path: Path) -> Iterator[Path]:
    """Yields a path beside `path`, with its endings, for libraries that write by name; it is renamed at the end.

    Args:
        path: the final name; its folder is made where it is missing.

    Raises:
        StarshiftError: the disk is full, or the folder cannot be written to.
    """
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    with remove_after(partial), translate_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically, with the line ends as given."""
    write_atomic(path, lambda file: file.write(text.encode("utf-8")))


def format_csv(rows: Iterable[Iterable[object]]) -> str:
    """Formats rows as CSV, lines ended by a line feed; a value with a comma, a quote, CR or LF is quoted."""
    lines: list[str] = []
    # csv quotes only the characters of its own line end: with a line feed alone, a CR in a value would break the row
    csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n").writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON value atomically, indented, in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads the JSON value in `path`; None where the file is missing or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class DamagedFileError(Exception):
    """A file exists and cannot be read as what it should be."""


@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator[Any]:
    """Opens an .npz file of plain arrays: a mapping from names to arrays, each read and checked on access.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: the file, or an array, is damaged or missing.
    """
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            yield stored
    except FileNotFoundError:
        raise
    except Exception as error:
        # A flipped bit in a zip file ends in any of a dozen errors: BadZipFile and zlib.error where a checksum notices
        # it, NotImplementedError or RuntimeError where it turns on compression or encryption, and more.
        raise DamagedFileError(f"{type(error).__name__}: {error}") from error


def format_utc(time: datetime | None = None) -> str:
    """Formats a time (UTC), now where it is None, as `2026-11-30T12:00:00Z`."""
    return f"{time or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def hash_file(path: Path) -> str:
    """Computes the SHA-256 of the file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) < MIN_BAR_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        with open_bar(total=size, desc=f"read {Path(path).name}", unit="B", unit_scale=True) as bar:
            while block := file.read(CHUNK_BYTES):
                digest.update(block)
                bar.update(len(block))
        return digest.hexdigest()


def hash_json(value: Any) -> str:
    """Computes the SHA-256 of the value's canonical JSON (sorted keys, no blanks), 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def is_utf8(name: str) -> bool:
    """Returns whether a file's name can be written as text: Python reads other bytes as lone surrogates (PEP 383)."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def describe_content(path: Path) -> str:
    """Describes what a file is by its first bytes, for an error: `an HTML page`, `512 bytes of something else`."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        return f"a file that cannot be read: {error.strerror}"
    return describe_bytes(head) or f"{path.stat().st_size:,} bytes of something else"


def describe_bytes(head: bytes) -> str:
    """Describes what bytes are by the first of them; empty where they are of no known kind."""
    if not head.strip():
        return "" if head else "an empty file"
    kinds = [kind for start, kind in SIGNATURES.items() if head.lstrip().startswith(start)]
    kinds += [
        kind for place, by in LATER_SIGNATURES.items() for start, kind in by.items() if head[place:].startswith(start)
    ]
    return kinds[0] if kinds else ""
