"""The pictures of a report: sampled by class, and placed by their features."""

import numpy as np

from pipeline.run_report.examples import project, sample_by_class
from pipeline.run_report.pictures import build_sprite


def test_a_sample_has_as_many_of_each_class_as_there_are():
    labels = np.array([0] * 500 + [1] * 30 + [2] * 5)
    counts = np.bincount(labels[sample_by_class(labels, 65, np.random.default_rng(0))])
    assert counts.tolist() == [30, 30, 5]


def test_fewer_pictures_than_the_limit_are_all_taken():
    assert sample_by_class(np.array([1, 0, 1]), 600, np.random.default_rng(0)).tolist() == [0, 1, 2]


def test_the_map_keeps_distances_of_what_lies_in_a_plane():
    plane = np.random.default_rng(0).normal(size=(30, 2))
    places = project(plane @ np.eye(2, 50) + 3)
    assert np.allclose(
        np.linalg.norm(places[:, None] - places, axis=2), np.linalg.norm(plane[:, None] - plane, axis=2), atol=1e-6
    )


def test_a_single_picture_has_a_place():
    assert project(np.ones((1, 4))).shape == (1, 2)


def test_pictures_of_a_sheet_stand_row_after_row():
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in (10, 20, 30)]
    assert build_sprite(pictures, 2)[::2, ::2, 0].tolist() == [[10, 20], [30, 128]]
