"""Views: the symmetries form their group, and augmentation depends on the picture alone."""

import numpy as np
import pytest
from PIL import Image

from pipeline import config
from pipeline.data import transforms
from tests.conftest import drawn

PIXELS = np.stack([drawn(seed, 32, 32) for seed in range(4)])
DIGESTS = ["a", "b", "c", "d"]
PILLOW = {
    "flip": Image.Transpose.FLIP_LEFT_RIGHT,
    "flip-vertical": Image.Transpose.FLIP_TOP_BOTTOM,
    "rotate90": Image.Transpose.ROTATE_90,
    "rotate180": Image.Transpose.ROTATE_180,
    "rotate270": Image.Transpose.ROTATE_270,
    "transpose": Image.Transpose.TRANSPOSE,
    "transverse": Image.Transpose.TRANSVERSE,
}


@pytest.mark.parametrize("view", PILLOW)
def test_a_symmetry_is_the_one_that_pillow_calls_by_its_name(view):
    expected = np.asarray(Image.fromarray(PIXELS[0]).transpose(PILLOW[view]))
    assert (transforms.apply_view(view, PIXELS, DIGESTS)[0] == expected).all()


def test_the_eight_symmetries_are_eight_different_pictures():
    seen = {transforms.apply_view(view, PIXELS[:1], ["a"]).tobytes() for view in transforms.SYMMETRIES}
    assert len(seen) == 8


def test_the_views_are_those_that_a_recipe_may_name():
    assert sorted(transforms.VIEWS) == sorted(config.VIEWS)
    assert sorted(transforms.SYMMETRIES) == sorted(config.SYMMETRY_VIEWS)


def test_an_augmentation_does_not_depend_on_the_batch_that_a_picture_is_in():
    whole = transforms.apply_view("augment-1", PIXELS, DIGESTS)
    alone = transforms.apply_view("augment-1", PIXELS[2:3], ["c"])
    assert (whole[2] == alone[0]).all()


def test_augmentations_differ_by_their_number_and_by_the_picture():
    first, second = (transforms.apply_view(view, PIXELS, DIGESTS) for view in ("augment-1", "augment-2"))
    other = transforms.apply_view("augment-1", PIXELS, DIGESTS[::-1])
    assert (first != second).any() and (first != other).any()


def test_an_augmented_picture_still_looks_like_itself():
    changed = transforms.apply_view("augment-1", PIXELS, DIGESTS).astype(float)
    assert np.abs(changed.mean(axis=(1, 2, 3)) - PIXELS.mean(axis=(1, 2, 3))).max() < 60
