"""The drawn competition: the same for ever, and told apart by shape alone."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.synthetic import sprouts
from tests.conftest import encoded

EACH = 25
GOLDEN = "e7fbd76cc30ffbb4a38b8152a9641ce7c3ad9890192317dddd9bb533731b0a2c"


@pytest.fixture(scope="module")
def some() -> tuple[np.ndarray, np.ndarray]:
    """Pictures of every species, and their species."""
    labels = np.repeat(np.arange(len(sprouts.SPECIES)), EACH)
    return np.stack([sprouts.draw_picture(int(label), number, 3) for number, label in enumerate(labels)]), labels


def score(features: np.ndarray, labels: np.ndarray) -> float:
    """Cross-validated accuracy of a logistic regression."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    return float(cross_val_score(model, features, labels, cv=5).mean())


def test_the_pictures_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for species in range(len(sprouts.SPECIES)):
        digest.update(sprouts.draw_picture(species, species, 7).tobytes())
    assert digest.hexdigest() == GOLDEN


def test_a_picture_depends_on_its_arguments_alone():
    first = sprouts.draw_picture(4, 2, 9)
    sprouts.draw_picture(5, 2, 9)
    assert (sprouts.draw_picture(4, 2, 9) == first).all()
    for other in ((5, 2, 9), (4, 3, 9), (4, 2, 10)):
        assert (sprouts.draw_picture(*other) != first).mean() > 0.5
    assert first.shape == (128, 128, 3)
    assert first.dtype == np.uint8


def test_no_two_pictures_are_the_same(some):
    pictures, _ = some
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_the_mean_colour_does_not_betray_the_species(some):
    pictures, labels = some
    values = pictures.astype(np.float32)
    assert score(np.hstack([values.mean((1, 2)), values.std((1, 2))]), labels) < 0.16


def test_a_colour_histogram_does_not_betray_the_species(some):
    pictures, labels = some
    codes = (pictures // 64) @ np.array([16, 4, 1])
    histograms = np.stack([np.bincount(code.ravel(), minlength=64) for code in codes])
    assert score(np.sqrt(histograms), labels) < 0.16


def test_the_size_of_the_file_does_not_betray_the_species(some):
    pictures, labels = some
    sizes = np.array([[len(encoded(picture, quality=90))] for picture in pictures])
    assert score(sizes, labels) < 0.2


def test_the_plan_holds_every_picture_once():
    rows = sprouts.list_pictures(0)
    assert len(rows) == len({row[1] for row in rows}) == 1800
    assert len({row[2:] for row in rows}) == 1800
    assert Counter(row[0] for row in rows) == {"train": 1200, "test": 600}
    assert set(Counter(row[2] for row in rows if row[0] == "test").values()) == {sprouts.TEST_COUNT}
    assert [row[1] for row in rows[:2]] == ["s0000", "s0001"]


def test_the_order_of_the_ids_says_nothing_about_the_species():
    species = np.array([row[2] for row in sprouts.list_pictures(0)])
    places = np.arange(len(species))
    assert (species[1:] == species[:-1]).mean() < 0.12
    assert np.abs([places[species == one].mean() / len(species) - 0.5 for one in range(12)]).max() < 0.1
    assert sprouts.list_pictures(0) == sprouts.list_pictures(0)
    assert sprouts.list_pictures(0) != sprouts.list_pictures(1)


def tile_pictures(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """A contact sheet: pictures (height, width, 3) in rows, on black where the last row is short."""
    rows = -(-len(pictures) // columns)
    sheet = [*pictures, *[np.zeros_like(pictures[0])] * (rows * columns - len(pictures))]
    return np.concatenate([np.concatenate(sheet[row * columns :][:columns], axis=1) for row in range(rows)])


def test_a_contact_sheet_holds_its_pictures_in_rows():
    pictures = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = tile_pictures(pictures, 2)
    assert sheet.shape == (4, 6, 3)
    assert sheet[0, 0, 0] == 10
    assert sheet[0, 5, 0] == 20
    assert sheet[3, 0, 0] == 30
    assert sheet[3, 5, 0] == 0
