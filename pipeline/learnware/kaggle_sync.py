"""Sends a store to a private Kaggle dataset as a whole, and fetches it one archive at a time, each checked.

A version of a dataset replaces all of its files; a manifest whose name ends in a digest of the set identifies them.
"""

import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import NAME_PATTERN
from pipeline.errors import StarshiftError, require
from pipeline.files import hash_file, read_json, write_atomic
from pipeline.kaggle import archives, datasets
from pipeline.kaggle.client import authenticate
from pipeline.kaggle.retry import call_with_retries
from pipeline.learnware import archive, cached_predictions, store
from pipeline.learnware.archive import ARCHIVE_SUFFIX
from pipeline.learnware.store import STORE_FILE, Store

log = logging.getLogger(__name__)
DEFAULT_SLUG, DATASET_TITLE = "starshift-store", "Starshift: a store of learnwares"
MANIFEST_PREFIX = "starshift-store-"
ARCHIVE_PATTERN = re.compile(NAME_PATTERN.pattern + re.escape(ARCHIVE_SUFFIX))


def push_store(shelf: Store, dataset: str | None = None, *, dry: bool = False) -> str:
    """Makes the store's learnwares the newest version of a private dataset.

    Args:
        shelf: the store.
        dataset: `owner/slug`, or a slug; starshift-store where not given.
        dry: only say what would be sent; Kaggle is not asked.

    Returns:
        The dataset with its version, `owner/slug/3`; without owner and version where it is dry.

    Raises:
        StarshiftError: an archive here is refused, or see datasets.publish_version.
    """
    slug = datasets.check_dataset_name(dataset or DEFAULT_SLUG)
    files = [shelf.learnware(name).path for name in shelf.names]
    require(files, "There is nothing to send.", expected="learnwares", received=paths.format_path(shelf.folder))
    files.append(shelf.folder / STORE_FILE)
    size = sum(path.stat().st_size for path in files) / 1e6
    log.info("store    %d learnwares, %.1f MB, %s the private dataset %s", len(files) - 1, size,
             "would go into" if dry else "going into", slug)  # fmt: skip
    if dry:
        return slug
    notes = f"{len(files) - 1} learnwares"
    return datasets.sync_files(authenticate(), slug, DATASET_TITLE, MANIFEST_PREFIX, files, notes)


def pull_store(folder: Path, dataset: str | None = None) -> list[str]:
    """Imports the learnwares of a dataset into a store; warns of those that are refused.

    Args:
        folder: of the store; need not exist.
        dataset: `owner/slug` or `owner/slug/version`, or a slug; starshift-store where not given.

    Returns:
        The names of those that were imported.

    Raises:
        StarshiftError: there is no such dataset, or no store in it; or none of it can be fetched.
    """
    api = authenticate()
    ref = datasets.resolve_ref(api, dataset or DEFAULT_SLUG)
    if datasets.find_dataset(api, ref) is None:
        raise StarshiftError(f"There is no dataset {ref} that you may see.", remedy="invoke store.push makes it")
    listed = datasets.list_files(api, ref)
    require(STORE_FILE in listed, f"{ref} is no store.", expected=STORE_FILE, received=sorted(listed)[:5])
    imported = []
    with tempfile.TemporaryDirectory(prefix="starshift-") as place:
        shelf = _open_target_store(api, ref, folder, Path(place))
        for name in sorted(name for name in listed if ARCHIVE_PATTERN.fullmatch(name)):
            try:
                imported += _import_archive(api, ref, name, shelf, Path(place))
            except StarshiftError as error:
                if getattr(error, "status", None) is not None:  # Kaggle's refusal, not the archive's
                    raise
                log.warning("  warning: %s stays out: %s", name, error.message)
    log.info("came     %d learnwares from %s into %s", len(imported), ref, paths.format_path(folder))
    return imported


def _open_target_store(api: Any, ref: str, folder: Path, place: Path) -> Store:
    """Opens the store in the folder; where there is none, one with the dataset's probe and gamma."""
    if (folder / STORE_FILE).exists():
        return store.open_store(folder)
    return store.parse_store(read_json(_fetch_file(api, ref, STORE_FILE, place)), folder)


def _import_archive(api: Any, ref: str, name: str, shelf: Store, place: Path) -> list[str]:
    """Fetches an archive, checks it and its predictions, and only then imports it. Returns its name, if imported."""
    path = _fetch_file(api, ref, name, place)
    learnware = archive.read_archive(path)
    shelf.fits(learnware.specification, name)
    cached_predictions.check_probe_predictions(learnware)
    own = shelf.path(learnware.name)
    if own.exists():
        same = hash_file(own) == hash_file(path)
        log.info("%s is there already%s", name, "" if same else ", another one, which is kept: store.remove it first")
        return []
    store.write_store(shelf)
    write_atomic(own, lambda file: file.write(path.read_bytes()))
    path.unlink()
    return [learnware.name]


def _fetch_file(api: Any, ref: str, name: str, place: Path) -> Path:
    """Fetches a file of a dataset; Kaggle sends large ones inside a zip."""
    purpose = datasets.build_purpose(ref, f"fetching {name} of")
    call_with_retries(
        api.dataset_download_file, ref, name, path=str(place), force=True, purpose=purpose, safe_to_repeat=True
    )
    path, wrapped = place / name, place / f"{name}.zip"
    if wrapped.exists():
        inside = place / f"{name}.folder"
        archives.unpack_archive(wrapped, inside)
        wrapped.unlink()
        if (inside / name).is_file():
            os.replace(inside / name, path)
    if not path.is_file() or path.is_symlink():
        raise StarshiftError(f"{name} of {ref} did not come.", remedy="run again")
    return path
