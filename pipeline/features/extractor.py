"""Features of pictures: read from the cache, and what it lacks computed, a shard at a time."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.data import pixel_cache
from pipeline.data.row_store import DamagedShardError, RowStore, compute_shard_rows, run_in_background
from pipeline.features.cache import open_feature_store
from pipeline.models import cuts, inference_engines
from pipeline.models.base import Base
from pipeline.models.inference_engines import Engine, find_precision, find_usable_rows, require_usable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActivationCapture:
    """Maps that are kept of pictures that go through a base anyway, for a rung that trains from a cut.

    Args:
        base: the same one up to the cut, pooling `none`.
        wanted: digests of the pictures whose maps are kept, by view.
    """

    base: Base
    wanted: Mapping[str, frozenset[str]]


class Extractor:
    """One base at work: the engine is chosen when the first picture asks for it, and loaded when one is missing.

    Args:
        base: what is to be run.
        files: where each picture lies, by the SHA-256 of its bytes.
        wanted: `auto` or the name of an engine.
        force: compute features again though they are in the cache.
        keeping: what else is kept from the same pass; nothing, where features are computed in bfloat16.
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
        self._choice: inference_engines.EngineChoice | None = None
        self._engine: Engine | None = None

    def choose(self, digests: Sequence[str]) -> inference_engines.EngineChoice:
        """The engine's choice; measured on the first of these pictures where it is not known."""
        if self._choice is None:
            first = list(digests)[: inference_engines.SAMPLE_SIZE]
            self._choice = inference_engines.choose_engine(
                self.base, lambda: pixel_cache.read_pixels(self.store, first, self.files), self.wanted, self._lower
            )
            if find_precision(self._choice.engine) == "bfloat16":
                self.keeping = None
        return self._choice

    def features(self, digests: Sequence[str], view: str) -> np.ndarray:
        """What the base gives for these pictures in this view.

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
        if (good := find_usable_rows(rows, str(rows.dtype))).all():
            return rows
        bad = [digest for digest, fine in zip(digests, good, strict=True) if not fine]
        log.warning("features  %s %s: %d cached rows cannot be right; computing them again", self.base, view, len(bad))
        store.drop(bad)
        return self.features(digests, view)

    def fill(self, digests: Sequence[str], view: str) -> RowStore:
        """The store in which all of these pictures have what the base gives for them in this view."""
        store = open_feature_store(self.base, view, find_precision(self.choose(digests).engine))
        if self.force:
            anew = [digest for digest in dict.fromkeys(digests) if (view, digest) not in self._forced]
            store.drop(anew)
            self._forced.update((view, digest) for digest in anew)
        self._compute(store, store.missing(digests), view)
        return store

    @property
    def _lower(self) -> Base | None:
        return self.keeping.base if self.keeping else None

    def _compute(self, store: RowStore, missing: Sequence[str], view: str) -> None:
        """Computes and keeps the features of pictures, a shard at a time."""
        if not missing:
            return
        if self._engine is None:
            self._engine = inference_engines.load_engine(self.base, self.choose(missing), self._lower)
        lower = self._lower
        kept, shape = (open_feature_store(lower, view, "float32"), cuts.find_cut_shape(lower)) if lower else (None, ())
        description = f"{self.base} {view}"

        def keep(part: Sequence[str], rows: np.ndarray) -> None:
            """Keeps what was computed for some pictures, while the engine is at the next ones."""
            if kept is not None:
                rows, maps = np.split(rows, [rows.shape[1] - math.prod(shape)], axis=1)
                self._keep(kept, part, maps.reshape(-1, *shape), view)
            dtype = "float16" if self.base.pooling == "none" else "float32"
            require_usable(rows, self.base, self.choose(part).engine, dtype)
            store.append(part, np.ascontiguousarray(rows, dtype))

        with (
            run_in_background() as write,
            tqdm(total=len(missing), desc=description, unit="picture", disable=None, leave=False) as bar,
        ):
            for part, images in pixel_cache.iterate_chunks(self.store, missing, self.files, view, self._most()):
                rows = self._engine(images)
                write(keep, part, rows)
                self.computed += len(part)
                bar.update(len(part))

    def _keep(self, kept: RowStore, part: Sequence[str], maps: np.ndarray, view: str) -> None:
        """Keeps those of the maps (pictures, height, width, channels) that are wanted and not there, in float16."""
        wanted = self.keeping.wanted.get(view, frozenset()) if self.keeping else frozenset()
        if self.force:
            kept.drop(wanted & set(part))
        new = wanted & set(kept.missing(part))
        places = [place for place, digest in enumerate(part) if digest in new]
        if places:
            require_usable(maps[places], self._lower, self.choose(part).engine, "float16")
            kept.append([part[place] for place in places], maps[places].astype(np.float16))

    def _most(self) -> int | None:
        """How many maps are computed at a time: a shard's worth. Pooled features are small: as many as there are."""
        base = self._lower or self.base
        return compute_shard_rows(2 * math.prod(cuts.find_cut_shape(base))) if base.pooling == "none" else None
