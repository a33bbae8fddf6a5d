"""A store of learnwares: a folder with an archive for each, and store.json with the probe and gamma that they share.

The folder may be a shared drive, or come from a Kaggle dataset (kaggle_sync.py). Archives are checked when they are
read.
"""

import logging
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import NAME_PATTERN
from pipeline.errors import StarshiftError, require, require_name
from pipeline.figures.text_table import format_records
from pipeline.files import read_json, write_json
from pipeline.learnware import archive, cached_predictions
from pipeline.learnware import probe as probes
from pipeline.learnware.archive import ARCHIVE_SUFFIX, Learnware
from pipeline.learnware.safe_loading import parse_record, require_valid
from pipeline.learnware.types import Probe, Specification
from pipeline.models import base as bases
from pipeline.output import print_results
from pipeline.terminal import open_bar

log = logging.getLogger(__name__)
STORE_FILE = "store.json"
ADDRESS_PREFIX = "store:"
STORE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Store:
    """A folder of learnwares.

    Args:
        folder: need not exist.
        probe: its features make all specifications.
        gamma: of the kernel; None until it is estimated on the pictures of the first learnware.
    """

    folder: Path
    probe: Probe
    gamma: float | None

    @property
    def names(self) -> list[str]:
        """Names of the archives in the folder, valid or not."""
        return sorted(path.name.removesuffix(ARCHIVE_SUFFIX) for path in self.folder.glob(f"*{ARCHIVE_SUFFIX}"))

    @property
    def flag(self) -> str:
        """` --store FOLDER` for a command in a message; empty where it is the default folder."""
        is_default = self.folder.resolve() == find_default_folder().resolve()
        return "" if is_default else f" --store {shlex.quote(paths.format_path(self.folder))}"

    def path(self, name: str) -> Path:
        """Returns the path of the archive of a learnware.

        Raises:
            StarshiftError: it is no name.
        """
        require(
            NAME_PATTERN.fullmatch(name), "Unusable name of a learnware.", expected=NAME_PATTERN.pattern, received=name
        )
        return self.folder / f"{name}{ARCHIVE_SUFFIX}"

    def learnware(self, name: str, *, whole: bool = True) -> Learnware:
        """Reads and checks a learnware; without its model unless `whole`.

        Raises:
            StarshiftError: it is not there, refused, or of another probe or gamma.
        """
        path = self.path(name)
        if not path.is_file():
            require_name(
                name,
                self.names,
                f"There is no learnware {name!r} in {paths.format_path(self.folder)}.",
                expected=" | ".join(self.names) or "none: the store is empty",
                remedy="invoke store.list, invoke store.start, or --store with another folder",
            )
        learnware = archive.read_archive(path, whole=whole)
        self.fits(learnware.specification, path.name)
        return learnware

    def learnwares(self) -> Iterator[Learnware]:
        """Yields every learnware that can be used, without its model; warns of the others."""
        for name in self.names:
            try:
                yield self.learnware(name, whole=False)
            except StarshiftError as error:
                log.warning("  warning: %s", error.message)

    def fits(self, specification: Specification, what: str) -> None:
        """Refuses a specification that cannot be compared with the others.

        Raises:
            StarshiftError: another probe, or another gamma.
        """
        remedy = "put it into a store of its own: --store FOLDER"
        for word, own, other in (
            ("probe", self.probe, specification.probe),
            ("gamma", self.gamma or specification.gamma, specification.gamma),
        ):
            if own != other:
                message = f"{what} was specified with another {word} than this store's: nothing can be compared."
                raise StarshiftError(message, expected=str(own), received=str(other), remedy=remedy)


def find_default_folder() -> Path:
    """data/store."""
    return paths.home_folder() / "data" / "store"


