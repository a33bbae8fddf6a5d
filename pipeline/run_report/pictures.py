"""Pictures of a report: thumbnails from the pixel cache, which it does not fill."""

import base64
import io
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pipeline import paths
from pipeline.data.pixel_cache import open_pixel_store
from pipeline.data.row_store import DamagedShardError
from pipeline.files import read_json

MIN_STORE_SIZE = 96
"""Side in pixels of the smallest cached pictures that thumbnails are made of, where there are larger ones."""
CHUNK = 32
"""Cached pictures in memory at a time, some 250 kB each."""
JPEG_QUALITY = 78


class ThumbnailSource:
    """Makes thumbnails of cached pictures.

    Args:
        digests: SHA-256 of each picture, by id.
    """

    def __init__(self, digests: Mapping[str, str]) -> None:
        self.digests = digests
        specs = [read_json(path) or {} for path in paths.cache_folder("pixels").glob("*/spec.json")]
        sizes = sorted({int(spec["size"]) for spec in specs if "size" in spec})
        order = [size for size in sizes if size >= MIN_STORE_SIZE] + sizes[::-1]
        self._stores = [open_pixel_store(size) for size in dict.fromkeys(order)]

    def read(self, ids: Sequence[str], side: int) -> dict[str, np.ndarray]:
        """Returns thumbnails (side, side, 3) uint8 RGB by id, of those pictures that are cached."""
        result = dict[str, np.ndarray]()
        for store in self._stores:
            wanted = {name: self.digests[name] for name in ids if name in self.digests and name not in result}
            absent = {*store.missing(wanted.values()), *store.unreadable(wanted.values())}
            present = [name for name, digest in wanted.items() if digest not in absent]
            for start in range(0, len(present), CHUNK):
                part = present[start : start + CHUNK]
                try:
                    pixels = store.read_few([self.digests[name] for name in part])
                except DamagedShardError:
                    break
                small = [cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in pixels]
                result |= dict(zip(part, small, strict=True))
        return result

    def encode(self, ids: Sequence[str], side: int) -> dict[str, str]:
        """Returns thumbnails as data URLs, by id."""
        return {name: encode_data_url(pixels) for name, pixels in self.read(ids, side).items()}


def encode_data_url(pixels: np.ndarray) -> str:
    """Encodes a picture (height, width, 3) uint8 RGB as a JPEG in a data URL."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def build_sprite(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles pictures of one size into one sheet, row after row; the last row is filled with grey."""
    side, rows = len(pictures[0]), -(-len(pictures) // columns)
    sheet = np.full((rows * side, columns * side, 3), 128, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = picture
    return sheet
