"""Pictures of a report: thumbnails from the pixel cache and features from the feature cache; it computes neither."""

import base64
import io
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pipeline import paths
from pipeline.config import Competition, Labels, Submission, select_bases
from pipeline.data.labels import load_labeled_pictures
from pipeline.data.pixel_cache import open_pixel_store
from pipeline.data.row_store import DamagedShardError
from pipeline.errors import StarshiftError
from pipeline.features.cache import open_feature_store
from pipeline.files import read_json
from pipeline.models.base import find_missing_weights, parse_base
from pipeline.runs import load
from pipeline.runs.listing import DERIVED_STRATEGIES, shorten_base_name
from pipeline.runs.load import Run

MIN_STORE_SIZE = 96
"""Side in pixels of the smallest cached pictures that thumbnails are made of, where there are larger ones."""
CHUNK = 32
"""Cached pictures in memory at a time, some 250 kB each."""
JPEG_QUALITY = 78


def find_digests(run: Run) -> dict[str, str]:
    """Finds the SHA-256 of each training picture by its id, from the picture table; {} where its data is not here."""
    stored = run.config["competition"]
    folder = paths.competition_folder(stored["name"])
    is_here = (folder / "complete.json").is_file() and (folder / "raw").is_dir()
    if stored.get("data") is None and not is_here:
        return {}
    kept = {key: stored.get(key) for key in ("name", "slug", "data", "synthetic", "metric")}
    submission = Submission(**stored["submission"]) if stored.get("submission") else None
    try:
        train, _ = load_labeled_pictures(Competition(**kept, labels=Labels(**stored["labels"]), submission=submission))
    except (StarshiftError, OSError, TypeError):  # TypeError: fields of another version
        return {}
    return dict(zip(train["id"], train["sha256"], strict=True))


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


def load_features(run: Run, digests: Sequence[str]) -> tuple[np.ndarray | None, list[str]]:
    """Loads the cached features of pictures in the plain view, each base's of length 1, and the names of the bases.

    Args:
        run: its recipe names the bases; one that a strategy trains is taken as it was before.
        digests: SHA-256 of the pictures.

    Returns:
        Features (pictures, width) float32; None, and no name, where no base has a row of every picture here.
    """
    strategy = run.recipe["strategy"]
    uses_all = strategy in DERIVED_STRATEGIES or load.read_strategy(run.config) == "features"
    texts = select_bases("features" if uses_all else strategy, run.recipe.get("bases", ()))
    features = {text: _read_features(text, run.recipe.get("size"), digests) for text in texts}
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in features.values() if part is not None]
    names = [shorten_base_name(text) for text, part in features.items() if part is not None]
    return np.concatenate(parts, axis=1) if parts else None, names


def _read_features(text: str, size: int | None, digests: Sequence[str]) -> np.ndarray | None:
    """Reads a base's cached features of either precision; None where a row or the file of weights is missing."""
    try:
        base = parse_base(text, size)
        if find_missing_weights(base) is not None:
            return None
        for precision in ("float32", "bfloat16"):
            store = open_feature_store(base, "plain", precision)
            if not store.missing(digests) and not store.unreadable(digests):
                return store.read(digests)
    except (DamagedShardError, StarshiftError):
        pass
    return None
