"""A model and a store that are made once."""

import shutil

import pytest

from tests.learnware import making


@pytest.fixture(scope="session")
def model() -> bytes:
    """The bytes of a small .keras file that tells three classes apart."""
    return making.saved(making.network())


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
