"""Checks and safely unpacks archives, zip, 7z or tar by their content, and the archives inside them.

All files are written inside one folder, the outermost archive's, and within one budget of files and bytes.
"""

import logging
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

from pipeline.files import build_disk_full_error, count_free_bytes, describe_content, translate_disk_errors
from pipeline.kaggle import archive_members, seven_zip, tar_archives
from pipeline.kaggle.archive_members import (
    ArchiveMember,
    build_damaged_error,
    build_unsafe_error,
    is_same_file,
    normalize_name,
)

log = logging.getLogger(__name__)
MAX_RATIO = 100
MIN_BYTE_LIMIT = 1 << 30
MAX_FILES = 2_000_000
"""Files and folders. ImageNet, among Kaggle's largest competitions, has 1.4 million pictures. Each takes an inode,
so a limit of bytes alone would let a few megabytes of empty files fill a disk."""
MAX_NESTING = 3
ARCHIVE_SUFFIXES = (".zip", ".7z", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
FOREIGN = re.compile(r".*\.(rar|r\d\d|z\d\d|zst|lz4|(zip|7z|rar|tar|t?gz)\.(part)?\d+)", re.IGNORECASE)
"""Names of archives that nothing here unpacks, and of parts of split ones."""
BY_HAND = "take the archive from Kaggle itself, or unpack it by hand and give the folder"
JUNK = re.compile(r"(^|[/\\])(__MACOSX[/\\]|\._|\.DS_Store$)")
"""What macOS adds, beside the files or in a folder of its own."""


@dataclass(frozen=True)
class UnpackSummary:
    """What was unpacked."""

    members: int
    bytes: int


class UnpackBudget:
    """A limit of files and bytes for the outermost archives and all those in them.

    Args:
        outermost: the archives.
    """

    def __init__(self, outermost: Iterable[Path]) -> None:
        self.packed = sum(path.stat().st_size for path in outermost)
        self.members = self.files = self.bytes = 0

    def take(self, archive: Path, members: Collection[ArchiveMember], folders: int = 0) -> None:
        """Takes the sizes that an archive lists; no member is written beyond its listed size.

        Raises:
            StarshiftError: the total is too large.
        """
        self.members += len(members)
        self.files += len(members) + folders
        self.bytes += sum(member.bytes for member in members)
        growth = f"{self.files:,} files and folders; {MAX_FILES:,} are the most" if self.files > MAX_FILES else ""
        if not growth and self.bytes > max(MIN_BYTE_LIMIT, MAX_RATIO * self.packed):
            growth = f"{self.bytes / 1e9:.1f} GB, {self.bytes // max(1, self.packed):,} times its size"
        if growth:
            raise build_unsafe_error(archive, f"all in all it would grow to {growth}")


def detect_format(path: Path) -> str | None:
    """Returns `zip`, `7z`, `tar` or None, by the first bytes."""
    with path.open("rb") as file:
        head = file.read(6)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head == b"7z\xbc\xaf\x27\x1c":
        return "7z"
    return "tar" if tar_archives.is_tar(path) else None


def _select_reader(archive: Path) -> ModuleType:
    """Returns the module that reads an archive."""
    return {"7z": seven_zip, "tar": tar_archives}.get(str(detect_format(archive)), archive_members)


def check_archive(archive: Path) -> None:
    """Reads the whole archive and verifies its checksums.

    Raises:
        StarshiftError: it is damaged, no archive, or over the budget.
    """
    if not archive.is_file():
        raise build_damaged_error(archive, "no such file")
    kind = describe_content(archive)
    if FOREIGN.fullmatch(archive.name) or kind.startswith(("a RAR", "a file packed", "one part")):
        raise build_unsafe_error(
            archive, f"{kind}, as it seems", "unpack it by hand, all its parts, and give the folder"
        )
    if detect_format(archive) is None:
        raise build_damaged_error(archive, f"no archive but {kind}")
    UnpackBudget([archive]).take(archive, _list_members(archive))
    if damage := _select_reader(archive).damage(archive):
        raise build_damaged_error(archive, damage)


def unpack_archive(archive: Path, folder: Path) -> UnpackSummary:
    """Unpacks an archive, and the archives in it, into a folder.

    Raises:
        StarshiftError: unsafe members, an absurd expansion, a full disk, files that would overwrite each other.
    """
    budget = UnpackBudget([archive])
    with translate_disk_errors(folder):
        nested = _unpack_one(archive, find_target_paths(archive), folder, folder, budget)
        return _unpack_levels(nested, folder, budget)


def unpack_nested(folder: Path) -> UnpackSummary:
    """Unpacks the archives in a folder in place, and those in them, and deletes them. See `unpack_archive`.

    Returns:
        The difference: files less the archives, and bytes.
    """
    with translate_disk_errors(folder):
        files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
        nested = [path for path in files if is_nested_archive(path)]
        return _unpack_levels(nested, folder, UnpackBudget(nested))


def find_uncopyable(folder: str, names: list[str]) -> list[str]:
    """Returns the entries of a folder for `copytree` to leave out, with a warning: pipes, devices, and links to nowhere
    or to a folder above.
    """
    here, paths = Path(os.path.realpath(folder)), [Path(folder, name) for name in names]
    lost = [
        path.name for path in paths if not path.exists() or (path.is_symlink() and here.is_relative_to(path.resolve()))
    ]
    lost += [path.name for path in paths if path.exists() and not (path.is_file() or path.is_dir())]
    if lost:
        message = "  warning: links to nowhere or in a circle, pipes and devices are left out: %d, such as %s"
        log.warning(message, len(lost), lost[0])
    return lost


def _unpack_levels(nested: list[Path], root: Path, budget: UnpackBudget) -> UnpackSummary:
    """Unpacks archives, those in them, and those in these. Returns the files and bytes of the budget's archives."""
    unpacked = 0
    for _ in range(MAX_NESTING):
        unpacked += len(nested)
        nested = [inner for path in sorted(nested) for inner in _unpack_in_place(path, root, budget)]
    if nested:
        message = "  warning: archives that lie more than %d archives deep stay packed: %d, such as %s"
        log.warning(message, MAX_NESTING, len(nested), nested[0].name)
    packed = sorted(
        Path(place, name)
        for place, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(ARCHIVE_SUFFIXES) or FOREIGN.fullmatch(name)
    )
    packed = [path for path in packed if path.is_file() and not is_nested_archive(path)]
    if packed:
        message = "  warning: archives that cannot be unpacked here stay packed: %d, such as %s, which is %s"
        log.warning(message, len(packed), packed[0].name, describe_content(packed[0]))
    return UnpackSummary(budget.members - unpacked, budget.bytes)


def is_nested_archive(path: Path) -> bool:
    """Returns whether an unpacked file is an archive to unpack."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and path.is_file() and detect_format(path) is not None


def remove_suffix(name: str) -> str:
    """Returns an archive's name without its ending, all of `.tar.gz`."""
    endings = [suffix for suffix in ARCHIVE_SUFFIXES if name.lower().endswith(suffix)]
    return name[: -len(max(endings, key=len))] if endings else name


def _unpack_in_place(path: Path, root: Path, budget: UnpackBudget) -> list[Path]:
    """Unpacks an archive in the data beside it, or into a folder of its name if it has several top-level entries.

    Returns:
        The archives in it.
    """
    stem = remove_suffix(path.name)
    try:
        normalize_name(stem)
    except ValueError as error:
        raise build_unsafe_error(path, f"without its ending its name {error}") from error
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as aside:  # a member may have the archive's own name
        archive = path.rename(Path(aside, path.name))
        targets = find_target_paths(archive)
        tops = {target.partition("/")[0] for target in targets}
        folder = path.parent if len(tops) == 1 else path.parent / stem
        return _unpack_one(archive, targets, folder, root, budget)


def _list_members(archive: Path) -> list[ArchiveMember]:
    """Returns the files in an archive that needs no password."""
    members: list[ArchiveMember] = _select_reader(archive).members(archive)
    if any(member.encrypted for member in members):
        raise build_unsafe_error(archive, "it is encrypted", "unpack it with its password, and give the folder")
    if methods := sorted({member.method for member in members if member.method}):
        raise build_unsafe_error(
            archive,
            f"it is packed by {', '.join(methods)}, which is not unpacked here",
            "unpack it by hand, and give the folder",
        )
    return members


def find_target_paths(archive: Path) -> dict[str, ArchiveMember]:
    """Returns the files in an archive by their target, a plain path below the folder; junk is left out.

    Raises:
        StarshiftError: the archive is damaged, encrypted or unsafe.
    """
    targets: dict[str, ArchiveMember] = {}
    for member in _list_members(archive):
        if JUNK.search(member.name):
            continue
        try:
            target = normalize_name(member.name)
        except ValueError as error:
            raise build_unsafe_error(archive, f"the member {member.name[:80]!r} {error}") from error
        if not member.plain:
            raise build_unsafe_error(archive, f"the member {member.name!r} is a link or a device", BY_HAND)
        if target in targets:
            raise build_unsafe_error(
                archive, f"two members have one name, {targets[target].name!r} and {member.name!r}", BY_HAND
            )
        targets[target] = member
    return targets


def _list_folders(targets: Iterable[str]) -> list[str]:
    """Returns the folders of files, and all those above, each after those above it; without the outermost."""
    direct = {target.rpartition("/")[0] for target in targets}
    return sorted({str(folder) for name in direct for folder in PurePosixPath(name, "file").parents} - {"."})


def _check_clashes(
    archive: Path, targets: Mapping[str, ArchiveMember], folders: Iterable[str], folder: Path, root: Path
) -> None:
    """Refuses an archive that would overwrite something, or write through a link out of `root`."""
    inside, existing = root.resolve(), set()
    for name in ("", *folders):
        path = folder / name
        if name in targets or (os.path.lexists(path) and not path.is_dir()):
            raise build_unsafe_error(archive, f"a file and a folder have one name, {name or folder.name!r}")
        if path.is_dir():
            existing.add(name)
            if not path.resolve().is_relative_to(inside):
                raise build_unsafe_error(archive, f"{name or folder.name!r} is a link that leaves the folder")
    for target in targets:  # nothing exists in a folder that does not
        if target.rpartition("/")[0] in existing and os.path.lexists(os.path.join(folder, target)):
            raise build_unsafe_error(archive, f"the member {target!r} is there already")


def _unpack_one(
    archive: Path, targets: Mapping[str, ArchiveMember], folder: Path, root: Path, budget: UnpackBudget
) -> list[Path]:
    """Unpacks one archive, after everything about it was checked.

    Args:
        archive: a zip or a 7z.
        targets: see `find_target_paths`.
        folder: to unpack into.
        root: the outermost folder.
        budget: for all archives.

    Returns:
        The archives in it.
    """
    # A folder may lie beside its own archive: train/ and train.zip.
    if folder.is_dir():
        targets = {target: member for target, member in targets.items() if not is_same_file(member, folder / target)}
    folders = _list_folders(targets)
    budget.take(archive, targets.values(), len(folders))
    _check_clashes(archive, targets, folders, folder, root)
    if (size := sum(member.bytes for member in targets.values())) > count_free_bytes(folder):
        raise build_disk_full_error(folder, size)
    folder.mkdir(parents=True, exist_ok=True)
    for name in folders:
        (folder / name).mkdir(exist_ok=True)
    try:
        _select_reader(archive).extract(archive, folder, targets)
    except FileExistsError as error:  # `A.jpg` and `a.jpg`, where the disk makes no difference between them
        raise build_unsafe_error(archive, f"two members have one name on this disk, as {error.filename}") from error
    inner = [folder / target for target in targets if target.lower().endswith(ARCHIVE_SUFFIXES)]
    return [path for path in inner if is_nested_archive(path)]
