"""Members of an archive, zip or 7z: their names, checked to stay inside the folder, and the errors of both."""

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StarshiftError

MAX_FOLDERS = 64
MAX_PART_BYTES = 255
"""Bytes of one part of a path that every common file system takes."""
MAX_NAME_BYTES = 1024
"""Bytes of a whole name: three archives inside each other stay below the 4,096 of Linux."""


@dataclass(frozen=True)
class ArchiveMember:
    """One file in an archive: its name, its size unpacked, whether it is a plain file, and whether it is encrypted."""

    name: str
    bytes: int
    plain: bool
    encrypted: bool = False


def normalize_name(name: str) -> str:
    """Returns a member's name as a plain path below the folder: `a/b` for `./a//b`.

    Raises:
        ValueError: it leaves the folder, names nothing, or is too long; says which.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or any(mark in name for mark in "\\:\0"):
        where = ", where a colon or a backslash is part of a path" if set(name) & set(":\\") else ""
        raise ValueError(f"leaves the folder{where}")
    if not parts or not all(part.strip(". ") for part in parts):  # Windows takes `...` and `. .` for folders above
        raise ValueError("is made of dots and blanks, and names no file")
    path = "/".join(parts)
    if len(parts) > MAX_FOLDERS:
        raise ValueError(f"lies more than {MAX_FOLDERS} folders deep")
    if len(path.encode()) > MAX_NAME_BYTES or max(len(part.encode()) for part in parts) > MAX_PART_BYTES:
        raise ValueError("has a name that is too long")
    return path


def build_unsafe_error(archive: Path, reason: str) -> StarshiftError:
    """Builds the error for an archive that is whole, but not safe to unpack."""
    return StarshiftError(
        f"{archive.name} is not unpacked: {reason}.",
        expected="plain files inside the folder",
        received=reason,
        remedy="take the archive from Kaggle itself",
    )


def build_damaged_error(archive: Path, received: str) -> StarshiftError:
    """Builds the error for an archive that is not whole."""
    return StarshiftError(
        f"{archive.name} is damaged.",
        expected="a whole zip or 7z archive",
        received=received,
        remedy="download it again",
    )


@contextlib.contextmanager
def convert_read_errors(archive: Path) -> Iterator[None]:
    """Turns whatever a library raises on an archive's bytes into one error.

    Raises:
        StarshiftError: the archive is damaged. An error of the disk stays what it is.
    """
    try:
        yield
    except StarshiftError:
        raise
    except Exception as error:
        # An OSError without a number is a decoder's; EINVAL is a seek to where the archive points
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise build_damaged_error(archive, f"{type(error).__name__}: {error}"[:300]) from error
