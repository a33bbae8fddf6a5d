"""Archives are told by content, unpacked inside each other, and refused when they are unsafe."""

import io
import stat
import zipfile

import py7zr
import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives


def zipped(members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def seven_zipped(members) -> bytes:
    file = io.BytesIO()
    with py7zr.SevenZipFile(file, "w") as archive:
        for name, data in members:
            archive.writef(io.BytesIO(data), name)
    return file.getvalue()


def unpacked(tmp_path, data):
    (tmp_path / "bundle.bin").write_bytes(data)
    archives.check(tmp_path / "bundle.bin")
    archives.unpack(tmp_path / "bundle.bin", tmp_path / "out")
    found = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    return sorted(path.relative_to(tmp_path / "out").as_posix() for path in found)


def test_archives_inside_an_archive_are_unpacked_by_content(tmp_path):
    inner = [
        ("train.7z", seven_zipped([("train/1.jpg", b"a"), ("train/2.jpg", b"b")])),
        ("test.7z", zipped([("test/1.jpg", b"c")])),
        ("labels.csv.zip", zipped([("labels.csv", b"id")])),
        ("loose.zip", zipped([("1.jpg", b"d"), ("2.jpg", b"e")])),
    ]
    expected = ["labels.csv", "loose/1.jpg", "loose/2.jpg", "test/1.jpg", "train/1.jpg", "train/2.jpg"]
    assert unpacked(tmp_path, zipped(inner)) == expected


def test_a_seven_zip_is_unpacked_whatever_its_name(tmp_path):
    assert unpacked(tmp_path, seven_zipped([("a/b.txt", b"x")])) == ["a/b.txt"]


def test_what_systems_leave_in_archives_is_skipped(tmp_path):
    assert unpacked(tmp_path, zipped([("__MACOSX/._a", b""), ("a/.DS_Store", b""), ("a/1.jpg", b"x")])) == ["a/1.jpg"]


def test_a_member_that_is_not_what_its_checksum_says_is_named(tmp_path):
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/1.jpg", b"as it was")
    path.write_bytes(path.read_bytes().replace(b"as it was", b"as it is."))
    with pytest.raises(StarshiftError, match=r"train/1\.jpg in it, which is not what its checksum says"):
        archives.check(path)


@pytest.mark.parametrize("pack", [zipped, seven_zipped])
def test_a_damaged_archive_inside_a_whole_one_is_named(tmp_path, pack):
    inner = bytearray(pack([("train/1.jpg", bytes(range(256)) * 40)]))
    place = 60 if pack is zipped else 40
    inner[place] ^= 255
    with pytest.raises(StarshiftError, match=r"^train\.7z is damaged"):
        unpacked(tmp_path, zipped([("train.7z", bytes(inner))]))


def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path):
    with pytest.raises(StarshiftError, match="a file and a folder have one name"):
        unpacked(tmp_path, zipped([("a", b"x"), ("a/1.jpg", b"x")]))


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "C:/out.txt", "a\\..\\out.txt"])
def test_a_member_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(StarshiftError, match="leaves the folder"):
        unpacked(tmp_path, zipped([("good.txt", b"x"), (name, b"x")]))
    assert not (tmp_path / "out").exists()


def test_a_colon_in_a_name_is_said_to_be_the_reason(tmp_path):
    with pytest.raises(StarshiftError, match="leaves the folder, where a colon"):
        unpacked(tmp_path, zipped([("train/12:30.jpg", b"x")]))


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(StarshiftError, match="link"):
        unpacked(tmp_path, zipped([(link, b"/etc/passwd")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    with pytest.raises(StarshiftError, match="one name"):
        unpacked(tmp_path, zipped([("a", b"1"), ("a", b"2")]))


def test_an_absurd_expansion_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ABSURD_BYTES", 1 << 20)
    with pytest.raises(StarshiftError, match="times its size"):
        unpacked(tmp_path, zipped([("zeros", bytes(4 << 20))]))


WHOLE = zipped([("a", b"x" * 1000)])


@pytest.mark.parametrize("data", [b"", b"<html>not an archive</html>", WHOLE[:60]], ids=["empty", "html", "cut"])
def test_what_is_no_whole_archive_is_said_to_be_damaged(tmp_path, data):
    with pytest.raises(StarshiftError, match="damaged"):
        unpacked(tmp_path, data)
