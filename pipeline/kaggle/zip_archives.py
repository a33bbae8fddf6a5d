"""Reads zip archives with zipfile, within bounds of memory and disk for each member."""

import bz2
import copy
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from pipeline.files import CHUNK_BYTES
from pipeline.kaggle.archive_members import ArchiveMember, convert_read_errors

READ_SIZES = {zipfile.ZIP_LZMA: 4096}
"""Bytes read at once: zipfile unpacks all of a piece of LZMA, which grows up to 7,000 times."""


def damage(archive: Path) -> str:
    """Returns the archive's fault; empty where every member has its checksum."""
    with convert_read_errors(archive), zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
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
    with convert_read_errors(archive), zipfile.ZipFile(archive) as opened:
        return [
            ArchiveMember(entry.orig_filename, entry.file_size, is_plain(entry), bool(entry.flag_bits & 1))
            for entry in opened.infolist()
            if not is_folder(entry)
        ]


def is_plain(entry: zipfile.ZipInfo) -> bool:
    """Returns whether a member is a file (or a folder), and no link or device."""
    return stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)


def is_folder(entry: zipfile.ZipInfo) -> bool:
    """Returns whether a member is a folder; ZipInfo.is_dir fails on an empty name until Python 3.12."""
    return entry.filename.endswith("/")


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
    with convert_read_errors(archive), zipfile.ZipFile(archive) as opened:
        files = tqdm(targets.items(), desc=f"unpack {archive.name}", unit="file", disable=None, leave=False)
        for target, member in files:
            with open(f"{folder}/{target}", "xb") as file:
                file.writelines(_read_pieces(opened, opened.getinfo(member.name)))


def _read_pieces(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yields a member's bytes; fails where it exceeds its size or its checksum differs."""
    if entry.compress_type == zipfile.ZIP_BZIP2:
        yield from _read_bzip2_pieces(opened, entry)
        return
    size = READ_SIZES.get(entry.compress_type, CHUNK_BYTES)
    with opened.open(entry) as source:
        while piece := source.read(size):
            yield piece


def _read_bzip2_pieces(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Unpacks bzip2 with bounded memory: zipfile holds all that 4 kB grow to, and that may be 4 GB."""
    raw = copy.copy(entry)
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, entry.compress_size
    del raw.CRC  # of what is unpacked; zipfile checks none where there is none
    size = checksum = 0
    with opened.open(raw) as packed, bz2.BZ2File(packed) as source:
        while piece := source.read(CHUNK_BYTES):
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
            if size > entry.file_size:
                break
            yield piece
    if (size, checksum) != (entry.file_size, entry.CRC):
        raise zipfile.BadZipFile(f"{entry.orig_filename} is not what its checksum says")
