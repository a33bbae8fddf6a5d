"""Damages pictures, archives and tables, and reads them."""

import csv
import gzip
import io
import random
import shutil
import struct
import tarfile
import traceback
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.torture.rot import mutate


def prepare(place: Path) -> None:
    """Makes nothing: each trial draws its own input."""


def classify(call: Callable[[], tuple[str, str]], clear: tuple[type[Exception], ...]) -> tuple[str, str]:
    """Calls a trial's reader: its own answer, `clear` for these errors, else `wrong` with the traceback."""
    try:
        return call()
    except clear as error:
        return "clear", str(error)
    except Exception:
        return "wrong", traceback.format_exc(limit=-3)


def draw_pixels(number: int, side: int = 64) -> np.ndarray:
    """Draws a picture of waves and noise, (side, side, 3) uint8."""
    generator = np.random.default_rng(number)
    y, x = np.mgrid[:side, :side]
    waves = [128 + 50 * np.sin(x / generator.uniform(3, 9)) + 50 * np.cos(y / generator.uniform(3, 9)) for _ in "rgb"]
    return np.clip(np.stack(waves, axis=2) + generator.normal(0, 6, (side, side, 3)), 0, 255).astype(np.uint8)


def encode(chance: random.Random, number: int) -> bytes:
    """Encodes a picture in one of the formats that are read."""
    picture = Image.fromarray(draw_pixels(number))
    mode = chance.choice(["RGB", "RGB", "RGB", "L", "RGBA", "P", "CMYK", "1", "I;16", "LA"])
    kind = {"CMYK": "JPEG", "RGB": chance.choice(["JPEG", "JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])}.get(
        mode, "PNG"
    )
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode != "RGB":
        picture = picture.convert(mode)
    options = {}
    if kind == "JPEG":
        exif = Image.Exif()
        exif[0x0112] = chance.randint(0, 9)
        options = {"progressive": chance.random() < 0.3, "exif": exif, "quality": chance.randint(5, 95)}
    if kind == "TIFF":
        options = {"compression": chance.choice([None, "tiff_lzw", "tiff_deflate", "jpeg"])}
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def build_png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """Builds a PNG with any header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def draw_hostile(chance: random.Random, number: int) -> bytes:
    """Builds a picture that asks for much more than it is: huge, many scans, many frames, absurd depths."""
    kind = chance.choice(["png", "bomb", "resized", "frames", "text"])
    if kind == "png":
        sides = chance.choice([1, 0, 65_535, 2**31 - 1]), chance.choice([1, 0, 65_535, 20_000])
        return build_png(*sides, chance.choice([1, 2, 8, 16, 3]), chance.choice([0, 2, 3, 4, 6, 1]), bytes(1000))
    if kind == "bomb":
        return build_png(20_000, 20_000, 16, 6, bytes(20_000 * 200))
    if kind == "resized":  # a JPEG whose header claims any size
        data = bytearray(encode(random.Random(0), number))
        place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        if place > 0:
            data[place + 5 : place + 9] = struct.pack(
                ">HH", chance.choice([0, 1, 65_500]), chance.choice([0, 1, 65_500])
            )
        return bytes(data)
    if kind == "frames":
        file, frame = io.BytesIO(), Image.new("P", (300, 300))
        frame.save(file, "GIF", save_all=True, append_images=[frame] * chance.choice([1, 500]))
        return file.getvalue()
    file, picture = io.BytesIO(), Image.fromarray(draw_pixels(number))
    picture.save(file, "PNG", icc_profile=chance.randbytes(chance.choice([0, 10, 2_000_000])))
    return file.getvalue()


def try_picture(place: Path, number: int) -> tuple[str, str]:
    """Decodes a damaged or hostile picture: right is an array of pixels, clear an unreadable picture."""
    from pipeline.data.images import UnreadableImageError, decode, read_dimensions

    chance = random.Random(number)
    data = draw_hostile(chance, number) if chance.random() < 0.1 else mutate(encode(chance, number), chance)
    size = chance.choice([None, 32, 224])

    def read() -> tuple[str, str]:
        read_dimensions(io.BytesIO(data))
        pixels = decode(data, size)
        whole = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        whole = whole and (size is None or pixels.shape[:2] == (size, size))
        return ("right", "") if whole else ("wrong", f"{pixels.dtype} {pixels.shape}")

    return classify(read, (UnreadableImageError,))


MEMBER_NAMES = [
    "a.jpg",
    "train/a.jpg",
    "train/b.jpg",
    "train/cat/1.jpg",
    "test/ü.jpg",
    "labels.csv",
    "deep/" * 5 + "x.jpg",
]
HOSTILE_NAMES = ["../up.jpg", "/absolute.jpg", "a/../../b.jpg", "C:\\x.jpg", "train\\a.jpg", ".", "", "a\0b.jpg", "nul",
                 "x" * 300, "d/" * 300 + "x", "./train/a.jpg", "train", "TRAIN/A.JPG", "-rf", "\x1b[31m.jpg", "..zip",
                 "...zip"]  # fmt: skip


def build_archive(chance: random.Random, number: int) -> tuple[bytes, str, dict[str, bytes], bool]:
    """Builds an archive. Returns its bytes, its ending, its members, and whether all of them are harmless."""
    names = chance.sample(MEMBER_NAMES, chance.randint(1, 5))
    hostile = chance.sample(HOSTILE_NAMES, chance.choice([0, 0, 1, 2]))
    members = {name: chance.randbytes(chance.choice([0, 10, 5000])) for name in [*names, *hostile]}
    if chance.random() < 0.2:
        inner, _, _, _ = build_archive(random.Random(number + 1), number + 1)
        members[chance.choice(["inner.zip", "train.zip", "inner.tar.gz"])] = inner
    file = io.BytesIO()
    if chance.random() < 0.6:
        with zipfile.ZipFile(file, "w", chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name or "x"), data)
        return file.getvalue(), ".zip", members, not hostile
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if name in hostile and chance.random() < 0.5:
                entry.type, entry.linkname, entry.size = chance.choice([tarfile.SYMTYPE, tarfile.LNKTYPE]), "/etc", 0
            archive.addfile(entry, io.BytesIO(data) if entry.size else None)
    return file.getvalue(), ".tar.gz", members, not hostile


def try_archive(place: Path, number: int) -> tuple[str, str]:
    """Unpacks a damaged or hostile archive: right is every file whole and inside, clear a refusal."""
    from pipeline.errors import StarshiftError
    from pipeline.kaggle.archives import check_archive, unpack_archive

    chance, folder = random.Random(number), place / f"archive-{number}"
    data, ending, members, harmless = build_archive(chance, number)
    damaged = chance.random() < 0.6
    if damaged:
        data = mutate(data, chance)
    folder.mkdir(parents=True)
    outside = {path for path in place.rglob("*") if folder not in path.parents and path != folder}

    def unpack() -> tuple[str, str]:
        (folder / f"bundle{ending}").write_bytes(data)
        check_archive(folder / f"bundle{ending}")
        unpack_archive(folder / f"bundle{ending}", folder / "out" / "in")
        for name, content in members.items():
            path = folder / "out" / "in" / name
            if name in MEMBER_NAMES and path.is_file() and path.read_bytes() != content:
                return "wrong", f"{name} has other bytes"
            if harmless and not damaged and name in MEMBER_NAMES and not path.is_file():
                return "wrong", f"{name} is missing"
        return "right", ""

    try:
        outcome = classify(unpack, (StarshiftError,))
        strangers = {path for path in place.rglob("*") if folder not in path.parents and path != folder} - outside
        strangers |= {path for path in (folder / "out").rglob("*") if path.is_symlink()}
        strangers |= (
            {path for path in (folder / "out").iterdir() if path.name != "in"} if (folder / "out").is_dir() else set()
        )
        return ("wrong", f"outside: {sorted(strangers)[:3]}") if strangers else outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_table(place: Path, number: int) -> tuple[str, str]:
    """Reads a damaged or odd table of labels: right is a table, clear an error."""
    from pipeline.config import Labels
    from pipeline.data.tables import read_label_rows
    from pipeline.errors import StarshiftError

    chance, folder = random.Random(number), place / f"table-{number}"
    folder.mkdir(parents=True)
    text = io.StringIO()
    names = ["cat", "dog", "", "é", "a,b", 'q"x', "new\nline", "=cmd()", "nan", "1", "0.5", "\x1b[31m", "x" * 5000]
    rows = [[chance.choice([f"{n}", f"{n}.jpg", f" {n}", "", f"a/{n}"]), chance.choice(names)] for n in range(20)]
    if chance.random() < 0.3:
        rows[chance.randrange(20)].append("more")
    csv.writer(text, delimiter=chance.choice(",,;\t|")).writerows(
        [chance.choice([["id", "label"]] * 8 + [["id"], []]), *rows]
    )
    coding = chance.choice([*["utf-8"] * 8, "utf-8-sig", "utf-16", "latin-1"])
    data = text.getvalue().encode(coding, "replace")
    ending = chance.choice(["", "", ".gz", ".zip"])
    if ending == ".gz":
        data = gzip.compress(data)
    elif ending:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("labels.csv", data)
        data = file.getvalue()
    (folder / f"labels.csv{ending}").write_bytes(mutate(data, chance) if chance.random() < 0.7 else data)

    def read() -> tuple[str, str]:
        _, frame = read_label_rows(Labels(csv="labels.csv"), folder)
        texts = all(isinstance(value, str) for value in frame.to_numpy().ravel())
        return ("right", "") if texts else ("wrong", "a value is no text")

    try:
        return classify(read, (StarshiftError,))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


TRIALS = {"pictures": try_picture, "archives": try_archive, "tables": try_table}
