"""Every odd picture becomes uint8 RGB, whatever its name says; what is broken is said to be."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.dataset import images
from tests.conftest import drawn, encoded


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


PICTURE = Image.fromarray(drawn(1, 60, 40))
ODD = {
    "jpeg": saved(PICTURE, "JPEG"),
    "progressive jpeg": saved(PICTURE, "JPEG", progressive=True),
    "grey jpeg": saved(PICTURE.convert("L"), "JPEG"),
    "cmyk jpeg": saved(PICTURE.convert("CMYK"), "JPEG"),
    "png": saved(PICTURE, "PNG"),
    "grey png": saved(PICTURE.convert("L"), "PNG"),
    "palette png": saved(PICTURE.convert("P"), "PNG"),
    "one-bit png": saved(PICTURE.convert("1"), "PNG"),
    "alpha png": saved(PICTURE.convert("RGBA"), "PNG"),
    "gif": saved(PICTURE, "GIF"),
    "webp": saved(PICTURE, "WEBP"),
    "bmp": saved(PICTURE, "BMP"),
}


@pytest.mark.parametrize("kind", ODD)
def test_every_format_becomes_rgb_of_the_size_asked_for(kind):
    assert images.decode(ODD[kind], None).shape == (40, 60, 3)
    small = images.decode(ODD[kind], 24)
    assert small.shape == (24, 24, 3) and small.dtype == np.uint8


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "cmyk jpeg", "png", "alpha png", "webp", "bmp"])
def test_every_colour_format_shows_the_same_picture(kind):
    difference = images.decode(ODD[kind], None).astype(float) - np.asarray(PICTURE, float)
    assert np.abs(difference).mean() < 12


def test_transparency_lies_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (images.decode(saved(clear, "PNG"), None) == 255).all()


def test_sixteen_bits_are_scaled_and_not_clipped():
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    grey = images.decode(saved(Image.fromarray(levels), "PNG"), None)[..., 0]
    assert np.abs(grey.astype(int) - levels // 257).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_applies_it(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(PICTURE, "JPEG", exif=exif, quality=95)
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), float)
    found = images.decode(data, None)
    assert found.shape == expected.shape and np.abs(found - expected).mean() < 2


@pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "png", "gif", "bmp"])
def test_a_truncated_picture_is_unreadable(kind):
    with pytest.raises(images.Unreadable):
        images.decode(ODD[kind][: len(ODD[kind]) // 2], 32)


@pytest.mark.parametrize("data", [b"", b"no picture at all", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_unreadable(data):
    with pytest.raises(images.Unreadable):
        images.decode(data, 32)


def test_garbage_after_a_jpeg_does_not_matter():
    assert (images.decode(ODD["jpeg"] + b"\0" * 50, 32) == images.decode(ODD["jpeg"], 32)).all()


def test_a_fine_checkerboard_shrinks_to_grey():
    board = ((np.indices((512, 512)).sum(axis=0) % 2) * 255).astype(np.uint8)
    small = images.decode(encoded(np.repeat(board[..., None], 3, axis=2), "PNG"), 64)
    assert np.abs(small.astype(int) - 127).max() < 12


@pytest.mark.parametrize("side", [300, 500, 1600])
def test_resizing_is_close_to_pillows_antialiased_bilinear(side):
    big = Image.fromarray(drawn(3, 40, 40)).resize((side, side), Image.Resampling.BICUBIC)
    expected = np.asarray(big.resize((224, 224), Image.Resampling.BILINEAR), float)
    found = images.decode(saved(big, "JPEG", quality=98), 224)
    error = np.mean((found - expected) ** 2)
    assert 10 * np.log10(255**2 / error) > 38


def test_dimensions_are_those_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    path.write_bytes(saved(PICTURE, "JPEG", exif=exif))
    assert images.dimensions(path) == (40, 60)
