"""Decodes any picture to uint8 RGB by its content, and resizes it.

JPEG and plain PNG are decoded fast, other formats by Pillow; a file's name does not matter.
"""

import io
import warnings
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

try:
    import simplejpeg
except ImportError:  # Kaggle's image lacks it
    simplejpeg = None

from pipeline.files import describe_bytes

RESIZE_METHOD = "stretch, bilinear to twice the size and area to it, area above three times, 2"
MAX_PIXELS = 200_000_000
REDUCED_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
MAX_PROFILE_BYTES = 16_000_000
ORIENTATION_TAG = 0x0112
APP1, START_OF_SCAN = 0xE1, 0xDA
cv2.setNumThreads(1)
warnings.filterwarnings("ignore", module="PIL")  # of odd metadata: a picture that cannot be read is named by its file


class UnreadableImageError(Exception):
    """Bytes that are no picture, or not all of one. The message says why."""


def decode(data: bytes, size: int | None) -> np.ndarray:
    """Decodes a picture to uint8 RGB: (size, size, 3), or at its own size (height, width, 3) when size is None.

    Grey is repeated, transparency lies on white, 16 bits are scaled to 8, EXIF orientation is applied, the first
    frame of an animation is taken.

    Raises:
        UnreadableImageError: no picture, or a truncated one.
    """
    pixels = None
    if data[:3] == b"\xff\xd8\xff":
        pixels = _decode_jpeg(data, size)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        pixels = _decode_png(data)
    if pixels is None:
        pixels = _decode_with_pillow(data)
    return pixels if size is None else resize(pixels, size)


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Stretches pixels (height, width, 3) to a square, antialiased.

    Up to three times smaller, bilinear to twice the size and then the mean of 2 x 2 (a triangle-like filter, and fast);
    beyond that the mean over the area; larger, bilinear, which has nothing to alias.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return np.ascontiguousarray(pixels)
    smaller, larger = min(height, width) / size, max(height, width) / size
    if smaller <= 1 and larger > 2:  # OpenCV's area is antialiased only where neither side grows: one side at a time
        pixels = cv2.resize(pixels, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
        return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    if smaller >= 3 or larger > 4:
        return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    if larger > 1:
        pixels = cv2.resize(pixels, (2 * size, 2 * size), interpolation=cv2.INTER_LINEAR)
        return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)


