"""Stores arrays on disk, one row a picture: the base of the pixel and feature caches.

A store is a folder of shards, each an .npy file and a .json sidecar with the ids and a SHA-256 of every row. The
array is renamed into place first and the sidecar last, so a shard either has a sidecar and is whole, or does not
count. There is no shared manifest, so nothing to lock: processes that fill one store together write the same files.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.files import hash_json, read_json, write_atomic, write_json

MAX_SHARD_ROWS = 512
MAX_SHARD_BYTES = 96 << 20


class DamagedShardError(Exception):
    """The rows of a shard differ from their checksums. It has been removed, so that its rows are missing again."""


def compute_row_digest(row: np.ndarray) -> str:
    """Returns the SHA-256 of a row's bytes, as 64 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(row).data).hexdigest()


@dataclass
class RowStore:
    """The rows of one specification.

    Args:
        parent: the folder of all stores of this kind.
        spec: everything that a row's values depend on, except the picture; plain JSON values.
    """

    parent: Path
    spec: dict[str, Any]
    _where: dict[str, tuple[str, int]] = field(default_factory=dict, repr=False)
    _unreadable: dict[str, str] = field(default_factory=dict, repr=False)
    _digests: dict[str, str] = field(default_factory=dict, repr=False)
    _loaded: set[str] = field(default_factory=set, repr=False)
    _verified: set[str] = field(default_factory=set, repr=False)

    @property
    def key(self) -> str:
        """The store's key: the first 16 hex digits of the SHA-256 of its specification."""
        return hash_json(self.spec)[:16]

    @property
    def folder(self) -> Path:
        """The folder of the shards."""
        return self.parent / self.key

    def refresh(self) -> None:
        """Reads the sidecars that are new on disk."""
        for sidecar in sorted(self.folder.glob("*.json")):
            name = sidecar.stem
            if name in self._loaded or name == "spec":
                continue
            content = read_json(sidecar)
            if content is None or (content["ids"] and not sidecar.with_suffix(".npy").exists()):
                continue
            self._loaded.add(name)
            self._unreadable.update(content["unreadable"])
            for number, (identity, digest) in enumerate(zip(content["ids"], content["digests"], strict=True)):
                self._where.setdefault(identity, (name, number))
                self._digests.setdefault(identity, digest)

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Returns the ids, each once and in order, that have neither a row nor a reason for having none."""
        self.refresh()
        return [one for one in dict.fromkeys(ids) if one not in self._where and one not in self._unreadable]

    def unreadable(self, ids: Iterable[str]) -> dict[str, str]:
        """Returns the ids that cannot have a row, and why."""
        return {identity: self._unreadable[identity] for identity in ids if identity in self._unreadable}

    def digest(self, identity: str) -> str:
        """Returns the SHA-256 of the row's bytes."""
        return self._digests[identity]

    def append(
        self,
        ids: Sequence[str],
        rows: np.ndarray,
        digests: Sequence[str] | None = None,
        unreadable: dict[str, str] | None = None,
    ) -> None:
        """Writes one shard: rows of `ids`, in order, and the ids that cannot have one.

        Args:
            ids: one a row.
            rows: array (len(ids), ...).
            digests: `compute_row_digest` of each row; computed where they are None.
            unreadable: reasons, by id.
        """
        unreadable = unreadable or {}
        digests = [compute_row_digest(row) for row in rows] if digests is None else digests
        name = hash_json([*ids, *unreadable])[:16]
        if not (self.folder / "spec.json").exists():
            write_json(self.folder / "spec.json", self.spec)
        if len(ids):
            write_atomic(self.folder / f"{name}.npy", lambda file: np.save(file, rows))
        content = {"ids": list(ids), "digests": list(digests), "unreadable": unreadable}
        write_json(self.folder / f"{name}.json", content)
        self._verified.add(name)

    def drop(self, ids: Iterable[str]) -> None:
        """Removes the rows of some ids; other rows of their shards are written to new shards first."""
        self.refresh()
        dropped = set(ids)
        for name in sorted({self._where[identity][0] for identity in dropped if identity in self._where}):
            content = read_json(self.folder / f"{name}.json")
            places = [place for place, identity in enumerate(content["ids"]) if identity not in dropped]
            if places or content["unreadable"]:
                try:
                    rows = np.array(self._open(name)[places])
                except DamagedShardError:
                    continue
                ids, digests = ([content[key][place] for place in places] for key in ("ids", "digests"))
                self.append(ids, rows, digests, content["unreadable"])
            self.remove(name)
        self.refresh()

    def overlook(self, reasons: dict[str, str]) -> None:
        """Marks ids as unreadable, with a reason each, in this store alone and not on disk."""
        self._unreadable.update(reasons)

    def read(self, ids: Sequence[str], *, copied: bool = True) -> np.ndarray:
        """Returns the rows of `ids`, in order: array (len(ids), ...).

        Args:
            ids: one a row.
            copied: into memory. Otherwise rows that follow each other in one shard are a read-only view of the mapped
                file; others are copied all the same.

        Raises:
            DamagedShardError: rows were damaged on disk; their shard is gone and its rows are missing.
            KeyError: an id has no row.
        """
        self.refresh()
        places: dict[str, tuple[list[int], list[int]]] = {}
        for position, identity in enumerate(ids):
            name, number = self._where[identity]
            positions, numbers = places.setdefault(name, ([], []))
            positions.append(position)
            numbers.append(number)
        result: np.ndarray | None = None
        for name, (positions, numbers) in places.items():
            shard = np.asarray(self._open(name))
            if not copied and len(places) == 1 and (consecutive := _find_slice(numbers)):
                return shard[consecutive]
            if result is None:
                result = np.empty((len(ids), *shard.shape[1:]), shard.dtype)
            result[_find_slice(positions) or positions] = shard[_find_slice(numbers) or numbers]
        if result is None:
            raise KeyError("no ids")
        return result

    def places(self, ids: Sequence[str]) -> list[tuple[np.ndarray, int] | None]:
        """Returns for each id its shard, mapped into memory, and its row there, or None.

        Raises:
            DamagedShardError: as `read`.
        """
        self.refresh()
        places = [self._where.get(identity) for identity in ids]
        shards = {name: self._open(name) for name in dict.fromkeys(place[0] for place in places if place)}
        return [(shards[place[0]], place[1]) if place else None for place in places]

    def read_few(self, ids: Sequence[str]) -> np.ndarray:
        """Reads a few rows, in order, and checks their own checksums only; `read` checks whole shards, 77 MB of pixels.

        Raises:
            DamagedShardError: see `read`.
            KeyError: an id has no row.
        """
        self.refresh()
        rows = []
        for identity in ids:
            name, number = self._where[identity]
            rows.append(np.array(self._map(name)[number]))
            if compute_row_digest(rows[-1]) != self._digests[identity]:
                self.remove(name)
                raise DamagedShardError(f"{self.folder / name}: rows differ from their checksums")
        return np.stack(rows)

    def _map(self, name: str) -> np.ndarray:
        """Maps a shard into memory, unchecked."""
        try:
            shard: np.ndarray = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            self.remove(name)
            raise DamagedShardError(f"{self.folder / name}: {error}") from error
        return shard

    def _open(self, name: str) -> np.ndarray:
        """A shard, mapped into memory, its checksums held against its rows the first time."""
        shard = self._map(name)
        if name not in self._verified:
            if not self.intact(name, shard):
                self.remove(name)
                raise DamagedShardError(f"{self.folder / name}: rows differ from their checksums")
            self._verified.add(name)
        return shard

    def intact(self, name: str, shard: np.ndarray | None = None) -> bool:
        """Returns whether every row of the shard has its checksum."""
        content = read_json(self.folder / f"{name}.json")
        if content is None:
            return False
        if not content["ids"]:
            return True
        try:
            rows = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) if shard is None else shard
        except (OSError, ValueError):
            return False
        return len(rows) == len(content["ids"]) and [compute_row_digest(row) for row in rows] == content["digests"]

    def ids(self, name: str) -> list[str]:
        """Returns the ids that have a row in a shard, in order."""
        return list((read_json(self.folder / f"{name}.json") or {"ids": ()})["ids"])

    def shards(self) -> list[str]:
        """Returns the names of the shards that have a sidecar."""
        return sorted(path.stem for path in self.folder.glob("*.json") if path.stem != "spec")

    def remove(self, name: str) -> None:
        """Removes a shard, sidecar first; the sidecars of all others are read again."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        (self.folder / f"{name}.npy").unlink(missing_ok=True)
        for table in (self._where, self._digests, self._unreadable):
            table.clear()
        self._loaded.clear()
        self._verified.discard(name)


def _find_slice(numbers: list[int]) -> slice | None:
    """Returns consecutive numbers as a slice, which copies once where a list copies twice; None for other numbers."""
    first, last = numbers[0], numbers[-1] + 1
    return slice(first, last) if numbers == list(range(first, last)) else None


def compute_shard_rows(row_bytes: int) -> int:
    """Returns how many rows a shard takes: 512, or fewer where rows are large."""
    return max(1, min(MAX_SHARD_ROWS, MAX_SHARD_BYTES // max(1, row_bytes)))


@contextlib.contextmanager
def run_in_background() -> Iterator[Callable[..., None]]:
    """Yields a function that runs another one in a thread: a shard is written while the next one is computed.

    A call waits for the one before it, and the end for the last one; their errors are raised there.
    """
    last = list[Future[None]]()

    def submit(function: Callable[..., None], *arguments: Any) -> None:
        wait()
        last.append(writer.submit(function, *arguments))

    def wait() -> None:
        if last:
            last.pop().result()

    with ThreadPoolExecutor(1) as writer:
        yield submit
        wait()


class MemmapRows:
    """The rows of some pictures, in order, mapped into memory: training loads one batch at a time.

    Args:
        store: of pixels or of features.
        digests: SHA-256 of each picture's bytes; those without a row may not be taken.

    Raises:
        StarshiftError: rows were damaged on disk.
    """

    def __init__(self, store: RowStore, digests: Sequence[str]) -> None:
        self.store = store
        try:
            self._places = store.places(digests)
        except DamagedShardError as error:
            raise self._not_whole(str(error)) from error

    def __len__(self) -> int:
        return len(self._places)

    def take(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the rows at these positions, (n, ...) in the store's dtype.

        Raises:
            StarshiftError: there is no such row.
        """
        return np.stack([self._row(int(position)) for position in positions])

    def _row(self, position: int) -> np.ndarray:
        place = self._places[position]
        if place is None:
            raise self._not_whole(f"no row for picture {position} in {self.store.folder}")
        shard, number = place
        return shard[number]

    @staticmethod
    def _not_whole(received: str) -> StarshiftError:
        return StarshiftError(
            "Rows that training needs are not whole.", received=received, remedy="run the same command again"
        )
