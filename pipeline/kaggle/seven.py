"""7z archives: by py7zr, or by the program 7z where the package is missing (Kaggle's image has the program only)."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError

PROGRAMS = ("7z", "7zz", "7za", "7zr")


@dataclass(frozen=True)
class Member:
    """One file in an archive: its name, its size unpacked, whether it is a plain file, and whether it is encrypted."""

    name: str
    bytes: int
    plain: bool
    encrypted: bool = False


def damage(archive: Path) -> str:
    """What is wrong with the archive; empty where every member has its checksum."""
    package = _package()
    if package is None:
        done = _program("t", archive)
        return "" if done.returncode == 0 else _last(done)
    with package.SevenZipFile(archive) as opened:
        return without_checksum(opened.testzip())


def members(archive: Path) -> list[Member]:
    """The files in an archive.

    Raises:
        StarshiftError: it is damaged.
    """
    package = _package()
    if package is None:
        done = _program("l", archive, "-slt", "-ba")
        if done.returncode:
            raise damaged(archive, _last(done))
        return [member for block in done.stdout.split("\n\n") if (member := _member(block))]
    try:
        with package.SevenZipFile(archive) as opened:
            locked = opened.needs_password()
            listed = [] if locked else [entry for entry in opened.list() if not entry.is_directory]
    except package.exceptions.ArchiveError as error:
        raise damaged(archive, str(error)) from error
    if locked:
        return [Member(archive.name, 0, True, True)]
    return [Member(e.filename, e.uncompressed, not getattr(e, "is_symlink", False)) for e in listed]


def extract(archive: Path, folder: Path, names: Sequence[str]) -> None:
    """Unpacks these members into a folder.

    Raises:
        StarshiftError: it is damaged.
    """
    package = _package()
    if package is not None:
        try:
            with package.SevenZipFile(archive) as opened:
                opened.extract(folder, targets=names)
        except package.exceptions.ArchiveError as error:
            raise damaged(archive, f"{type(error).__name__}: {error}") from error
        return
    wanted = folder / f".{archive.name}.members"
    wanted.write_text("\n".join(names), encoding="utf-8")
    try:
        done = _program("x", archive, "-y", "-spd", "-scsUTF-8", f"-o{folder}", f"-i@{wanted}")
    finally:
        wanted.unlink()
    if done.returncode:
        raise damaged(archive, _last(done))


def _package() -> Any:
    """The module py7zr, or None where it is not installed."""
    try:
        import py7zr
    except ImportError:
        return None
    return py7zr


def _program(command: str, archive: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """What the program 7z says; it is never asked for a password, and never reads the terminal."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        raise StarshiftError(
            f"{archive.name} is a 7z archive, and nothing here can read it.",
            expected="the package py7zr, or the program 7z",
            remedy="pip install py7zr",
        )
    line = [found, command, str(archive), "-p", "-bd", *flags]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)


def _member(block: str) -> Member | None:
    """A file in the listing of 7z -slt; None for a folder."""
    fields = dict(line.split(" = ", 1) for line in block.splitlines() if " = " in line)
    kind = fields.get("Attributes", "").split(" ")[-1][:1]  # `A -rw-r--r--` on Unix, `A` or `D` on Windows
    if not fields.get("Path") or kind.lower() == "d" or fields.get("Folder") == "+":
        return None
    encrypted = fields.get("Encrypted") == "+"
    return Member(fields["Path"], int(fields.get("Size") or 0), kind not in "lbcps" or not kind, encrypted)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return next((line for line in lines if "rror" in line), lines[-1] if lines else f"exit code {done.returncode}")[
        :300
    ]


def without_checksum(member: str | None) -> str:
    """Says of the first member that does not have its checksum, if there is one, what is wrong with it."""
    return f"{member} in it, which is not what its checksum says" if member else ""


def damaged(archive: Path, received: str) -> StarshiftError:
    """The error for an archive, zip or 7z, that is not whole."""
    return StarshiftError(
        f"{archive.name} is damaged.",
        expected="a whole zip or 7z archive",
        received=received,
        remedy="download it again",
    )
