"""Decoding: any picture to uint8 RGB, by content and never by name. JPEG and plain PNG fast, the rest by Pillow."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np

try:
    import simplejpeg
except ImportError:  # Kaggle's image lacks it
    simplejpeg = None

RESIZE = "stretch, bilinear to twice the size and area to it, area above three times, 1"
LARGEST = 200_000_000
ORIENTATION_TAG = 0x0112
cv2.setNumThreads(1)


class Unreadable(Exception):  # noqa: N818 - a state of a picture more than an error of ours
    """Bytes that are no picture, or not all of one. The message says why."""


def decode(data: bytes, size: int | None) -> np.ndarray:
    """A picture as uint8 RGB: (size, size, 3), or at its own size (height, width, 3) when size is None.

    Grey is repeated, transparency lies on white, 16 bits are scaled to 8, EXIF orientation is applied, the first
    frame of an animation is taken.

    Raises:
        Unreadable: no picture, or a truncated one.
    """
    pixels = (
        _jpeg(data, size) if data[:3] == b"\xff\xd8\xff" else _png(data) if data[:8] == b"\x89PNG\r\n\x1a\n" else None
    )
    if pixels is None:
        pixels = _pillow(data)
    return pixels if size is None else resize(pixels, size)


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Stretches to a square, antialiased.

    Up to three times smaller, bilinear to twice the size and then the mean of 2 x 2 (a triangle-like filter, and fast);
    beyond that the mean over the area; larger, bilinear, which has nothing to alias.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return np.ascontiguousarray(pixels)
    smaller, larger = min(height, width) / size, max(height, width) / size
    if smaller >= 3 or (smaller <= 1 < larger and larger > 2):
        return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    if larger > 1:
        pixels = cv2.resize(pixels, (2 * size, 2 * size), interpolation=cv2.INTER_LINEAR)
        return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)


def _jpeg(data: bytes, size: int | None) -> np.ndarray | None:
    """A JPEG by libjpeg-turbo, scaled down while decoding where that is exact; None leaves it to Pillow."""
    if simplejpeg is None:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space in ("CMYK", "YCCK") or height * width > LARGEST:
            return None
        least = 2 * size if size else 0
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least, min_factor=2 if size else 1)
    except ValueError:
        return None
    if b"Exif\0\0" in data[:65536]:
        pixels = oriented(pixels, _orientation(data))
    return pixels


def _orientation(data: bytes) -> int:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return 1


def oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The picture turned upright, by EXIF's orientation 1 to 8 (CIPA DC-008, 4.6.4)."""
    if orientation in (2, 5, 7, 4):
        pixels = pixels[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(pixels, turns))


def _png(data: bytes) -> np.ndarray | None:
    """An 8-bit grey or RGB PNG without transparency, whole; None leaves it to Pillow."""
    plain = data[24:25] == b"\x08" and data[25:26] in (b"\x00", b"\x02") and b"tRNS" not in data[:1024]
    if not plain or b"IEND" not in data[-1024:] or b"eXIf" in data[:4096]:
        return None
    if int.from_bytes(data[16:20]) * int.from_bytes(data[20:24]) > LARGEST:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _pillow(data: bytes) -> np.ndarray:
    """Any picture that Pillow knows."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > LARGEST:
                raise Unreadable(f"{picture.width} x {picture.height} pixels are more than {LARGEST}")
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return np.ascontiguousarray(_eight_bits(upright))
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}" if data else "the file is empty") from error


def _eight_bits(picture: Any) -> np.ndarray:
    """A Pillow picture of any mode as uint8 RGB."""
    from PIL import Image

    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        values = np.asarray(picture, np.float64)
        grey = np.clip(values / 257 if values.max(initial=0) > 255 else values, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def dimensions(path: Path) -> tuple[int, int]:
    """Width and height in pixels, upright, from the file's header.

    Raises:
        Unreadable: no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(ORIENTATION_TAG, 1) in (5, 6, 7, 8)
            return (picture.height, picture.width) if turned else (picture.width, picture.height)
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
