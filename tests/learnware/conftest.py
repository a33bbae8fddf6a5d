"""A model and a store that are made once, and pictures in two tints."""

import shutil

import pytest

from tests.conftest import drawn, encoded
from tests.learnware import making


@pytest.fixture(scope="session")
def model() -> bytes:
    """The bytes of a small .keras file that tells three classes apart."""
    return making.saved(making.network())


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures, some of them in a folder below, two of them equal, one broken, and a text."""
    folder = tmp_path / "pictures"
    (folder / "below" / "deeper").mkdir(parents=True)
    for number in range(6):
        tint = (90, -30, -60) if number % 2 else (-60, -30, 90)
        data = encoded(drawn(number, tint=tint))
        (folder / f"{number}.jpg").write_bytes(data)
    (folder / "below" / "again.jpg").write_bytes((folder / "3.jpg").read_bytes())
    (folder / "below" / "deeper" / "grey.png").write_bytes(encoded(drawn(9)[:, :, 0], "PNG"))
    (folder / "below" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def pristine(tmp_path_factory, model):
    """A folder with one learnware, `tiny`, that stays as it is."""
    folder = tmp_path_factory.mktemp("pristine")
    making.made(folder, model)
    return folder


@pytest.fixture
def shelf(tmp_path, pristine):
    """A folder with one learnware, `tiny`, to be spoiled."""
    return shutil.copytree(pristine, tmp_path / "shelf")
