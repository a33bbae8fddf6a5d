"""Fetches a competition's raw data: downloads and unpacks it once, whole or not at all."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError, require
from pipeline.files import format_utc, hash_file, hash_json, read_json, write_json
from pipeline.kaggle import archives, inputs
from pipeline.kaggle.archives import UnpackSummary

log = logging.getLogger(__name__)


def fetch_data(
    competition: Competition,
    *,
    bundle: Path | None = None,
    force: bool = False,
    fits: Callable[[Path], None] = lambda raw: None,
) -> Path:
    """Returns the folder of a competition's raw data; downloads it only when it is not there yet.

    Args:
        competition: its slug, or the folder of one's own pictures.
        bundle: an archive that was downloaded by hand; it stays as it is.
        force: fetch again; the old data stays until the new is whole.
        fits: raises a StarshiftError where a bundle is not this competition's; the old data stays then, too.

    Raises:
        StarshiftError: see client.download_bundle and archives.unpack_archive.
    """
    if competition.data is not None:
        return _find_own_folder(competition, bundle)
    folder = paths.competition_folder(competition.name)
    raw, stored = folder / "raw", read_json(folder / "complete.json")
    if bundle is not None and not bundle.exists():
        raise StarshiftError(f"There is no bundle {bundle}.", expected="an archive downloaded by hand, or its folder")
    is_whole = stored is not None and raw.is_dir() and not force
    if is_whole and (bundle is None or _is_same_bundle(bundle, stored)):
        return raw
    mount = inputs.find_competition_folder(competition.slug) if bundle is None and competition.slug else None
    if mount is not None:
        return _unpack_mount(mount, folder)
    if bundle is not None and bundle.is_dir():
        return _take_folder(competition, bundle, folder, fits)
    source, archive = _get_archive(competition, bundle, folder)
    if source != "kaggle":  # client.download_bundle has checked it
        archives.check_archive(archive)

    def unpack(place: Path) -> UnpackSummary:
        summary = archives.unpack_archive(archive, place)
        if bundle is not None:
            _check_bundle_fits(competition, bundle, place, fits)
        return summary

    record: dict[str, Any] = {"source": source, "sha256": hash_file(archive)}
    record |= {"seen": _read_bundle_stat(bundle)} if bundle else {}
    _unpack_atomically(folder, record, unpack)
    if bundle is None:
        shutil.rmtree(folder / "download", ignore_errors=True)
    return raw


def _unpack_mount(mount: Path, folder: Path) -> Path:
    """Returns a kernel's mounted data: as they are, or unpacked into the folder where they are archives."""
    packed = inputs.list_archives(mount)
    if not packed:
        return mount
    digest = hash_json([[path.name, path.stat().st_size] for path in packed])
    mounted = {"source": "mounted", "sha256": digest}
    return _unpack_atomically(folder, mounted, lambda place: inputs.unpack_mount(mount, place))


def _take_folder(competition: Competition, bundle: Path, folder: Path, fits: Callable[[Path], None]) -> Path:
    """Returns a bundle that somebody has unpacked, copied (or linked, where that is the same disk); archives in it are
    unpacked.
    """

    def copy(place: Path) -> UnpackSummary:
        shutil.copytree(bundle, place, copy_function=_link_or_copy, ignore=archives.find_uncopyable)
        nested = archives.unpack_nested(place)
        _check_bundle_fits(competition, bundle, place, fits)
        sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
        return UnpackSummary(len(sizes), max(nested.bytes, sum(sizes)))

    record = {"source": "folder", "sha256": _hash_folder(bundle), "seen": _read_bundle_stat(bundle)}
    return _unpack_atomically(folder, record, copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _hash_folder(folder: Path) -> str:
    """Returns a digest of names, sizes and times of change of the files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hash_json([[path.relative_to(folder).as_posix(), *_read_bundle_stat(path)] for path in files])


def _read_bundle_stat(bundle: Path) -> list[int]:
    """Returns size and time of change of a bundle, so that it need not be read again."""
    status = bundle.stat()
    return [status.st_size, status.st_mtime_ns]


def _is_same_bundle(bundle: Path, stored: dict[str, Any]) -> bool:
    """Returns whether a bundle is the one in complete.json."""
    if bundle.is_dir():
        return _hash_folder(bundle) == stored["sha256"]
    return stored.get("seen") == _read_bundle_stat(bundle) or hash_file(bundle) == stored["sha256"]


def _check_bundle_fits(competition: Competition, bundle: Path, place: Path, fits: Callable[[Path], None]) -> None:
    """Raises a StarshiftError where a bundle, unpacked into `place`, is not the competition's."""
    try:
        fits(place)
    except StarshiftError as error:
        raise StarshiftError(
            f"{bundle.name} is not {competition.name}'s archive: {error.message}",
            expected=error.expected,
            received=error.received.replace(str(place), bundle.name),
            remedy="give the right --bundle, or correct Labels and Submission in the competition file; what was there "
            "before is untouched",
        ) from error


def _get_archive(competition: Competition, bundle: Path | None, folder: Path) -> tuple[str, Path]:
    """Returns the source and the archive: downloaded by hand, drawn now, or downloaded now."""
    if bundle is not None:
        return "bundle", bundle
    if competition.synthetic:
        archive = folder / "download" / f"{competition.name}.zip"
        from pipeline.synthetic.sprouts_bundle import write_bundle  # it imports all shapes, for sprouts alone

        write_bundle(archive, folder / "answers.csv")
        return "drawn", archive
    from pipeline.kaggle import client

    return "kaggle", client.download_bundle(str(competition.slug), folder / "download")


def _unpack_atomically(folder: Path, record: dict[str, Any], unpack: Callable[[Path], UnpackSummary]) -> Path:
    """Unpacks into a partial folder, renames it to `raw` once it is whole, and writes `record` to complete.json."""
    raw, partial, marker = folder / "raw", folder / "raw.partial", folder / "complete.json"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        summary = unpack(partial)
        marker.unlink(missing_ok=True)
        shutil.rmtree(raw, ignore_errors=True)
        partial.rename(raw)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_json(marker, record | {"members": summary.members, "bytes": summary.bytes, "date": format_utc()})
    return raw


def _find_own_folder(competition: Competition, bundle: Path | None) -> Path:
    """Returns the folder of one's own pictures."""
    folder = Path(str(competition.data))
    message = f"{competition.name} is a folder, not an archive."
    require(bundle is None, message, expected="no --bundle", received=bundle)
    if not folder.is_dir():
        folder = next(inputs.find_folders(folder.name), folder)  # inside a Kaggle kernel it is a dataset's
    if not folder.is_dir():
        raise StarshiftError(f"The pictures of {competition.name} are not there.", expected=f"the folder {folder}")
    return folder


def format_status(competition: Competition) -> str:
    """Formats the state of a competition's data in one phrase."""
    if competition.data is not None:
        return f"folder {'' if Path(competition.data).is_dir() else 'missing: '}{competition.data}"
    folder = paths.competition_folder(competition.name)
    stored = read_json(folder / "complete.json")
    if stored and (folder / "raw").is_dir():
        return f"ready ({stored['members']:,} files, {stored['bytes'] / 1e6:,.0f} MB, {stored['date'][:10]})"
    size = sum(path.stat().st_size for path in (folder / "download").glob("*") if path.is_file())
    if competition.synthetic:
        return "drawn on the first run"
    return f"partly downloaded ({size / 1e6:,.0f} MB)" if size else "not downloaded"
