"""Extracts features of pictures: reads them from the cache and computes the missing ones."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data import pixel_cache
from pipeline.data.row_store import DamagedShardError, RowStore, compute_shard_rows, run_in_background
from pipeline.features.cache import open_feature_store
from pipeline.models import cuts, inference_engines
from pipeline.models.base import Base
from pipeline.models.inference_engines import Engine, find_precision, find_usable_rows, require_usable
from pipeline.terminal import open_bar

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActivationCapture:
    """Maps at a cut that are stored while features are computed, for a strategy that trains from the cut.

    Args:
        base: the same one up to the cut, pooling `none`.
        digests: of the pictures whose maps are stored, by view.
    """

    base: Base
    digests: Mapping[str, frozenset[str]]


def iterate_rows(
    engine: Engine,
    store: RowStore,
    digests: Sequence[str],
    files: Mapping[str, Path],
    view: str,
    title: str,
    most: int | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields digests and an engine's rows of pictures in a view, a shard's worth at a time, with a progress bar.

    Args:
        engine: of the base.
        store: a filled pixel store of the base's size.
        digests: of decoded pictures.
        files: path of each picture, by digest.
        view: as in Recipe.views.
        title: of the progress bar.
        most: pictures at a time, at most.
    """
    with open_bar(total=len(digests), desc=title, unit="picture") as bar:
        for part, pixels in pixel_cache.iterate_chunks(store, digests, files, view, most):
            yield part, engine(pixels)
            bar.update(len(part))


class Extractor:
    """Extracts the features of one base; the engine is chosen at the first picture and loaded when one is missing.

    Args:
        base: the base.
        files: path of each picture, by the SHA-256 of its bytes.
        wanted: `auto` or the name of an engine.
        force: compute features again though they are in the cache.
        keeping: maps that are stored from the same pass; none where features are computed in bfloat16.
    """

    def __init__(
        self,
        base: Base,
        files: Mapping[str, Path],
        *,
        wanted: str = "auto",
        force: bool = False,
        keeping: ActivationCapture | None = None,
    ) -> None:
        self.base = base
        self.files = files
        self.wanted = wanted
        self.force = force
        self.keeping = keeping
        self.computed = 0
        self.store = pixel_cache.open_pixel_store(base.size)
        self._forced: set[tuple[str, str]] = set()
        self._stores: dict[str, RowStore] = {}
        self._choice: inference_engines.EngineChoice | None = None
        self._engine: Engine | None = None

    def choose(self, digests: Sequence[str]) -> inference_engines.EngineChoice:
        """Returns the engine's choice; a benchmark takes the first of these pictures."""
        if self._choice is None:
            first = list(digests)[: inference_engines.SAMPLE_SIZE]
            self._choice = inference_engines.choose_engine(
                self.base, lambda: pixel_cache.read_pixels(self.store, first, self.files), self.wanted, self._lower
            )
            if find_precision(self._choice.engine) == "bfloat16":
                self.keeping = None
        return self._choice

    def features(self, digests: Sequence[str], view: str) -> np.ndarray:
        """Returns the base's features of pictures in a view.

        Args:
            digests: SHA-256 of each picture's bytes; all of them can be read.
            view: as in Recipe.views.

        Returns:
            float32 array (pictures, width), in the order of `digests`.
        """
        store = self.fill(digests, view)
        try:
            rows = store.read(digests)
        except DamagedShardError as error:
            log.warning("features  %s; computing them again", error)
            return self.features(digests, view)
        if (usable := find_usable_rows(rows, str(rows.dtype))).all():
            return rows
        bad = [digest for digest, good in zip(digests, usable, strict=True) if not good]
        log.warning("features  %s %s: %d cached rows cannot be right; computing them again", self.base, view, len(bad))
        store.drop(bad)
        return self.features(digests, view)

    def fill(self, digests: Sequence[str], view: str) -> RowStore:
        """Returns the store of the base's features in a view, with rows of all these pictures."""
        if view not in self._stores:  # one store for all reads of a view: its checksums are checked once
            self._stores[view] = open_feature_store(self.base, view, find_precision(self.choose(digests).engine))
        store = self._stores[view]
        if self.force:
            stale = [digest for digest in dict.fromkeys(digests) if (view, digest) not in self._forced]
            store.drop(stale)
            self._forced.update((view, digest) for digest in stale)
        if missing := store.missing(digests):
            self._compute(store, missing, view)
        return store

    @property
    def _lower(self) -> Base | None:
        return self.keeping.base if self.keeping else None

    def _compute(self, store: RowStore, missing: Sequence[str], view: str) -> None:
        """Computes and stores features, a shard at a time."""
        lower, choice = self._lower, self.choose(missing)
        if self._engine is None:
            self._engine = inference_engines.load_engine(self.base, choice, lower)
        captured, shape = (
            (open_feature_store(lower, view, "float32"), cuts.find_cut_shape(lower)) if lower else (None, ())
        )
        dtype = "float16" if self.base.pooling == "none" else "float32"

        def append(part: Sequence[str], rows: np.ndarray) -> None:
            """Stores computed rows, while the engine is at the next ones."""
            if captured is not None:
                rows, maps = np.split(rows, [rows.shape[1] - math.prod(shape)], axis=1)
                self._capture(captured, part, maps.reshape(-1, *shape), view)
            require_usable(rows, self.base, choice.engine, dtype)
            store.append(part, np.ascontiguousarray(rows, dtype))

        # Maps are large: a shard's worth at a time. Pooled features are small, so pixels alone bound their number.
        base = lower or self.base
        most = compute_shard_rows(2 * math.prod(cuts.find_cut_shape(base))) if base.pooling == "none" else None
        title = f"{self.base} {view}"
        with run_in_background() as write:
            for part, rows in iterate_rows(self._engine, self.store, missing, self.files, view, title, most):
                write(append, part, rows)
                self.computed += len(part)

    def _capture(self, store: RowStore, part: Sequence[str], maps: np.ndarray, view: str) -> None:
        """Stores those maps (pictures, height, width, channels) that are requested and missing, in float16."""
        requested = self.keeping.digests.get(view, frozenset()) if self.keeping else frozenset()
        if self.force:
            store.drop(requested & set(part))
        new = requested & set(store.missing(part))
        places = [place for place, digest in enumerate(part) if digest in new]
        if places:
            require_usable(maps[places], self._lower, self.choose(part).engine, "float16")
            store.append([part[place] for place in places], maps[places].astype(np.float16))
