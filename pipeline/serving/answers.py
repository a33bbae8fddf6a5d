"""Answers uploaded pictures with a finished run: likeliest classes, class-activation map, nearest training pictures.

Uploads come from anyone: sizes are checked before anything is decoded, and pictures are decoded one at a time.
"""

import contextlib
import io
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.data import images
from pipeline.errors import StarshiftError
from pipeline.run_report.pictures import ThumbnailSource
from pipeline.runs.activation_maps import Explainer, extract_together, load_explainer, overlay_map
from pipeline.runs.predictor import (
    PicturePredictions,
    RunPredictor,
    build_records,
    decode_picture,
    load_predictor,
)

SHOWN_SIDE, THUMBNAIL_SIDE = 320, 96
"""Longer side of a picture beside its answer, and side of a training picture, in pixels."""
MAX_NAME = 80
FAULTS = {
    "UnidentifiedImageError": "it is no picture of a known format",
    "DecompressionBombError": "it claims to have more pixels than any camera",
}
"""What Pillow's errors say of a file."""
Upload = tuple[str, bytes]
"""A name as the sender gave it, and the bytes of the file."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is answered.

    Args:
        pictures: of a request, at most.
        bytes: of a picture.
        megapixels: of a picture; 50 take up to 800 MB while they are decoded.
        request_bytes: of a request.
        seconds: in which a request arrives, and in which its turn comes.
    """

    pictures: int = 10
    bytes: int = 25_000_000
    megapixels: int = 50
    request_bytes: int = 100_000_000
    seconds: float = 60.0


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        message: for its sender.
        status: of the HTTP answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is shown of a picture.

    Args:
        record: as `invoke predict --json` prints it, see `build_records`.
        picture: (height, width, 3) uint8 RGB; None where it cannot be read.
        overlay: the picture, coloured by what speaks for the likeliest class; None where there is no map.
        legend: what its colours mean.
        thumbnails: of the nearest training pictures, by id, of those that are in the pixel cache.
    """

    record: Mapping[str, Any]
    picture: np.ndarray | None = None
    overlay: np.ndarray | None = None
    legend: str = ""
    thumbnails: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """Readable pictures of a request: names, pixels by size, digests, and the shape (height, width) of each file's."""

    names: list[str]
    pixels: dict[int, np.ndarray]
    digests: list[str]
    shapes: list[tuple[int, int]]


class PictureService:
    """Answers pictures with a run, one request at a time: engines are not made for several threads.

    Args:
        run: its name.
        predictor: of the run.
        explainer: of the run; None where it has no exact map.
        no_map: why it has none.
        limits: of a request.
    """

    def __init__(
        self, run: str, predictor: RunPredictor, explainer: Explainer | None, no_map: str, limits: Limits
    ) -> None:
        self.run, self.predictor, self.explainer, self.no_map, self.limits = run, predictor, explainer, no_map, limits
        self.thumbnails = ThumbnailSource(predictor.neighbours.digests if predictor.neighbours else {})
        self._turn = threading.Lock()

    def answer(self, uploads: Sequence[Upload]) -> list[Answer]:
        """Answers pictures, with what is shown of them, in their order.

        Raises:
            RefusedError: none or too many pictures, or others take too long.
        """
        with self._prepare(uploads) as (files, decoded, unreadable):
            predictions, parts = self._predict(decoded, unreadable)
            records = {str(record["picture"]): record for record in build_records(predictions)}
            shown = self._draw(decoded, predictions, parts, records)
        return [shown.get(name, Answer(record=records[name])) for name in files]

    def predict(self, uploads: Sequence[Upload]) -> dict[str, Any]:
        """Answers pictures as `invoke predict --json` does, see SCHEMA; raises as `answer` does."""
        with self._prepare(uploads) as (_, decoded, unreadable):
            predictions, _ = self._predict(decoded, unreadable)
        return {"run": self.run, "pictures": build_records(predictions)}

    @contextlib.contextmanager
    def _prepare(self, uploads: Sequence[Upload]) -> Iterator[tuple[dict[str, bytes], _Decoded, dict[str, str]]]:
        """Checks a request, waits for its turn, and decodes its pictures."""
        files = name_uploads(uploads)
        if not 0 < len(files) <= self.limits.pictures:
            raise RefusedError(f"Send 1 to {self.limits.pictures} pictures at a time, not {len(files)}.", 400)
        if not self._turn.acquire(timeout=self.limits.seconds):
            raise RefusedError("Other pictures are being answered. Try again in a minute.", 503)
        try:
            yield files, *self._decode(files)
        finally:
            self._turn.release()

    def _decode(self, files: Mapping[str, bytes]) -> tuple[_Decoded, dict[str, str]]:
        """Decodes pictures; also returns why others cannot be read, by name."""
        good, unreadable = dict[str, tuple[dict[int, np.ndarray], str, tuple[int, int]]](), dict[str, str]()
        for name, data in files.items():
            try:
                shape = check_picture(data, self.limits)
                good[name] = (*decode_picture(data, self.predictor.sizes), shape)
            except images.UnreadableImageError as error:
                unreadable[name] = str(error)
        pixels = {size: np.stack([one[0][size] for one in good.values()]) for size in self.predictor.sizes if good}
        digests, shapes = [one[1] for one in good.values()], [one[2] for one in good.values()]
        return _Decoded(names=list(good), pixels=pixels, digests=digests, shapes=shapes), unreadable

    def _predict(self, decoded: _Decoded, unreadable: Mapping[str, str]) -> tuple[PicturePredictions, list[np.ndarray]]:
        """Predicts pictures; also returns their maps, where these gave the features."""
        probabilities = np.empty((0, len(self.predictor.classes)), np.float32)
        unlike, nearest, parts = np.zeros(0, bool), list[list[tuple[str, str, float]]](), list[np.ndarray]()
        if decoded.names:
            parts, extracted = extract_together(self.predictor, self.explainer, decoded.pixels, decoded.digests)
            probabilities = self.predictor.predict(decoded.pixels, decoded.digests, extracted)
            unlike, nearest = self.predictor.compare(extracted.get("plain"), len(decoded.names))
        predictions = PicturePredictions(
            classes=self.predictor.classes,
            names=tuple(decoded.names),
            probabilities=probabilities,
            novel=unlike if self.predictor.neighbours else None,
            nearest=nearest,
            unreadable=unreadable,
        )
        return predictions, parts

    def _draw(
        self,
        decoded: _Decoded,
        predictions: PicturePredictions,
        parts: Sequence[np.ndarray],
        records: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Answer]:
        """Draws what is shown of each readable picture, by name."""
        if not decoded.names:
            return {}
        pictures = decoded.pixels[self.predictor.sizes[-1]]
        overlays: list[np.ndarray | None] = [None] * len(decoded.names)
        if self.explainer:
            parts = parts or self.explainer.extract(decoded.pixels)
            maps = self.explainer.draw_maps(parts, predictions.probabilities.argmax(axis=1).tolist())
            overlays = [overlay_map(one, values) for one, values in zip(pictures, maps, strict=True)]
        thumbnails = self.thumbnails.read([name for near in predictions.nearest for name, *_ in near], THUMBNAIL_SIDE)
        return {
            name: Answer(
                record=records[name],
                picture=unstretch(picture, shape),
                overlay=None if overlay is None else unstretch(overlay, shape),
                legend=self.explainer.legend if self.explainer else "",
                thumbnails={identity: thumbnails[identity] for identity, *_ in near if identity in thumbnails},
            )
            for name, picture, overlay, shape, near in zip(
                decoded.names, pictures, overlays, decoded.shapes, predictions.nearest, strict=True
            )
        }