def _decode_jpeg(data: bytes, size: int | None) -> np.ndarray | None:
    """Decodes a whole JPEG by libjpeg-turbo, scaled down to 1/2, 1/4 or 1/8 while decoding; None leaves it to Pillow.

    Without simplejpeg OpenCV decodes to the same pixels; as it accepts truncated files, the end marker is checked.
    """
    frame, has_exif = _read_jpeg_header(data)
    if frame is None:
        return None
    height, width = frame
    factor = max(f for f in REDUCED_FLAGS if f == 1 or (size and min(height, width) / f >= 2 * size))
    if simplejpeg is None:
        if b"\xff\xd9" not in data[data.find(b"\xff\xda") :]:
            return None
        flags = REDUCED_FLAGS[factor] | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if pixels is None:
            return None
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    else:
        try:
            pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=-(-height // factor), min_width=-(-width // factor))
        except ValueError:
            return None
    if has_exif:
        pixels = apply_orientation(pixels, _read_orientation(data))
    return pixels


def _read_jpeg_header(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Reads the segments of a JPEG up to its first scan (ITU T.81, B.2).

    Returns:
        Height and width of an 8-bit grey or three-colour picture, None for another one; and whether there is an EXIF
        segment, which phones may write behind several segments of XMP of 64 kB each.
    """
    place, frame, has_exif = 2, None, False
    while data[place : place + 1] == b"\xff" and place + 10 <= len(data) and data[place + 1] != START_OF_SCAN:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9])
            plain = data[place + 4] == 8 and data[place + 9] in (1, 3) and 0 < height * width <= MAX_PIXELS
            frame = (height, width) if plain else None
        length = 2 + int.from_bytes(data[place + 2 : place + 4])
        segment = data[place + 4 : place + length] if marker == APP1 else b""
        has_exif |= segment.startswith(b"Exif\0\0") or b"tiff:Orientation" in segment
        place += 1 if marker == 0xFF else length
    return frame, has_exif


def _read_orientation(data: bytes) -> int:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return 1


def apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns a picture upright, by EXIF's orientation 1 to 8 (CIPA DC-008, 4.6.4)."""
    if orientation in (2, 5, 7, 4):
        pixels = pixels[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(pixels, turns))


def _decode_png(data: bytes) -> np.ndarray | None:
    """Decodes a whole 8-bit grey or RGB PNG without transparency; None leaves it to Pillow."""
    chunks, place = set(), 8
    while place + 12 <= len(data) and b"IEND" not in chunks:
        chunks.add(data[place + 4 : place + 8])
        place += 12 + int.from_bytes(data[place : place + 4])
    plain = data[24:25] == b"\x08" and data[25:26] in (b"\x00", b"\x02")
    area = int.from_bytes(data[16:20]) * int.from_bytes(data[20:24])
    turned = b"tiff:Orientation" in data or b"Raw profile type exif" in data  # as ImageMagick keeps what a JPEG had
    odd = turned or chunks & {b"tRNS", b"eXIf", b"acTL"}
    if not plain or b"IEND" not in chunks or odd or not 0 < area <= MAX_PIXELS:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _decode_with_pillow(data: bytes) -> np.ndarray:
    """Any picture that Pillow knows."""
    from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own limit is lower, and it warns at half of it
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # 1 MB is less than what some printers' ICC profiles take
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if not 0 < picture.width * picture.height <= MAX_PIXELS:
                raise UnreadableImageError(f"{picture.width} x {picture.height} pixels, not 1 to {MAX_PIXELS:,}")
            if picture.format == "EPS":
                raise UnreadableImageError("PostScript is a program, which is not run")
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return np.ascontiguousarray(_convert_to_rgb(upright))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(describe_bytes(data[:512]) or "no picture format that Pillow knows") from error
    except Exception as error:
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def _convert_to_rgb(picture: Any) -> np.ndarray:
    """Converts a Pillow picture of any mode to uint8 RGB."""
    from PIL import Image

    if picture.mode == "F":
        raise UnreadableImageError(
            "floating-point pixels, of which nobody says what is white: save them with 8 or 16 bits"
        )
    if picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture, np.float64) / 257, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, layer).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def read_dimensions(path: Path | IO[bytes], most: int = MAX_PIXELS) -> tuple[int, int]:
    """Reads width and height in pixels, upright, from the header of a file; see `read_header`."""
    return read_header(path, most)[:2]


def read_header(path: Path | IO[bytes], most: int = MAX_PIXELS) -> tuple[int, int, str]:
    """Reads width and height in pixels, upright, and the format with Pillow's mode (`JPEG RGB`), from a file's header;
    `GIF P frames` where there are several frames or pages.

    Args:
        path: of the file, or the open file.
        most: pixels; of a larger picture the orientation is not read, for which Pillow 12 decodes a PNG file.

    Raises:
        UnreadableImageError: no picture.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with Image.open(path) as picture:
            is_small = picture.width * picture.height <= most
            turned = is_small and picture.getexif().get(ORIENTATION_TAG, 1) in (5, 6, 7, 8)
            # Pillow 12 turns the size of a TIFF file when it opens it, and older ones when they decode it
            tags = getattr(picture, "tag_v2", None)
            width, height = (tags[256], tags[257]) if tags else picture.size
            several = " frames" if getattr(picture, "is_animated", False) and picture.format != "MPO" else ""
            return (*((height, width) if turned else (width, height)), f"{picture.format} {picture.mode}{several}")
    except Exception as error:
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def is_readable(path: Path | str) -> bool:
    """Returns whether the header of a file is a picture's."""
    try:
        return read_header(Path(path))[0] > 0
    except UnreadableImageError:
        return False


def read_range(path: Path) -> tuple[int, int]:
    """Reads the smallest and largest value of a picture, as the file has them; zeros where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
            return int(values.min()), int(values.max())
    except Exception:  # who decodes it says why
        return 0, 0
