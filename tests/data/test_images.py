"""Every odd picture becomes uint8 RGB, whatever its name says; what is broken is said to be."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.data import images
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
    with pytest.raises(images.UnreadableImageError):
        images.decode(ODD[kind][: len(ODD[kind]) // 2], 32)


@pytest.mark.parametrize("data", [b"", b"no picture at all", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_unreadable(data):
    with pytest.raises(images.UnreadableImageError):
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
    assert images.read_dimensions(path) == (40, 60)


@pytest.mark.parametrize(("width", "height"), [(900, 200), (2000, 224), (100, 1000)])
def test_a_long_picture_is_antialiased_although_its_other_side_grows(width, height):
    stripes = np.zeros((height, width, 3), np.uint8)
    stripes[:, ::2] = 255
    stripes = stripes if width > height else stripes * 0 + (np.arange(height)[:, None, None] % 2 * 255).astype(np.uint8)
    assert images.resize(stripes, 224).std() < 16


def test_opencv_alone_decodes_to_the_same_pixels_as_simplejpeg(monkeypatch):
    shapes = [(500, 375), (1601, 1203), (451, 449), (60, 2000)]
    files = [encoded(drawn(4, *shape), "JPEG", progressive=p) for shape in shapes for p in (False, True)]
    fast = [images.decode(data, size) for data in files for size in (96, None)]
    monkeypatch.setattr(images, "simplejpeg", None)
    plain = [images.decode(data, size) for data in files for size in (96, None)]
    assert all(np.array_equal(one, other) for one, other in zip(fast, plain, strict=True))
    for data in files:
        with pytest.raises(images.UnreadableImageError):
            images.decode(data[: len(data) * 9 // 10], 96)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("kind", ["transparency", "orientation"])
def test_a_png_says_what_matters_even_after_a_long_text(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    said = chunk(b"tRNS", bytes([0, 255, 0, 0, 0, 0])) if kind == "transparency" else chunk(b"eXIf", exif.tobytes()[6:])
    whole = saved(Image.new("RGB", (16, 8), (255, 0, 0)), "PNG")
    found = images.decode(whole[:33] + chunk(b"tEXt", b"k\0" + b"x" * 9000) + said + whole[33:], None)
    assert found.shape == ((8, 16, 3) if kind == "transparency" else (16, 8, 3))
    assert found.min() == (255 if kind == "transparency" else 0)


def test_dark_sixteen_bit_pictures_stay_dark():
    levels = np.arange(200, dtype=np.uint16).reshape(10, 20)
    assert images.decode(saved(Image.fromarray(levels), "PNG"), None).max() == 1


def test_a_large_picture_is_read_and_a_bomb_is_not(tmp_path):
    large = saved(Image.new("P", (11_000, 9_000)), "PNG")
    assert images.decode(large, 8).shape == (8, 8, 3)
    (tmp_path / "large").write_bytes(large)
    assert images.read_dimensions(tmp_path / "large") == (11_000, 9_000)
    bomb = large[:16] + struct.pack(">II", 20_000, 20_000) + large[24:29] + struct.pack(
        ">I", zlib.crc32(b"IHDR" + struct.pack(">II", 20_000, 20_000) + large[24:29])
    ) + large[33:]  # fmt: skip
    with pytest.raises(images.UnreadableImageError):
        images.decode(bomb, 8)


def test_why_a_picture_is_unreadable_is_the_same_words_every_time():
    with pytest.raises(images.UnreadableImageError) as caught:
        images.decode(b"no picture at all", 32)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("side", [300, 500, 600])
def test_detail_is_shrunk_as_by_pillows_antialiased_bilinear(side):
    pixels = drawn(3, side, side)
    expected = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR), float)
    error = np.mean((images.resize(pixels, 224) - expected) ** 2)
    assert 10 * np.log10(255**2 / error) > 47


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


@pytest.mark.parametrize("place", ["behind 70 kB of XMP", "behind the frame header", "before everything"])
def test_the_orientation_of_a_jpeg_is_read_wherever_its_segment_stands(place, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    said = segment(0xE1, b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0"))
    long = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 65_000)
    whole = saved(PICTURE, "JPEG", quality=95)
    scan = whole.index(b"\xff\xda")
    parts = {
        "behind 70 kB of XMP": whole[:2] + long + segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" * 200) + said,
        "behind the frame header": whole[:scan] + said,
        "before everything": whole[:2] + said,
    }
    data = parts[place] + whole[scan if "frame" in place else 2 :]
    upright = np.rot90(images.decode(whole, None), 3)
    assert np.array_equal(images.decode(data, None), upright)
    (tmp_path / "turned.jpg").write_bytes(data)
    assert images.read_dimensions(tmp_path / "turned.jpg") == (40, 60)


def test_the_word_exif_in_a_comment_turns_no_picture_and_costs_nothing(monkeypatch):
    monkeypatch.setattr(images, "_read_orientation", lambda _: pytest.fail("asked Pillow"))
    whole = ODD["jpeg"]
    assert images.decode(whole[:2] + segment(0xFE, b"Exif\0\0 is what this is not") + whole[2:], None) is not None


def test_dimensions_beyond_a_limit_are_read_from_the_header_alone():
    header = encoded(np.zeros((9, 12, 3), np.uint8), "PNG")[:45]
    assert images.read_dimensions(io.BytesIO(header), most=100) == (12, 9)
    with pytest.raises(images.UnreadableImageError):
        images.read_dimensions(io.BytesIO(header))


def test_a_png_with_a_large_colour_profile_is_read():
    file = io.BytesIO()
    Image.fromarray(drawn(1)).convert("RGBA").save(file, "PNG", icc_profile=np.random.default_rng(0).bytes(1_500_000))
    assert images.decode(file.getvalue(), 32).shape == (32, 32, 3)


@pytest.mark.parametrize("orientation", [2, 5, 6, 7])
def test_the_sides_of_a_turned_tiff_are_those_of_its_pixels(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(PICTURE, "TIFF", exif=exif)
    height, width = images.decode(data, None).shape[:2]
    assert images.read_dimensions(io.BytesIO(data)) == (width, height)


def raw_profile(data: bytes) -> bytes:
    """A text chunk in which ImageMagick keeps the EXIF block of a JPEG."""
    return b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n%s\n" % (len(data), data.hex().encode()))


@pytest.mark.parametrize("kind", ["XMP of a JPEG", "ImageMagick's profile in a PNG"])
def test_an_orientation_that_stands_elsewhere_is_applied_as_by_pillow(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="6"/>')
    jpeg, png = ODD["jpeg"], ODD["png"]
    data = {
        "XMP of a JPEG": jpeg[:2] + xmp + jpeg[2:],
        "ImageMagick's profile in a PNG": png[:33] + chunk(b"zTXt", raw_profile(exif.tobytes())) + png[33:],
    }[kind]
    assert images.decode(data, None).shape == (60, 40, 3) and images.read_dimensions(io.BytesIO(data)) == (40, 60)


def test_what_is_no_picture_is_described_by_its_content():
    for data, words in (
        (b"<html>", "HTML"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"version https://git-lfs", "git lfs pull"),
    ):
        with pytest.raises(images.UnreadableImageError, match=words):
            images.decode(data, None)
