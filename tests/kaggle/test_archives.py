"""Archives are told by content, unpacked inside each other, and refused when they are unsafe."""

import contextlib
import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile

import py7zr
import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives
from tests.kaggle.test_zip_archives import raw_zip


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
    archives.check_archive(tmp_path / "bundle.bin")
    archives.unpack_archive(tmp_path / "bundle.bin", tmp_path / "out")
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
    junk = ["__MACOSX/._a", "a/__MACOSX/b", "a/.DS_Store", "a/._1.jpg", "._a"]
    assert unpacked(tmp_path, zipped([*((name, b"") for name in junk), ("a/1.jpg", b"x")])) == ["a/1.jpg"]


def test_what_macos_adds_does_not_change_where_an_inner_archive_goes(tmp_path):
    inner = zipped([("train/1.jpg", b"x"), ("._train", b"")])
    assert unpacked(tmp_path, zipped([("train.zip", inner)])) == ["train/1.jpg"]


def test_a_member_that_is_not_what_its_checksum_says_is_named(tmp_path):
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/1.jpg", b"as it was")
    path.write_bytes(path.read_bytes().replace(b"as it was", b"as it is."))
    with pytest.raises(StarshiftError, match=r"train/1\.jpg in it, which is not what its checksum says"):
        archives.check_archive(path)


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


def test_a_drive_of_windows_in_a_name_is_said_to_be_the_reason(tmp_path):
    with pytest.raises(StarshiftError, match="leaves the folder, where a colon"):
        unpacked(tmp_path, zipped([("C:/train/1.jpg", b"x")]))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_colon_in_a_name_is_a_part_of_it(tmp_path):
    assert unpacked(tmp_path, zipped([("train/12:30.jpg", b"x")])) == ["train/12:30.jpg"]


