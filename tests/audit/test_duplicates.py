"""Copies are found in every symmetry, after a resize and a recompression, and only where features agree."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.audit import duplicates
from pipeline.data import images
from pipeline.data.transforms import SYMMETRIES
from tests.audit.conftest import gravel, seen
from tests.conftest import encoded


@pytest.fixture(scope="module")
def pictures():
    return np.stack([seen(gravel(seed)) for seed in range(24)])


def directions(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 32))


@pytest.mark.parametrize("view", list(SYMMETRIES))
def test_a_half_sized_recompressed_copy_is_a_candidate_in_every_symmetry(pictures, view):
    inverse = {"rotate90": "rotate270", "rotate270": "rotate90"}.get(view, view)
    copy = images.resize(SYMMETRIES[inverse](pictures[3:4])[0], 64)
    copy = images.resize(images.decode(encoded(np.ascontiguousarray(copy), quality=50), None), 128)
    near = duplicates.find_hash_candidates(duplicates.compute_hashes(np.concatenate([pictures, copy[None]])))
    assert [(first, second, duplicates.SYMMETRY_NAMES[number]) for first, second, number, _ in near] == [(3, 24, view)]


def test_a_hash_has_the_bits_of_imagehash():
    """Written down from imagehash 4.3.2; none of these frequencies is near the median."""
    rows, columns = np.mgrid[:32, :32]
    drawn = {
        0x989C63636BE4649B: np.where((rows - 11) ** 2 + (columns - 19) ** 2 < 60, 220, 40),
        0x908B105FB0ABB0FF: np.where((2 * rows + 5 * columns) % 17 < 8, 200, 30),
        0x86000F1C3F3F3F78: (rows * rows + 3 * rows * columns + columns) % 251,
    }
    found = duplicates.perceptual_hashes(np.stack(list(drawn.values())).astype(np.uint8))
    assert [hex(one) for one in found.tolist()] == [hex(one) for one in drawn]


def test_a_candidate_is_a_copy_only_where_its_features_stand_out(dataset_of):
    features = directions(20)
    features[11] = features[1] + 0.05
    near = np.array([[1, 11, 0, 2], [2, 12, 0, 2]])
    found = duplicates.confirm_duplicates(near, dataset_of(features, [0] * 20))
    assert [(pair.first, pair.second, pair.exact) for pair in found] == [(1, 11, False)]
    assert found[0].similarity > 0.99


def test_equal_pixels_are_a_copy_whatever_the_features_say_and_come_first(dataset_of):
    features = directions(20)
    features[11] = features[1] + 0.05
    contents = [str(row) for row in range(20)]
    contents[12] = contents[2]
    near = np.array([[1, 11, 0, 2], [2, 12, 0, 0]])
    found = duplicates.confirm_duplicates(near, dataset_of(features, [0] * 20, contents))
    assert [(pair.first, pair.exact) for pair in found] == [(2, True), (1, False)]


def test_pictures_that_are_all_alike_to_the_base_are_no_copies(dataset_of):
    features = directions(20) * 0.01 + np.where(np.arange(20)[:, None] < 10, 1, -1)
    assert not duplicates.confirm_duplicates(np.array([[1, 2, 0, 10]]), dataset_of(features, [0] * 20))


def test_where_features_fail_a_near_hash_and_keypoints_make_a_copy(dataset_of):
    dataset = dataset_of(directions(20), [0] * 20)
    same = dataset_of(directions(20), [0] * 20)
    same = replace(same, load_pixels=lambda wanted: np.stack([seen(gravel(4))] * len(wanted)))
    near = np.array([[1, 11, 0, 2]])
    assert not duplicates.confirm_duplicates(near, dataset) and len(duplicates.confirm_duplicates(near, same)) == 1
    assert not duplicates.confirm_duplicates(np.array([[1, 11, 0, 10]]), same)
