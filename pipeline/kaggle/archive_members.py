"""Members of an archive: names that stay inside the folder, and the errors of all kinds; reads zip archives."""

import contextlib
import errno
import logging
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StarshiftError
from pipeline.files import CHUNK_BYTES, is_utf8
from pipeline.terminal import open_bar

log = logging.getLogger(__name__)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
METHOD_NAMES = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 20: "zstd", 93: "zstd", 95: "xz", 98: "PPMd"}
"""Of the zip format (APPNOTE 6.3.10, section 4.4.5) that are refused: zipfile lacks them, or unpacks all that a few kB
of bzip2 or LZMA grow to at once, which may be gigabytes."""
DRIVE = re.compile("[A-Za-z]:")
MAX_FOLDERS = 64
MAX_PART_BYTES = 255
"""Bytes of one part of a path that every common file system takes."""
MAX_NAME_BYTES = 1024
"""Bytes of a whole name: three archives inside each other stay below the 4,096 of Linux."""


@dataclass(frozen=True)
class ArchiveMember:
    """One file in an archive.

    Args:
        name: in the archive.
        bytes: its size, unpacked.
        plain: whether it is a file, and no link or device.
        encrypted: whether it needs a password.
        method: the name of a way of packing that cannot be unpacked here; else empty.
        checksum: its CRC-32; None where the archive has none.
    """

    name: str
    bytes: int
    plain: bool
    encrypted: bool = False
    method: str = ""
    checksum: int | None = None


def normalize_name(name: str) -> str:
    """Returns a member's name as a plain path below the folder: `a/b` for `./a//b`, and with a backslash of Windows.

    Raises:
        ValueError: it leaves the folder, names nothing, or is too long; says which.
    """
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    # A colon is a drive (C:) or another stream of a file on Windows, and part of a name elsewhere.
    has_drive = ":" in name and (os.name == "nt" or DRIVE.match(path) is not None)
    if path.startswith("/") or ".." in parts or has_drive or "\0" in name:
        raise ValueError(f"leaves the folder{', where a colon is part of a path' if has_drive else ''}")
    if not parts or not all(part.strip(". ") for part in parts):  # Windows takes `...` and `. .` for folders above
        raise ValueError("is made of dots and blanks, and names no file")
    path = "/".join(parts)
    if len(parts) > MAX_FOLDERS:
        raise ValueError(f"lies more than {MAX_FOLDERS} folders deep")
    if not is_utf8(path):
        raise ValueError("has a name that is not UTF-8")
    if len(path.encode()) > MAX_NAME_BYTES or max(len(part.encode()) for part in parts) > MAX_PART_BYTES:
        raise ValueError("has a name that is too long")
    return path


def build_unsafe_error(
    archive: Path, reason: str, remedy: str = "take the archive from Kaggle itself"
) -> StarshiftError:
    """Builds the error for an archive that is whole, but cannot be unpacked safely."""
    return StarshiftError(
        f"{archive.name} is not unpacked: {reason}.",
        expected="plain files inside the folder",
        received=reason,
        remedy=remedy,
    )


def build_damaged_error(archive: Path, received: str) -> StarshiftError:
    """Builds the error for an archive that is not whole."""
    return StarshiftError(
        f"{archive.name} is damaged.",
        expected="a whole archive: zip, 7z or tar",
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


def _open_zip(archive: Path) -> zipfile.ZipFile:
    """Opens a zip: names that say no encoding are UTF-8 where they can be, as macOS writes them, or else cp437."""
    try:
        return zipfile.ZipFile(archive, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(archive)


def damage(archive: Path) -> str:
    """Returns the archive's fault; empty where every member has its checksum."""
    with convert_read_errors(archive), _open_zip(archive) as opened:
        for entry in open_bar(opened.infolist(), desc=f"check {archive.name}", unit="file"):
            try:
                for _ in _read_pieces(opened, entry):
                    pass
            except zipfile.BadZipFile:
                return f"{entry.orig_filename} in it, which is not what its checksum says"
    return ""


def members(archive: Path) -> list[ArchiveMember]:
    """Returns the files in an archive.

    Raises:
        StarshiftError: it is damaged.
    """
    with convert_read_errors(archive), _open_zip(archive) as opened:
        return [
            ArchiveMember(
                entry.orig_filename,
                entry.file_size,
                is_plain(entry),
                bool(entry.flag_bits & 1),
                find_missing_method(entry),
                entry.CRC,
            )
            for entry in opened.infolist()
            if not is_folder(entry)
        ]


def find_missing_method(entry: zipfile.ZipInfo) -> str:
    """Returns the name of the way of packing, where it is refused (Deflate64 of Windows, zstd); else empty."""
    if entry.compress_type in METHODS:
        return ""
    return METHOD_NAMES.get(entry.compress_type, f"method {entry.compress_type}")


def is_same_file(member: ArchiveMember, path: Path) -> bool:
    """Returns whether a plain file has the size and the checksum of a member."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != member.bytes:
        return False
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            checksum = zlib.crc32(piece, checksum)
    return checksum == member.checksum


def is_plain(entry: zipfile.ZipInfo) -> bool:
    """Returns whether a member is a file (or a folder), and no link or device."""
    return stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)


def is_folder(entry: zipfile.ZipInfo) -> bool:
    """Returns whether a member is a folder, Windows's too; ZipInfo.is_dir fails on empty names before Python 3.12."""
    return entry.filename.endswith(("/", "\\"))


def extract(archive: Path, folder: Path, targets: Mapping[str, ArchiveMember]) -> None:
    """Unpacks members into a folder that has all the folders they need.

    Args:
        archive: a zip.
        folder: to unpack into.
        targets: where each member goes, as a path below the folder; nothing is there yet.

    Raises:
        StarshiftError: it is damaged.
        FileExistsError: something is there already.
    """
    with convert_read_errors(archive), _open_zip(archive) as opened:
        odd = (
            [] if getattr(opened, "metadata_encoding", None) else [target for target in targets if not target.isascii()]
        )
        if odd:
            message = "  warning: names in %s say no encoding and may be read wrongly: %d, such as %s"
            log.warning(message, archive.name, len(odd), odd[0])
        files = open_bar(targets.items(), desc=f"unpack {archive.name}", unit="file")
        for target, member in files:
            with open(f"{folder}/{target}", "xb") as file:
                file.writelines(_read_pieces(opened, opened.getinfo(member.name)))


def _read_pieces(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yields a member's bytes; fails where it exceeds its size or its checksum differs."""
    with opened.open(entry) as source:
        while piece := source.read(CHUNK_BYTES):
            yield piece