def test_backslashes_of_windows_separate_folders(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name, content in (("train\\", b""), ("train\\cat\\", b""), ("train\\cat\\1.jpg", b"x")):
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            opened.writestr(entry, content)
    assert unpacked(tmp_path, archive.getvalue()) == ["train/cat/1.jpg"]


def tarred(members, mode="w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in members:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_and_the_archives_in_it(tmp_path, mode):
    inner = zipped([("test/1.jpg", b"b"), ("test/2.jpg", b"c")])
    assert unpacked(tmp_path, tarred([("train/1.jpg", b"a"), ("test.zip", inner)], mode)) == [
        "test/1.jpg", "test/2.jpg", "train/1.jpg"
    ]  # fmt: skip


def test_a_tar_inside_an_archive_gives_its_name_without_the_whole_ending_to_its_folder(tmp_path):
    inner = tarred([("1.jpg", b"a"), ("2.jpg", b"b")])
    assert unpacked(tmp_path, zipped([("train.tar.gz", inner)])) == ["train/1.jpg", "train/2.jpg"]


def test_a_packed_table_is_no_archive(tmp_path):
    assert unpacked(tmp_path, zipped([("labels.csv.gz", gzip.compress(b"id"))])) == ["labels.csv.gz"]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b"])
def test_a_tar_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(StarshiftError, match="leaves the folder"):
        unpacked(tmp_path, tarred([(name, b"x")]))


def test_a_link_in_a_tar_is_refused(tmp_path):
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(StarshiftError, match="link"):
        unpacked(tmp_path, tarred([(link, b"")]))


def test_a_truncated_tar_is_damaged(tmp_path):
    whole = tarred([("a", random.Random(0).randbytes(50_000))])
    with pytest.raises(StarshiftError, match="is damaged"):
        unpacked(tmp_path, whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("method", "name"), [(9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "zstd"), (77, "method 77")]
)
def test_a_way_of_packing_that_is_not_unpacked_is_named(tmp_path, method, name):
    data = bytearray(zipped([("a.jpg", b"x")]))
    data[8:10] = method.to_bytes(2, "little")
    place = data.find(b"PK\x01\x02") + 10
    data[place : place + 2] = method.to_bytes(2, "little")
    with pytest.raises(StarshiftError, match=f"packed by {name}, which is not unpacked here"):
        unpacked(tmp_path, bytes(data))


def test_a_folder_beside_its_own_archive_is_not_unpacked_twice(tmp_path):
    inner = zipped([("train/1.jpg", b"a"), ("train/2.jpg", b"b")])
    members = [("train/1.jpg", b"a"), ("train.zip", inner)]
    assert unpacked(tmp_path, zipped(members)) == ["train/1.jpg", "train/2.jpg"]


def test_a_folder_beside_an_archive_with_another_file_of_the_name_is_refused(tmp_path):
    inner = zipped([("train/1.jpg", b"a"), ("train/2.jpg", b"b")])
    with pytest.raises(StarshiftError, match="is there already"):
        unpacked(tmp_path, zipped([("train/1.jpg", b"another"), ("train.zip", inner)]))


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
    monkeypatch.setattr(archives, "MIN_BYTE_LIMIT", 1 << 20)
    with pytest.raises(StarshiftError, match="times its size"):
        unpacked(tmp_path, zipped([("zeros", bytes(4 << 20))]))


WHOLE = zipped([("a", b"x" * 1000)])


@pytest.mark.parametrize("data", [b"", b"<html>not an archive</html>", WHOLE[:60]], ids=["empty", "html", "cut"])
def test_what_is_no_whole_archive_is_said_to_be_damaged(tmp_path, data):
    with pytest.raises(StarshiftError, match="damaged"):
        unpacked(tmp_path, data)


def refusal(tmp_path, data, words):
    """What is said of a bundle that is refused; nothing was written beside the folder that it belongs into."""
    (tmp_path / "place").mkdir()
    (tmp_path / "bundle.bin").write_bytes(data)
    with pytest.raises(StarshiftError, match=words) as caught:
        archives.unpack_archive(tmp_path / "bundle.bin", tmp_path / "place" / "raw")
    assert {path.name for path in (tmp_path / "place").iterdir()} <= {"raw"}
    return caught.value


@pytest.mark.parametrize("name", ["...zip", "..zip", ". .zip", " .zip", "....zip", "a/...zip"])
@pytest.mark.parametrize("pack", [zipped, seven_zipped])
def test_an_archive_whose_name_is_dots_is_refused(tmp_path, pack, name):
    inner = pack([("1.jpg", b"a"), ("2.jpg", b"b")])
    refusal(tmp_path, zipped([(name, inner)]), "without its ending its name")


@pytest.mark.parametrize("name", [b"", b".", b"...", b" ", b"a/.."])
def test_a_member_without_a_name_is_refused(tmp_path, name):
    refusal(tmp_path, raw_zip([(b"a.txt", b"x"), (name, b"y")]), "names no file|leaves the folder")


def test_a_member_without_a_name_is_refused_in_an_inner_archive_too(tmp_path):
    refusal(tmp_path, zipped([("a.zip", raw_zip([(b".", b"y")]))]), "a.zip is not unpacked: the member")


@pytest.mark.parametrize("name", ["./a.txt", "b//../a.txt", "b/.//c.txt", ".//b/c.txt"])
def test_two_spellings_of_one_name_are_refused(tmp_path, name):
    refusal(tmp_path, zipped([("a.txt", b"1"), ("b/c.txt", b"2"), (name, b"3")]), "one name|leaves")


def test_a_name_that_begins_with_the_folder_itself_is_taken(tmp_path):
    assert unpacked(tmp_path, zipped([("./", b""), ("./a//1.jpg", b"x"), ("./b.zip", zipped([("b", b"")]))])) == [
        "a/1.jpg",
        "b",
    ]


def test_odd_spellings_in_a_seven_zip_are_taken(tmp_path):
    assert unpacked(tmp_path, seven_zipped([("./a/./1.jpg", b"x"), ("b//2.jpg", b"y")])) == ["a/1.jpg", "b/2.jpg"]


def test_two_thousand_folders_inside_each_other_are_refused(tmp_path):
    refusal(tmp_path, zipped([("d/" * 2000 + "a.zip", zipped([("b", b"")]))]), "64 folders deep")


def test_an_inner_archive_does_not_overwrite_what_lies_beside_it(tmp_path):
    bundle = zipped([("labels.csv", b"right"), ("labels.csv.zip", zipped([("./labels.csv", b"wrong")]))])
    refusal(tmp_path, bundle, "'labels.csv' is there already")
    assert (tmp_path / "place" / "raw" / "labels.csv").read_bytes() == b"right"


@pytest.mark.parametrize(
    "members",
    [
        [("a/1.jpg", b"x"), ("a", b"x")],
        [("a", b"x"), ("b.zip", zipped([("a/b/c", b"x")]))],
        [("b", b"x"), ("b.zip", zipped([("1", b"x"), ("2", b"x")]))],
    ],
)
def test_a_file_and_a_folder_of_one_name_are_refused_wherever_they_come_from(tmp_path, members):
    refusal(tmp_path, zipped(members), "a file and a folder have one name")


def test_a_file_where_a_folder_is_is_refused(tmp_path):
    refusal(tmp_path, zipped([("a/1.jpg", b"x"), ("b.zip", zipped([("a", b"x")]))]), "'a' is there already")


def test_archives_of_nothing_are_unpacked_to_nothing(tmp_path):
    members = [("a.zip", zipped([])), ("b.zip", zipped([("c/", b""), ("c/d/", b"")])), ("e.7z", seven_zipped([]))]
    assert unpacked(tmp_path, zipped(members)) == []
    assert archives.unpack_archive(tmp_path / "bundle.bin", tmp_path / "again") == archives.UnpackSummary(
        0, sum(len(data) for _, data in members)
    )


def test_zip_within_seven_zip_within_zip_is_unpacked(tmp_path):
    innermost = zipped([("1.jpg", b"x")])
    assert unpacked(tmp_path, zipped([("b.7z", seven_zipped([("c/a.zip", innermost)]))])) == ["c/1.jpg"]


def nested(levels: int) -> bytes:
    data = b"x"
    for _ in range(levels):
        data = zipped([("a.zip" if data != b"x" else "a.txt", data)])
    return data


def test_archives_below_the_deepest_level_stay_packed_and_are_counted(tmp_path, caplog):
    assert unpacked(tmp_path, nested(4)) == ["a.txt"] and not caplog.messages
    (tmp_path / "deep.zip").write_bytes(nested(6))
    archives.unpack_archive(tmp_path / "deep.zip", tmp_path / "deep")
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["a.zip"]
    assert "stay packed: 1, such as a.zip" in caplog.text


@pytest.mark.parametrize("pack", [zipped, seven_zipped])
def test_many_archives_inside_have_one_budget(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(archives, "MIN_BYTE_LIMIT", 1 << 20)
    inner = pack([("zeros", bytes(600_000))])
    bundle = zipped([(f"{number}/a.zip", inner) for number in range(50)])
    assert 100 * len(bundle) < 50 * 600_000
    refusal(tmp_path, bundle, "times its size")
    written = sum(path.stat().st_size for path in (tmp_path / "place").rglob("*") if path.is_file())
    assert written <= max(1 << 20, 100 * len(bundle))


def test_levels_have_one_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MIN_BYTE_LIMIT", 1 << 20)
    data = bytes(800_000)
    bundle = zipped([("zeros", data), ("a.zip", zipped([("a", data), ("b.zip", zipped([("b", data)]))]))])
    refusal(tmp_path, bundle, "grow to 0.0 GB, [0-9,]+ times its size")


def test_files_and_folders_have_one_budget_over_all_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 20)
    inner = [zipped([(f"{number}/{n}", b"") for n in range(4)]) for number in range(4)]
    bundle = zipped([(f"{number}.zip", data) for number, data in enumerate(inner)])
    refusal(tmp_path, bundle, "files and folders; 20 are the most")


def test_what_claims_to_be_absurdly_large_is_not_read_to_be_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MIN_BYTE_LIMIT", 1 << 20)
    (tmp_path / "a.zip").write_bytes(zipped([("zeros", bytes(4 << 20))]))
    monkeypatch.setattr(archives.archive_members, "damage", lambda _: pytest.fail("it was read"))
    with pytest.raises(StarshiftError, match="times its size"):
        archives.check_archive(tmp_path / "a.zip")


def test_an_archive_may_hold_a_file_of_its_own_name(tmp_path):
    assert unpacked(tmp_path, zipped([("a.zip", zipped([("a.zip/1.jpg", b"x")]))])) == ["a.zip/1.jpg"]


def test_a_member_may_have_any_name_beside_an_archive(tmp_path):
    bundle = zipped([(".a.zip.archive", b"y"), ("a.zip", zipped([("1.jpg", b"x")]))])
    assert unpacked(tmp_path, bundle) == [".a.zip.archive", "1.jpg"]


def test_a_long_name_of_an_archive_is_taken(tmp_path):
    assert unpacked(tmp_path, zipped([("a" * 251 + ".zip", zipped([("1.jpg", b"x")]))])) == ["1.jpg"]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("pack", [zipped, seven_zipped])
def test_an_inner_archive_with_changed_bytes_is_unpacked_or_refused(tmp_path, pack, seed):
    rng = random.Random(seed)
    inner = bytearray(pack([("train/1.jpg", bytes(range(256))), ("ü.csv", b"id" * 50)]))
    for _ in range(3):
        inner[rng.randrange(6, len(inner))] = rng.randrange(256)
    with contextlib.suppress(StarshiftError):
        unpacked(tmp_path, zipped([("train.zip", bytes(inner))]))


@pytest.mark.parametrize("cut", ["at a member", "in a header"])
def test_a_tar_whose_end_is_missing_is_damaged(tmp_path, cut):
    data = tarred([("a/1.jpg", b"x"), ("a/2.jpg", b"y")], "w")
    with pytest.raises(StarshiftError, match="its end is missing"):
        unpacked(tmp_path, data[: 1024 if cut == "at a member" else 1224])


def test_one_flipped_bit_of_a_picture_in_a_packed_tar_is_damage(tmp_path):
    plain = tarred([("a.jpg", b"x" * 1000)], "w")
    packed = bytearray(gzip.compress(plain, compresslevel=0))
    packed[packed.index(b"xxxx") + 500] ^= 1
    with pytest.raises(StarshiftError, match="is damaged"):
        unpacked(tmp_path, bytes(packed))


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.rar", b"Rar!"), ("a.zip", b"Rar!"), ("a.tar.zst", b"\x28\xb5\x2f\xfd"), ("a.zip.001", zipped([("a", b"")])),
     ("a.z01", b"PK\x07\x08")],
)  # fmt: skip
def test_an_archive_of_another_kind_or_a_part_of_one_is_to_be_unpacked_by_hand(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StarshiftError, match="unpack it by hand"):
        archives.check_archive(tmp_path / name)


