"""The archive of a session's results, with a manifest that has the SHA-256 of every file.

A zip by another name, because Kaggle unpacks archives on their way into another kernel. Names are paths below the home
folder, so the next session extracts them to where its own files will be.
"""

import contextlib
import functools
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.errors import StarshiftError
from pipeline.files import PARTIAL_PATTERN, hash_json, read_json, write_atomic
from pipeline.kaggle.archive_members import normalize_name

ARCHIVE_NAME = "results.starshift"
MANIFEST_NAME = "manifest.json"
SESSION_STATES = ("complete", "interrupted", "failed", "killed")
"""Of a session: its run has ended, was ended in time, has failed; or Kaggle ended the session before it was packed."""
PACKING_RATE = 10e6
"""Bytes a second: half of the slowest. Measured on 2 cores: 20e6 of text (compressed), 550e6 of arrays."""
COMPRESSED_SUFFIXES = {".csv", ".json", ".log", ".txt", ".html"}
"""Suffixes of files that compression makes much smaller; arrays and models are stored as they are."""


@dataclass(frozen=True, kw_only=True)
class ResultArchive:
    """An archive whose manifest was read.

    Args:
        path: of the archive.
        summary: the session's summary: `state`, one of SESSION_STATES; `order`, the job's digest; `progress`, which
            changes whenever a result does; `rates`, `took`, ...
        files: SHA-256 by name.
    """

    path: Path
    summary: dict[str, Any]
    files: dict[str, str]

    def below(self, folder: str) -> list[str]:
        """Returns the names of the files below a folder."""
        return [name for name in self.files if name.startswith(f"{folder}/")]

    def read(self, name: str) -> bytes:
        """Returns a file's bytes."""
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name)

    def extract(self, places: Mapping[str, Path]) -> None:
        """Writes files, by name, each atomically."""
        with zipfile.ZipFile(self.path) as archive:
            for name, place in places.items():
                with archive.open(name) as member:
                    write_atomic(place, functools.partial(shutil.copyfileobj, member))


def estimate_packing_seconds(files: Iterable[Path]) -> float:
    """Estimates the time that packing takes; a file that has been removed meanwhile counts nothing."""
    total = 0
    for path in files:
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total / PACKING_RATE


def write_archive(path: Path, home: Path, files: Iterable[Path], summary: Mapping[str, Any]) -> None:
    """Writes an archive, atomically.

    Args:
        path: of the archive.
        home: that names are relative to.
        files: below it.
        summary: see ResultArchive.
    """

    def write(file: IO[bytes]) -> None:
        digests = {}
        with zipfile.ZipFile(file, "w") as archive:
            for source in files:
                # Read once, so that the digest is of what is packed: the log may still grow.
                name, data = source.relative_to(home).as_posix(), source.read_bytes()
                is_text = source.suffix in COMPRESSED_SUFFIXES
                archive.writestr(name, data, zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED)
                digests[name] = hashlib.sha256(data).hexdigest()
            results = {name: digest for name, digest in digests.items() if not name.endswith(".log")}
            manifest = {**summary, "progress": hash_json(results), "files": digests}
            archive.writestr(MANIFEST_NAME, json.dumps(manifest, indent=2, ensure_ascii=False))

    write_atomic(path, write)


def load_archive(path: Path) -> ResultArchive:
    """Reads an archive and checks every file against the manifest.

    Raises:
        StarshiftError: it is something else, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            summary = json.loads(archive.read(MANIFEST_NAME))
            files = summary.pop("files")
            names = [name for name in archive.namelist() if name != MANIFEST_NAME]
            is_listed = sorted(names) == sorted(files) and summary["state"] in SESSION_STATES
            if not is_listed or not all(map(_is_inside, names)):
                raise ValueError("the manifest names other files")
            if {str(folder) for name in names for folder in PurePosixPath(name).parents} & set(names):
                raise ValueError("a file and a folder have one name")
            for name, expected in files.items():
                if hashlib.sha256(archive.read(name)).hexdigest() != expected:
                    raise ValueError(f"{name} is not what the manifest says")
    except Exception as error:  # the bytes may be anything, and so may be what zipfile raises: zlib.error, TypeError
        beginning = path.read_bytes()[:80].decode("latin-1") if path.is_file() else "nothing"
        raise StarshiftError(
            f"{path.name} is no whole result.",
            expected="the archive that a session of ours packed",
            received=f"{error}; it begins with {beginning!r}",
            remedy="invoke kernel --comp COMP fetches it again",
        ) from error
    return ResultArchive(path=path, summary=summary, files=files)


def _is_inside(name: str) -> bool:
    """Returns whether a name is a path below data/ in its normal form."""
    try:
        return normalize_name(name) == name and name.startswith("data/")
    except ValueError:
        return False


def list_result_files(home: Path, competition: str) -> list[Path]:
    """Lists the files of an archive: the competition's runs and folds, the pooled features, the log.

    Activations at a cut and decoded pictures stay behind: they are large, and computed again in minutes.
    """
    data = home / "data"
    files = [path for path in sorted((data / "runs" / competition).rglob("*")) if path.is_file()]
    for kind in ("folds-*.csv", "holdout-*.csv"):
        files += sorted((data / "competitions" / competition).glob(kind))
    for spec in sorted((data / "cache" / "features").glob("*/spec.json")):
        if (read_json(spec) or {}).get("pooling") == "none":
            continue
        shards = [path for path in sorted(spec.parent.glob("*.json")) if path != spec]
        files += [spec, *(file for shard in shards for file in (shard, shard.with_suffix(".npy")) if file.exists())]
    return [path for path in files if not PARTIAL_PATTERN.search(path.name)]
