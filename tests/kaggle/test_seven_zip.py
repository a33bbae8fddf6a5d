"""7z archives without py7zr: Kaggle's image has the program 7z, and not the package."""

import os
import sys

import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle import archives, seven_zip
from tests.kaggle.test_archives import seven_zipped

LISTING = """Path = train
Size = 0
Attributes = D drwxr-xr-x
Encrypted = -

Path = train/a b.jpg
Size = 6
Attributes = A -rw-r--r--
Encrypted = -

Path = train/link
Size = 7
Attributes = A lrwxrwxrwx
Encrypted = -

Path = made on Windows.jpg
Size = 9
Attributes = A
Encrypted = +

Path = a folder of Windows
Size = 0
Attributes = D
"""
PROGRAM = """#!{python}
# Speaks like p7zip 16.02 and 7-Zip 26.01, and unpacks by py7zr.
import sys, py7zr
command, archive, flags = sys.argv[1], sys.argv[2], sys.argv[3:]
try:
    opened = py7zr.SevenZipFile(archive)
    damaged = opened.testzip()
except Exception as error:
    print("ERROR: Can not open the file as archive", file=sys.stderr)
    sys.exit(2)
if damaged:
    print("ERROR: CRC Failed : " + damaged, file=sys.stderr)
    sys.exit(2)
opened.reset()
if command == "l":
    for entry in opened.list():
        print(f"Path = {{entry.filename}}\\nSize = {{entry.uncompressed}}")
        print("Attributes = A -rw-r--r--\\nEncrypted = -\\n")
if command == "x":
    folder = next(flag[2:] for flag in flags if flag.startswith("-o"))
    names = open(next(flag[3:] for flag in flags if flag.startswith("-i@"))).read().splitlines()
    if not names:
        print("Command Line Error:", file=sys.stderr)
        sys.exit(7)
    opened.extract(folder, targets=names)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """No package, and a program on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "7z").write_text(PROGRAM.format(python=sys.executable))
    (folder / "7z").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "py7zr", None)


def test_the_program_s_listing_is_read(monkeypatch):
    found = [member for block in LISTING.split("\n\n") if (member := seven_zip._parse_member(block))]
    assert found == [
        seven_zip.ArchiveMember("train/a b.jpg", 6, True),
        seven_zip.ArchiveMember("train/link", 7, False),
        seven_zip.ArchiveMember("made on Windows.jpg", 9, True, True),
    ]


def test_an_archive_is_checked_and_unpacked_by_the_program(program, tmp_path):
    data = seven_zipped([("train/1.jpg", b"a" * 1000), ("__MACOSX/._1", b"junk"), ("train/ü 2.jpg", b"b")])
    (tmp_path / "train.7z").write_bytes(data)
    archives.check_archive(tmp_path / "train.7z")
    archives.unpack_archive(tmp_path / "train.7z", tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert (
        found == {"train/1.jpg", "train/ü 2.jpg"} and (tmp_path / "out" / "train" / "1.jpg").read_bytes()[:2] == b"aa"
    )


def test_a_damaged_archive_is_noticed_by_the_program(program, tmp_path):
    data = bytearray(seven_zipped([("1.jpg", os.urandom(1000))]))
    data[500] ^= 255
    (tmp_path / "bad.7z").write_bytes(data)
    with pytest.raises(StarshiftError, match="damaged"):
        archives.check_archive(tmp_path / "bad.7z")


def test_without_either_it_is_said_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.7z").write_bytes(b"")
    with pytest.raises(StarshiftError, match="pip install py7zr"):
        seven_zip.members(tmp_path / "a.7z")


def test_the_program_refuses_what_the_package_refuses(program, tmp_path):
    inner = seven_zipped([("1.jpg", b"a"), ("2.jpg", b"b")])
    (tmp_path / "a.7z").write_bytes(seven_zipped([("...7z", inner)]))
    with pytest.raises(StarshiftError, match="without its ending its name"):
        archives.unpack_archive(tmp_path / "a.7z", tmp_path / "place" / "raw")
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["raw"]


@pytest.mark.parametrize("done", ["unlink", "truncate", "link"])
def test_what_the_program_unpacked_is_held_against_its_list(program, tmp_path, monkeypatch, done):
    (tmp_path / "a.7z").write_bytes(seven_zipped([("train/1.jpg", b"a" * 10), ("train/2.jpg", b"b" * 10)]))
    run = seven_zip._run_program

    def spoiled(command, *arguments):
        answer, path = run(command, *arguments), tmp_path / "out" / "train" / "2.jpg"
        if command == "x":
            path.unlink() if done != "truncate" else path.write_bytes(b"b")
            path.symlink_to("1.jpg") if done == "link" else None
        return answer

    monkeypatch.setattr(seven_zip, "_run_program", spoiled)
    with pytest.raises(StarshiftError, match=r"damaged(.|\n)*'train/2.jpg'"):
        archives.unpack_archive(tmp_path / "a.7z", tmp_path / "out")


def test_the_list_of_members_does_not_lie_where_a_member_may(program, tmp_path):
    (tmp_path / "a.7z").write_bytes(seven_zipped([(".a.7z.members", b"mine")]))
    archives.unpack_archive(tmp_path / "a.7z", tmp_path / "out")
    assert (tmp_path / "out" / ".a.7z.members").read_bytes() == b"mine"


def test_an_archive_of_nothing_is_unpacked_by_the_program_to_nothing(program, tmp_path):
    (tmp_path / "a.7z").write_bytes(seven_zipped([]))
    assert archives.unpack_archive(tmp_path / "a.7z", tmp_path / "out") == archives.UnpackSummary(0, 0)
