"""Files of torch: tensors are read as they are stored, and nothing that a file names is run."""

import hashlib
import os

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.models.torch_weights import read_torch_weights
from tests.models.torch_files import Stored, write_torch_file


@pytest.fixture
def file(tmp_path):
    """A file of one small tensor."""
    return write_torch_file(tmp_path / "w.pth", {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)})


def test_a_tensor_is_read_as_it_was_written(file):
    assert read_torch_weights(file)["kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_tensor_that_is_stored_transposed_is_read_by_its_strides(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32).transpose(3, 2, 0, 1)
    found = read_torch_weights(write_torch_file(tmp_path / "w.pth", {"kernel": kernel}))["kernel"]
    assert (found == kernel).all() and found.flags.c_contiguous


def test_two_tensors_share_a_storage_at_their_offsets(tmp_path):
    numbers = np.arange(5, dtype=np.float32)
    tensors = {"one": Stored(numbers, (2,), (1,)), "other": Stored(numbers, (2,), (2,), offset=2)}
    tensors["other"].numbers = tensors["one"].numbers
    found = read_torch_weights(write_torch_file(tmp_path / "w.pth", tensors))
    assert found["one"].tolist() == [0, 1] and found["other"].tolist() == [2, 4]


def test_a_number_has_no_sides(tmp_path):
    file = write_torch_file(tmp_path / "w.pth", {"count": Stored([7], (), ())})
    assert read_torch_weights(file)["count"].shape == () and read_torch_weights(file)["count"] == 7


class Harm:
    """Makes a folder, once something unpickles it."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_file_that_names_anything_else_is_refused_and_runs_nothing(tmp_path):
    file = write_torch_file(tmp_path / "w.pth", {"kernel": Harm(tmp_path / "harm")})
    with pytest.raises(StarshiftError, match=r"mkdir, which is no tensor"):
        read_torch_weights(file)
    assert not (tmp_path / "harm").exists()


def test_the_pickles_before_the_tensors_are_read_no_less_strictly(tmp_path):
    file = write_torch_file(tmp_path / "w.pth", {}, machine={"little_endian": Harm(tmp_path / "harm")})
    with pytest.raises(StarshiftError, match="no tensor"):
        read_torch_weights(file)
    assert not (tmp_path / "harm").exists()


def test_a_file_of_another_digest_is_refused(file):
    with pytest.raises(StarshiftError) as error:
        read_torch_weights(file, "0" * 64, "get it again")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert "0" * 64 in error.value.expected and digest in error.value.received and error.value.remedy == "get it again"


def test_a_file_of_its_digest_is_read(file):
    assert set(read_torch_weights(file, hashlib.sha256(file.read_bytes()).hexdigest())) == {"kernel"}


@pytest.mark.parametrize("length", [0, 1, 20, 60, 150, -1, -10, -24, -30])
def test_a_file_that_breaks_off_is_refused_wherever_it_does(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(StarshiftError, match="no weights that can be read"):
        read_torch_weights(file)


def test_a_file_with_something_behind_its_end_is_refused(file):
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(StarshiftError, match="left over"):
        read_torch_weights(file)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((2, 3), (3, 1), 1),  # beyond the end
        ((2, 3), (4, 1), 0),  # beyond the end in its last row
        ((1000, 1000), (0, 0), 0),  # one number as a million
        ((2, 3), (-3, 1), 0),  # before the beginning
        ((2, 3), (3,), 0),
        ((0, 3), (3, 1), 0),
        ((True, 3), (3, 1), 0),
    ],
)
def test_a_tensor_that_does_not_lie_in_its_storage_is_refused(tmp_path, shape, strides, offset):
    file = write_torch_file(tmp_path / "w.pth", {"kernel": Stored(np.arange(6), shape, strides, offset)})
    with pytest.raises(StarshiftError, match="tensor"):
        read_torch_weights(file)


def test_numbers_of_a_machine_with_another_byte_order_are_refused(tmp_path):
    tensors = {"kernel": np.zeros(2, np.float32)}
    with pytest.raises(StarshiftError, match="little-endian"):
        read_torch_weights(write_torch_file(tmp_path / "w.pth", tensors, machine={"little_endian": False}))


def test_torch_s_newer_format_is_named_with_a_way_to_the_older_one(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"PK\3\4 and so on")
    with pytest.raises(StarshiftError, match=r"zip archive[^$]*_use_new_zipfile_serialization=False"):
        read_torch_weights(tmp_path / "w.pth")
