"""Reads tar archives, packed by gzip, bzip2 or xz or not at all."""

import tarfile
from collections.abc import Mapping
from pathlib import Path

from pipeline.files import CHUNK_BYTES
from pipeline.kaggle.archive_members import ArchiveMember, build_damaged_error, convert_read_errors
from pipeline.terminal import open_bar

SIGNATURES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
"""Of gzip, bzip2 and xz, in which a tar may be packed."""
MAGIC, MAGIC_PLACE = b"ustar", 257
"""Of a tar that is not packed."""


def is_tar(path: Path) -> bool:
    """Returns whether a file is a tar; a packed file of another kind is none."""
    with path.open("rb") as file:
        head = file.read(MAGIC_PLACE + len(MAGIC))
    return (head.startswith(SIGNATURES) or head[MAGIC_PLACE:] == MAGIC) and _opens(path)


def _opens(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, OSError):  # a packed file that ends early
        return False


def damage(archive: Path) -> str:
    """Returns the archive's fault; empty where it can be read to its end. Only what packs a tar has a checksum."""
    with convert_read_errors(archive), tarfile.open(archive) as opened:
        for entry in open_bar(opened, desc=f"check {archive.name}", unit="file"):
            source = opened.extractfile(entry) if entry.isreg() else None
            while source and source.read(CHUNK_BYTES):
                pass
        while opened.fileobj.read(CHUNK_BYTES):  # to the checksum of what it is packed by, behind the tar's own end
            pass
    return ""


def members(archive: Path) -> list[ArchiveMember]:
    """Returns the files in an archive.

    Raises:
        StarshiftError: it is damaged.
    """
    with convert_read_errors(archive), tarfile.open(archive) as opened:
        listed = [ArchiveMember(entry.name, entry.size, entry.isreg()) for entry in opened if not entry.isdir()]
        opened.fileobj.seek(opened.offset)  # tarfile takes a cut, or a damaged header, for the end: a block of zeros
        if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise build_damaged_error(archive, f"its end is missing, or damaged behind {len(listed):,} files")
        return listed


def extract(archive: Path, folder: Path, targets: Mapping[str, ArchiveMember]) -> None:
    """Unpacks members into a folder that has all the folders they need.

    Args:
        archive: a tar.
        folder: to unpack into.
        targets: where each member goes, as a path below the folder; nothing is there yet.

    Raises:
        StarshiftError: it is damaged.
        FileExistsError: something is there already.
    """
    place_of = {member.name: target for target, member in targets.items()}
    # In the order of the archive: a packed one cannot jump back.
    with convert_read_errors(archive), tarfile.open(archive) as opened:
        for entry in open_bar(opened, desc=f"unpack {archive.name}", unit="file"):
            if entry.name in place_of and (source := opened.extractfile(entry)):
                with open(f"{folder}/{place_of[entry.name]}", "xb") as file:
                    while piece := source.read(CHUNK_BYTES):
                        file.write(piece)