def load_service(folder: Path, limits: Limits | None = None) -> PictureService:
    """Loads a finished run, and answers a black picture so that the first answer is as quick as others.

    Raises:
        StarshiftError: the run is unfinished, or lacks its model.
    """
    predictor = load_predictor(folder)
    explainer, no_map = None, ""
    try:
        explainer = load_explainer(folder)
    except StarshiftError as error:
        no_map = error.message
    service = PictureService(folder.name, predictor, explainer, no_map, limits or Limits())
    _, black = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))
    service.answer([("black", black.tobytes())])
    return service


def name_uploads(uploads: Sequence[Upload]) -> dict[str, bytes]:
    """Returns uploads by names that are unique, short and without folders, in their order."""
    files = dict[str, bytes]()
    for given, data in uploads:
        plain = "".join(letter for letter in given.replace("\\", "/").rpartition("/")[2] if letter.isprintable())
        name = plain[-MAX_NAME:].strip() or "picture"
        candidates = (f"{name} ({number})" if number > 1 else name for number in itertools.count(1))
        files[next(one for one in candidates if one not in files)] = data
    return files


def check_picture(data: bytes, limits: Limits) -> tuple[int, int]:
    """Checks an upload before it is decoded, and returns height and width of the picture, upright.

    Raises:
        UnreadableImageError: it is no picture, or too large.
    """
    if len(data) > limits.bytes:
        raise images.UnreadableImageError(f"the file is larger than {limits.bytes / 1e6:g} MB")
    try:
        width, height = images.read_dimensions(io.BytesIO(data), limits.megapixels * 1_000_000)
    except images.UnreadableImageError as error:
        text = FAULTS.get(type(error.__cause__).__name__, "it is damaged, or not whole")
        raise images.UnreadableImageError(text if data else "the file is empty") from error
    if width * height > limits.megapixels * 1e6:
        text = f"it has {width} x {height} pixels, more than {limits.megapixels} megapixels"
        raise images.UnreadableImageError(text)
    return height, width


def unstretch(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes a square picture to the proportions of its file, the longer side SHOWN_SIDE."""
    height, width = (max(1, round(side * SHOWN_SIDE / max(shape))) for side in shape)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


_TEXT, _SHARE = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}


def _build_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Answers of a run to pictures",
    **_build_object(
        run={**_TEXT, "description": "name of the run"},
        pictures={
            "type": "array",
            "description": "a record a picture, sorted by name",
            "items": {
                "oneOf": [
                    _build_object(
                        picture={**_TEXT, "description": "name of the file"},
                        classes={
                            "type": "array",
                            "description": "the likeliest classes, the likeliest first",
                            "items": _build_object(**{"class": _TEXT, "probability": _SHARE}),
                        },
                        unlike_training={
                            "type": ["boolean", "null"],
                            "description": "whether it is unlike the training pictures; null where these are not here",
                        },
                        nearest={
                            "type": "array",
                            "description": "the nearest training pictures, the nearest first",
                            "items": _build_object(**{"id": _TEXT, "class": _TEXT, "cosine": {"type": "number"}}),
                        },
                    ),
                    _build_object(picture=_TEXT, error={**_TEXT, "description": "why the picture cannot be read"}),
                ]
            },
        },
    ),
}
"""JSON Schema of what `PictureService.predict` returns."""
