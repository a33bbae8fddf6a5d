"""Archives, zip or 7z, told by their content: checked, unpacked safely, and the archives inside them too."""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from pipeline.errors import StarshiftError
from pipeline.files import full_disk, room_in
from pipeline.kaggle import seven
from pipeline.kaggle.seven import Member

ABSURD_RATIO = 100
ABSURD_BYTES = 1 << 30
DEPTH = 3
SUFFIXES = (".zip", ".7z")
JUNK = ("__MACOSX/", ".DS_Store")


@dataclass(frozen=True)
class Summary:
    """What was unpacked."""

    members: int
    bytes: int


def kind(path: Path) -> str | None:
    """`zip`, `7z` or None, by the first bytes."""
    with path.open("rb") as file:
        head = file.read(6)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    return "7z" if head == b"7z\xbc\xaf\x27\x1c" else None


def check(archive: Path) -> None:
    """Reads the whole archive and holds it against its checksums.

    Raises:
        StarshiftError: it is damaged, or no archive.
    """
    found = kind(archive) if archive.is_file() else None
    damage = f"no archive but {archive.stat().st_size} bytes of something else" if archive.is_file() else "no such file"
    try:
        if found == "zip":
            with zipfile.ZipFile(archive) as opened:
                damage = seven.without_checksum(opened.testzip())
        elif found == "7z":
            damage = seven.damage(archive)
    except Exception as error:
        damage = f"{type(error).__name__}: {error}"
    if damage:
        raise seven.damaged(archive, damage)


def unpack(archive: Path, folder: Path) -> Summary:
    """Unpacks an archive, and the archives in it, into a folder.

    Raises:
        StarshiftError: unsafe members, an absurd expansion, a full disk, files that would overwrite each other.
    """
    with room_in(folder):
        members, size = _unpack(archive, folder)
        inside = unpack_inside(folder)
    return Summary(members + inside.members, size + inside.bytes)


def unpack_inside(folder: Path) -> Summary:
    """Unpacks the archives in a folder where they lie, and those in them; each is gone afterwards. See `unpack`.

    Returns:
        What that changed: files less the archives, and bytes.
    """
    members = size = 0
    with room_in(folder):
        for _ in range(DEPTH):
            inner = [path for path in sorted(folder.rglob("*")) if is_inner(path)]
            for path in inner:
                more, bytes_more = _unpack_inner(path)
                members, size = members + more - 1, size + bytes_more
    return Summary(members, size)


def is_inner(path: Path) -> bool:
    """Whether an unpacked file is an archive that is meant to be unpacked."""
    return path.suffix.lower() in SUFFIXES and path.is_file() and kind(path) is not None


def _unpack_inner(path: Path) -> tuple[int, int]:
    """Unpacks an archive that lies in the data, beside it, or in a folder of its name if it holds loose files."""
    tops = {PurePosixPath(member.name).parts[0] for member in listing(path)}
    folder = path.parent if len(tops) == 1 else path.with_suffix("")
    aside = path.with_name(f".{path.name}.archive")
    aside.mkdir()
    result = _unpack(path.rename(aside / path.name), folder)
    shutil.rmtree(aside)
    return result


def listing(archive: Path) -> list[Member]:
    """The files in an archive, junk left out."""
    try:
        if kind(archive) == "7z":
            found = seven.members(archive)
        else:
            with zipfile.ZipFile(archive) as opened:
                found = [_zipped(entry) for entry in opened.infolist() if not entry.is_dir()]
    except zipfile.BadZipFile as error:
        raise seven.damaged(archive, str(error)) from error
    if any(member.encrypted for member in found):
        raise _refused(archive, "it is encrypted")
    return [member for member in found if not member.name.startswith(JUNK[0]) and not member.name.endswith(JUNK[1])]


def _zipped(entry: zipfile.ZipInfo) -> Member:
    return Member(entry.orig_filename, entry.file_size, is_plain(entry), bool(entry.flag_bits & 1))


def is_plain(entry: zipfile.ZipInfo) -> bool:
    """Whether a member is a file (or a folder), and no link or device."""
    return stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)


def leaves(name: str) -> bool:
    """Whether a member of this name would be written outside of the folder that it is unpacked into."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or any(mark in name for mark in "\\:\0")


def _refused(archive: Path, reason: str) -> StarshiftError:
    return StarshiftError(
        f"{archive.name} is not unpacked: {reason}.",
        expected="plain files inside the folder",
        received=reason,
        remedy="take the archive from Kaggle itself",
    )


def _refuse(archive: Path, members: Sequence[Member], folder: Path) -> None:
    """Refuses an archive with unsafe members before anything is written."""
    for member in members:
        if leaves(member.name):
            where = ", where a colon or a backslash is part of a path" if set(member.name) & set(":\\") else ""
            raise _refused(archive, f"the member {member.name!r} leaves the folder{where}")
        if not member.plain:
            raise _refused(archive, f"the member {member.name!r} is a link or a device")
        if (folder / PurePosixPath(member.name)).exists():
            raise _refused(archive, f"the member {member.name!r} is there already")
    if len({member.name for member in members}) < len(members):
        raise _refused(archive, "two members have one name")
    total = sum(member.bytes for member in members)
    if total > ABSURD_BYTES and total > ABSURD_RATIO * archive.stat().st_size:
        raise _refused(
            archive, f"it would grow to {total / 1e9:.1f} GB, {total // archive.stat().st_size} times its size"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if total > shutil.disk_usage(folder).free:
        raise full_disk(folder, total)


def _unpack(archive: Path, folder: Path) -> tuple[int, int]:
    """Unpacks one archive. Returns the number of its files and their bytes."""
    members = listing(archive)
    _refuse(archive, members, folder)
    names = [member.name for member in members]
    try:
        if kind(archive) == "7z":
            seven.extract(archive, folder, names)
        else:
            with zipfile.ZipFile(archive) as opened:
                for member in tqdm(names, desc=f"unpack {archive.name}", unit="file", disable=None, leave=False):
                    opened.extract(member, folder)
        written = sum(os.stat(folder / member).st_size for member in names)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(archive, "a file and a folder have one name") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise seven.damaged(archive, f"{type(error).__name__}: {error}") from error
    if written > sum(member.bytes for member in members):
        raise _refused(archive, "it holds more than it says")
    return len(members), written
