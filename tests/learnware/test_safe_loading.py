"""Members and arrays of an archive from anyone: plain names, each once, and no name that stands for two arrays."""

import io

import numpy as np
import pytest

from pipeline.errors import StarshiftError
from pipeline.learnware import safe_loading
from tests.kaggle.test_zip_archives import raw_zip


@pytest.mark.parametrize("name", [b"", b".", b"./a", b"a//b", b"...", b"a/", b"d/" * 2000 + b"x", b"x" * 256])
def test_a_member_that_is_not_called_as_a_file_is_refused(name):
    with pytest.raises(StarshiftError, match="is refused: the member"):
        safe_loading.read_members(io.BytesIO(raw_zip([(b"a", b"1"), (name, b"2")])), "tiny", None)


def test_two_members_that_come_to_one_array_are_refused():
    file = io.BytesIO()
    np.lib.format.write_array(file, np.zeros(3), version=(1, 0))
    with pytest.raises(StarshiftError, match="two arrays have one name, 'pictures'"):
        safe_loading.read_arrays(raw_zip([(b"pictures.npy", file.getvalue()), (b"pictures", file.getvalue())]), "tiny")
