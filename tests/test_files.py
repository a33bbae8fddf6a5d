"""Files are written whole or not at all, and what stands in the way is said in words."""

import errno

import numpy as np
import pytest

from pipeline import files
from pipeline.errors import StarshiftError


def failing(error):
    def write(file):
        file.write(b"half")
        raise error

    return write


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError("Not enough free space to write 19267584 bytes"), "disk is full"),
        (OSError("655360 requested and 436192 written"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "Nothing can be written"),
    ],
)
def test_a_disk_that_takes_no_more_is_explained_and_the_old_file_stays(tmp_path, error, words):
    path = tmp_path / "rows.npy"
    files.write_atomic(path, lambda file: np.save(file, np.zeros(3)))
    before = path.read_bytes()
    with pytest.raises(StarshiftError, match=words):
        files.write_atomic(path, failing(error))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_library_that_finds_no_room_need_not_say_so(tmp_path, monkeypatch):
    wrote = RuntimeError("basic_ios::clear: iostream error")
    with pytest.raises(RuntimeError, match="iostream"):
        files.write_atomic(tmp_path / "x", failing(wrote))
    monkeypatch.setattr(files, "count_free_bytes", lambda folder: 4096)
    with pytest.raises(StarshiftError, match="disk is full"):
        files.write_atomic(tmp_path / "x", failing(wrote))
    with pytest.raises(OSError, match="broken"):
        files.write_atomic(tmp_path / "x", failing(OSError(errno.EIO, "broken")))


def test_another_error_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="broken") as raised:
        files.write_atomic(tmp_path / "x", failing(OSError(errno.EIO, "broken")))
    assert not isinstance(raised.value, StarshiftError) and list(tmp_path.iterdir()) == []


def test_a_home_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "home").write_text("a file")
    for write in (lambda path: files.write_text(path, "x"), lambda path: files.replace_atomic(path).__enter__()):
        with pytest.raises(StarshiftError, match="Nothing can be written"):
            write(tmp_path / "home" / "data" / "x.txt")
