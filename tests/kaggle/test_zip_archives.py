"""Zip archives of every method, and those that hold more than they say."""

import struct
import zipfile
import zlib

import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives


def raw_zip(members, *, method=zipfile.ZIP_STORED) -> bytes:
    """A zip of members that zipfile would not write: any name, and a size that need not be the true one."""
    body, directory = b"", b""
    for name, data, *declared in members:
        packed = compress(data, method)
        size = declared[0] if declared else len(data)
        common = struct.pack("<HHHHIIIHH", 0x800, method, 0, 33, zlib.crc32(data), len(packed), size, len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<HH", 20, 20) + common
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name
        body += b"PK\x03\x04" + struct.pack("<H", 20) + common + name + packed
    count = len(members)
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)


def compress(data, method):
    if method == zipfile.ZIP_DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush()
    return data


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_holds_more_than_it_says_is_stopped(tmp_path, method):
    (tmp_path / "a.zip").write_bytes(raw_zip([(b"a", bytes(5 << 20), 1000)], method=method))
    with pytest.raises(StarshiftError, match="damaged"):
        archives.unpack_archive(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "a").stat().st_size <= 1000


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_both_usual_methods_of_zip_are_read(tmp_path, method):
    data = bytes(range(256)) * 9000
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a/1.jpg", data)
        archive.writestr("a/2.jpg", b"")
    archives.check_archive(tmp_path / "a.zip")
    archives.unpack_archive(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out/a/1.jpg").read_bytes() == data and (tmp_path / "out/a/2.jpg").read_bytes() == b""
