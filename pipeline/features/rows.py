"""Rows of a store, mapped into memory and gathered when they are asked for: training holds a batch and no more."""

from collections.abc import Sequence

import numpy as np

from pipeline.dataset.shards import DamagedShardError, RowStore
from pipeline.errors import StarshiftError


class Rows:
    """The rows of some pictures, in their order.

    Args:
        store: of pixels or of features.
        digests: SHA-256 of each picture's bytes; those without a row must not be asked for.

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
        """The rows at these positions, (n, ...) in the store's dtype.

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
