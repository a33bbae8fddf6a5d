"""A competition's raw data: downloaded and unpacked once, whole or not at all, with a marker that says so."""

import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pipeline import paths
from pipeline.config import Competition
from pipeline.drawn.bundle import write_bundle
from pipeline.errors import StarshiftError
from pipeline.files import read_json, sha256_of_file, write_json

log = logging.getLogger(__name__)
MOUNTS = Path("/kaggle/input")


def fetch(competition: Competition, *, bundle: Path | None = None, force: bool = False) -> Path:
    """The folder of a competition's raw data; Kaggle is asked only when it is not there yet.

    Args:
        competition: its slug, or the folder of one's own pictures.
        bundle: an archive that was downloaded by hand; it stays as it is.
        force: fetch again; the old data stays until the new is whole.

    Raises:
        StarshiftError: see client.download and archives.unpack.
    """
    if competition.data is not None:
        return _own(competition, bundle)
    folder = paths.competition_folder(competition.name)
    raw, marker = folder / "raw", folder / "complete.json"
    stored = read_json(marker)
    if bundle is not None and not bundle.is_file():
        raise StarshiftError(f"There is no bundle {bundle}.", expected="an archive downloaded by hand")
    whole = stored is not None and raw.is_dir() and not force
    if whole and (bundle is None or sha256_of_file(bundle) == stored["sha256"]):
        return raw
    if bundle is None and competition.slug and (mount := mounted(competition.slug)):
        return mount
    from pipeline.kaggle import archives, client

    if bundle is not None:
        archives.check(bundle)
        archive = bundle
    elif competition.drawn:
        archive = folder / "download" / f"{competition.name}.zip"
        write_bundle(archive, folder / "answers.csv")
        archives.check(archive)
    else:
        archive = client.download(str(competition.slug), folder / "download")
    partial = folder / "raw.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        summary = archives.unpack(archive, partial)
        digest = sha256_of_file(archive)
        marker.unlink(missing_ok=True)
        shutil.rmtree(raw, ignore_errors=True)
        partial.rename(raw)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    source = "bundle" if bundle is not None else "drawn" if competition.drawn else "kaggle"
    date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    content = {"source": source, "sha256": digest, "members": summary.members, "bytes": summary.bytes, "date": date}
    write_json(marker, content)
    if bundle is None:
        shutil.rmtree(folder / "download", ignore_errors=True)
    return raw


def _own(competition: Competition, bundle: Path | None) -> Path:
    """The folder of one's own pictures."""
    folder = Path(str(competition.data))
    if bundle is not None:
        raise StarshiftError(
            f"{competition.name} is a folder, not an archive.", expected="no --bundle", received=str(bundle)
        )
    if not folder.is_dir():
        raise StarshiftError(f"The pictures of {competition.name} are not there.", expected=f"the folder {folder}")
    return folder


def mounted(slug: str) -> Path | None:
    """The competition's data inside a Kaggle kernel, where it is attached; None elsewhere."""
    if not paths.inside_kernel():
        return None
    return next((path for path in (MOUNTS / "competitions" / slug, MOUNTS / slug) if path.is_dir()), None)


def status(competition: Competition) -> str:
    """Where the data stands, in one phrase."""
    if competition.data is not None:
        return (
            f"folder {competition.data}" if Path(competition.data).is_dir() else f"folder missing: {competition.data}"
        )
    folder = paths.competition_folder(competition.name)
    stored = read_json(folder / "complete.json")
    if stored and (folder / "raw").is_dir():
        return f"ready ({stored['members']:,} files, {stored['bytes'] / 1e6:,.0f} MB, {stored['date'][:10]})"
    size = sum(path.stat().st_size for path in (folder / "download").glob("*") if path.is_file())
    if competition.drawn:
        return "drawn on the first run"
    return f"partly downloaded ({size / 1e6:,.0f} MB)" if size else "not downloaded"
