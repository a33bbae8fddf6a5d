"""Reads 7z archives with py7zr, or the program 7z without it (Kaggle's image has the program only)."""

import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle.archive_members import ArchiveMember, build_damaged_error, convert_read_errors

PROGRAMS = ("7z", "7zz", "7za", "7zr")


def damage(archive: Path) -> str:
    """Returns the archive's fault; empty where every member has its checksum."""
    package = _import_py7zr()
    if package is None:
        done = _run_program("t", archive)
        return "" if done.returncode == 0 else _find_error_line(done)
    with convert_read_errors(archive), package.SevenZipFile(archive) as opened:
        failed = opened.testzip()
    return f"{failed} in it, which is not what its checksum says" if failed else ""


def members(archive: Path) -> list[ArchiveMember]:
    """Returns the files in an archive.

    Raises:
        StarshiftError: it is damaged.
    """
    package = _import_py7zr()
    with convert_read_errors(archive):
        if package is None:
            done = _run_program("l", archive, "-slt", "-ba")
            if done.returncode and "password" in done.stderr + done.stdout:
                return [ArchiveMember(archive.name, 0, True, True)]
            if done.returncode:
                raise build_damaged_error(archive, _find_error_line(done))
            return [member for block in done.stdout.split("\n\n") if (member := _parse_member(block))]
        try:
            with package.SevenZipFile(archive) as opened:
                encrypted = opened.needs_password()
                listed = [] if encrypted else [entry for entry in opened.list() if not entry.is_directory]
        except package.exceptions.PasswordRequired:  # of the list of members, too
            encrypted = True
        if encrypted:
            return [ArchiveMember(archive.name, 0, True, True)]
        return [ArchiveMember(e.filename, e.uncompressed, not getattr(e, "is_symlink", False)) for e in listed]


def extract(archive: Path, folder: Path, targets: Mapping[str, ArchiveMember]) -> None:
    """Unpacks members into a folder.

    Args:
        archive: a 7z.
        folder: to unpack into.
        targets: where each member goes, as a path below the folder; nothing is there yet.

    Raises:
        StarshiftError: it is damaged, or differs from its list of members.
    """
    names = [member.name for member in targets.values()]
    package = _import_py7zr()
    if package is not None:
        with convert_read_errors(archive), package.SevenZipFile(archive) as opened:
            opened.extract(folder, targets=names)
    elif names:  # 7z takes an empty list of members for a mistake
        _extract_with_program(archive, folder, names)
    _check_extracted(archive, folder, targets)


def _extract_with_program(archive: Path, folder: Path, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as aside:
        list_file = Path(aside) / "members"
        list_file.write_text("\n".join(names), encoding="utf-8")
        done = _run_program("x", archive, "-y", "-spd", "-scsUTF-8", f"-o{folder}", f"-i@{list_file}")
    if done.returncode:
        raise build_damaged_error(archive, _find_error_line(done))


def _check_extracted(archive: Path, folder: Path, targets: Mapping[str, ArchiveMember]) -> None:
    """Checks the unpacked files against the list of members."""
    files = set()
    for target, member in targets.items():
        try:
            status = os.lstat(f"{folder}/{target}")
        except (FileNotFoundError, NotADirectoryError):
            raise build_damaged_error(archive, f"the member {member.name!r} is listed, and not in it") from None
        if not stat.S_ISREG(status.st_mode) or status.st_size != member.bytes:
            fault = f"the member {member.name!r} is no file of {member.bytes:,} bytes, as it says"
            raise build_damaged_error(archive, fault)
        files.add((status.st_dev, status.st_ino))
    if len(files) < len(targets):  # `A.jpg` and `a.jpg`, where the disk makes no difference between them
        raise build_damaged_error(archive, "two members have one name on this disk")


def _import_py7zr() -> Any:
    """Returns the module py7zr, or None where it is not installed."""
    return importlib.import_module("py7zr") if importlib.util.find_spec("py7zr") else None


def _run_program(command: str, archive: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs the program 7z without a password, detached from the terminal."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        raise StarshiftError(
            f"{archive.name} is a 7z archive, and nothing here can read it.",
            expected="the package py7zr, or the program 7z",
            remedy="pip install py7zr",
        )
    line = [program, command, str(archive), "-p", "-bd", *flags]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)


def _parse_member(block: str) -> ArchiveMember | None:
    """Returns a file in the listing of 7z -slt; None for a folder."""
    fields = dict(line.split(" = ", 1) for line in block.splitlines() if " = " in line)
    kind = fields.get("Attributes", "").split(" ")[-1][:1]  # `A -rw-r--r--` on Unix, `A` or `D` on Windows
    if not fields.get("Path") or kind.lower() == "d" or fields.get("Folder") == "+":
        return None
    encrypted = fields.get("Encrypted") == "+"
    return ArchiveMember(fields["Path"], int(fields.get("Size") or 0), kind not in "lbcps" or not kind, encrypted)


def _find_error_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {done.returncode}"
    return next((line for line in lines if "rror" in line), last)[:300]
