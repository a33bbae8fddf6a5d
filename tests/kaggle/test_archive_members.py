"""Names of members: a plain path below the folder, or a reason."""

import zlib

import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle.archive_members import convert_read_errors, normalize_name


@pytest.mark.parametrize("name", ["a/b.jpg", "./a/b.jpg", "a//b.jpg", "a/./b.jpg", "././a///./b.jpg"])
def test_a_name_has_one_spelling(name):
    assert normalize_name(name) == "a/b.jpg"


@pytest.mark.parametrize("name", ["...jpg", "..a/b", "a/.hidden", "a b/c.", "é" * 127, "/".join("a" * 64)])
def test_an_unusual_name_is_kept(name):
    assert normalize_name(name) == name


@pytest.mark.parametrize("name", ["..", "a/..", "../a", "a/../b", "/a", "//a", "..\\a", "\\a", "C:a", "a\0b", "./../a"])
def test_a_name_that_leaves_the_folder_is_refused(name):
    with pytest.raises(ValueError, match="leaves the folder"):
        normalize_name(name)


@pytest.mark.parametrize("name", ["", ".", "./", "././", "...", "a/...", " ", ". .", "a/ /b", ".. /a"])
def test_dots_and_blanks_are_no_name(name):
    with pytest.raises(ValueError, match="dots and blanks"):
        normalize_name(name)


def test_a_name_of_more_than_64_parts_is_refused():
    with pytest.raises(ValueError, match="64 folders deep"):
        normalize_name("/".join("a" * 65))


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "a/" + "b" * 256 + "/c", "/".join(["a" * 200] * 6)])
def test_a_name_that_no_disk_takes_is_refused(name):
    with pytest.raises(ValueError, match="too long"):
        normalize_name(name)


@pytest.mark.parametrize("error", [zlib.error("x"), IndexError("x"), OSError("Invalid data stream"), OSError(22, "x")])
def test_whatever_the_bytes_of_an_archive_raise_is_damage(tmp_path, error):
    with pytest.raises(StarshiftError, match=r"a\.zip is damaged"), convert_read_errors(tmp_path / "a.zip"):
        raise error


def test_an_error_of_the_disk_stays_one(tmp_path):
    with pytest.raises(OSError, match="full"), convert_read_errors(tmp_path / "a.zip"):
        raise OSError(28, "full")
