"""A dataset's views of its pictures: which can be predicted, in whose order, and what classes are numbered."""

import time
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import Competition, Labels
from pipeline.data.labels import PictureTable
from pipeline.workflow.context import Dataset, list_stages, log_stage


@pytest.fixture
def data():
    train = pd.DataFrame({"id": ["1", "2"], "label": ["dog", "cat"], "sha256": ["a", "b"], "fold": [1, 0]})
    test = pd.DataFrame({"id": ["3", "4", "5"], "sha256": ["c", "d", "e"]})
    return Dataset(
        competition=Competition(name="pets", slug="pets", labels=Labels(positive="dog")),
        raw=Path(),
        pictures=PictureTable(train=train, test=test, classes=["cat", "dog"], warnings=[]),
        sample=None,
        files={name: Path(name) for name in "abce"},
        unreadable={"test/4": "no picture"},
    )


def test_a_test_picture_without_a_file_cannot_be_predicted(data):
    assert data.test_readable.tolist() == [True, False, True]


def test_digests_of_test_pictures_are_those_that_can_be_predicted(data):
    assert data.test_digests == ["c", "e"]


def test_labels_are_the_numbers_of_the_classes(data):
    assert data.labels.tolist() == [1, 0]


def test_folds_are_those_of_the_training_pictures(data):
    assert data.fold_of.tolist() == [1, 0] and data.train_digests == ["a", "b"]


def test_the_positive_class_has_its_number_among_the_classes(data):
    assert data.positive == 1


def test_the_stages_of_a_run_are_those_since_its_start():
    with log_stage("before"):
        pass
    started = time.perf_counter()
    with log_stage("pixels") as lines:
        lines.append("none")
    (stage,) = list_stages(started)
    assert stage["name"] == "pixels" and 0 <= stage["seconds"] < 5 and stage["peak_megabytes"] > 1