@pytest.mark.parametrize("name", ["train.rar", "train.zip", "train.zip.001"])
def test_an_archive_inside_that_cannot_be_unpacked_is_named(tmp_path, name, caplog):
    unpacked(tmp_path, zipped([(name, b"Rar!"), ("test/1.jpg", b"x")]))
    assert f"stay packed: 1, such as {name}, which is a RAR archive" in caplog.text


def test_a_seven_zip_whose_list_of_members_is_encrypted_is_said_to_be(tmp_path):
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w", password="x", header_encryption=True) as archive:
        archive.writef(io.BytesIO(b"x"), "a.txt")
    with pytest.raises(StarshiftError, match="it is encrypted"):
        archives.check_archive(tmp_path / "a.7z")


@pytest.mark.parametrize(("name", "target"), [("猫.jpg", "猫.jpg"), ("caf\udc82.jpg", "café.jpg")])
def test_names_in_a_zip_that_say_no_encoding_are_utf_8_where_they_can_be(tmp_path, name, target, caplog):
    raw = name.encode(errors="surrogateescape")
    data = zipped([("x" * len(raw), b"1"), ("plain.jpg", b"2")]).replace(b"x" * len(raw), raw)
    assert unpacked(tmp_path, data) == sorted(["plain.jpg", target])
    assert ("say no encoding and may be read wrongly: 1" in caplog.text) == (target == "café.jpg")


def test_a_folder_with_links_in_a_circle_and_to_nowhere_is_copied_without_them(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.jpg").write_bytes(b"x")
    (tmp_path / "data" / "circle").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "data" / "pipe")
    shutil.copytree(tmp_path / "data", tmp_path / "copy", ignore=archives.find_uncopyable)
    assert os.listdir(tmp_path / "copy") == ["1.jpg"] and "are left out: 3, such as" in caplog.text


def test_a_name_in_a_tar_that_is_not_utf_8_is_refused(tmp_path):
    with pytest.raises(StarshiftError, match="has a name that is not UTF-8"):
        unpacked(tmp_path, tarred([("caf\udce9.jpg", b"x")], "w"))
