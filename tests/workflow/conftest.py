"""A competition that trains in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

import competitions
from pipeline.config import Training
from tests.conftest import write_competition


@pytest.fixture(scope="module")
def competition(shared):
    """The small network on two folds."""
    found = competitions.load(Path(write_competition(shared)))
    return replace(found, recipe=replace(found.recipe, strategy="scratch", folds=2, training=Training(epochs=1)))