def open_store(folder: Path | None = None) -> Store:
    """Opens the store in a folder (data/store where not given).

    Raises:
        StarshiftError: there is none, or its store.json is of another version or damaged.
    """
    folder = folder or find_default_folder()
    if not (folder / STORE_FILE).is_file():
        raise StarshiftError(
            f"There is no store in {paths.format_path(folder)}.",
            expected=f"a folder with {STORE_FILE}",
            remedy="invoke store.start or invoke store.add make one; --store FOLDER names another",
        )
    return parse_store(read_json(folder / STORE_FILE), folder)


def load_learnware(address: str) -> Learnware:
    """Reads the learnware `store:NAME` of data/store, or `store:FOLDER/NAME` of the store in a folder, whole.

    Raises:
        StarshiftError: there is no such store or learnware, or it is refused.
    """
    folder, slash, name = address.removeprefix(ADDRESS_PREFIX).rpartition("/")
    return open_store(Path(folder or "/").expanduser() if slash else None).learnware(name)


def open_or_create_store(folder: Path | None = None, probe: Probe | None = None) -> Store:
    """Opens the store in a folder, or a new one, which is written with its first learnware.

    Args:
        folder: data/store where not given.
        probe: of a new store; the default base, at its own size, where not given.

    Raises:
        StarshiftError: as `open_store`; or the store has another probe than the one given.
    """
    folder = folder or find_default_folder()
    if not (folder / STORE_FILE).exists():
        return Store(folder=folder, probe=probe or parse_probe(probes.DEFAULT_BASE), gamma=None)
    store = open_store(folder)
    if probe is not None:
        probes.require_equal_probes(probe, store.probe, "The store has another probe.")
    return store


def parse_store(record: Any, folder: Path) -> Store:
    """Returns the store that a store.json describes.

    Raises:
        StarshiftError: it is of another version, or damaged.
    """
    try:
        require_valid(isinstance(record, dict) and record.get("version") == STORE_VERSION, "the version", record)
        probe, gamma = parse_record(Probe, record.get("probe")), record.get("gamma")
        require_valid(gamma is None or (type(gamma) is float and 0 < gamma < 1e9), "gamma", gamma)
    except StarshiftError as error:
        raise StarshiftError(
            f"{paths.format_path(folder / STORE_FILE)} cannot be used.",
            expected=f"version {STORE_VERSION}, a probe and gamma",
            received=str(record)[:200],
            remedy="get the store again, or start another one: --store FOLDER",
        ) from error
    return Store(folder=folder, probe=probe, gamma=gamma)


def parse_probe(base: str, size: int | None = None) -> Probe:
    """Returns a base, `name[:size][@cut][+pooling][=weights]`, as a probe; missing weights are fetched."""
    return probes.build_probe(bases.parse_base(base, size))


def write_store(store: Store) -> None:
    """Writes store.json."""
    write_json(
        store.folder / STORE_FILE, {"version": STORE_VERSION, "probe": asdict(store.probe), "gamma": store.gamma}
    )


def remove_learnware(store: Store, name: str) -> Path:
    """Deletes a learnware's archive, valid or not."""
    path = store.path(name)
    if not path.is_file():
        store.learnware(name)
    path.unlink()
    return path


def verify_learnwares(store: Store, names: list[str] | None = None) -> dict[str, str]:
    """Reads each archive whole and checks its model's predictions of the probe batch.

    Returns:
        Why it is refused, by name; empty where the learnware passes.
    """
    records = []
    for name in open_bar(names or store.names, desc="verify", unit="learnware"):
        try:
            learnware = store.learnware(name)
            difference = cached_predictions.check_probe_predictions(learnware)
        except StarshiftError as error:
            records.append({"name": name, "whole": False, "finding": error.message})
        else:
            words = f"whole; {len(learnware.pictures)} probe pictures answered as before (at most {difference:.1e} off)"
            records.append({"name": name, "whole": True, "finding": words})
    lines = format_records(records, {"learnware": "{name}", "finding": "{finding}"})
    print_results({"learnwares": records}, lines, apart=False)
    return {one["name"]: "" if one["whole"] else one["finding"] for one in records}
