"""Folds: stratified, written once, and the same picture never on both sides."""

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Recipe
from pipeline.data import folds, pixel_cache
from pipeline.errors import StarshiftError
from pipeline.files import hash_file
from tests.conftest import drawn, encoded


def table(count=40, groups=None):
    ids = [str(number) for number in range(count)]
    return pd.DataFrame({"id": ids, "label": ["a", "b"] * (count // 2), "group": groups or ids})


def test_every_fold_has_its_share_of_every_class():
    found = table().assign(fold=folds.assign_folds(table(), Recipe(folds=5)))
    assert (found.groupby(["fold", "label"]).size() == 4).all()


def test_a_hold_out_is_fold_zero_and_the_rest_is_always_trained_on():
    found = folds.assign_folds(table(), Recipe(folds=1, holdout=0.25))
    assert (found == 0).sum() == 10 and set(found) == {-1, 0}


def test_a_duplicate_never_crosses_folds():
    groups = [str(number // 4 * 4 + number % 2) for number in range(40)]
    found = table(groups=groups).assign(fold=folds.assign_folds(table(groups=groups), Recipe(folds=4)))
    assert (found.groupby("group")["fold"].nunique() == 1).all()


def test_pictures_with_the_same_pixels_are_one_group_though_their_files_differ(tmp_path):
    picture = drawn(1)
    contents = [
        encoded(picture, "PNG", compress_level=1),
        encoded(picture, "PNG", compress_level=9),
        encoded(drawn(2), "PNG"),
    ]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
    names = ["0.png", "1.png", "2.png"]
    digests = [hash_file(tmp_path / name) for name in names]
    store = pixel_cache.open_pixel_store(32)
    pixel_cache.fill_pixel_store(store, dict(zip(digests, (tmp_path / name for name in names), strict=True)))
    frame = pd.DataFrame({"id": names, "path": names, "sha256": digests})
    assert folds.find_duplicate_groups(frame, tmp_path, store) == ["0.png", "0.png", "2.png"]


def test_folds_are_written_once_and_reused_until_a_new_split_is_asked_for(tmp_path):
    recipe = Recipe(folds=4)
    first = folds.load_or_create_folds(table(), recipe, tmp_path)
    path = tmp_path / folds.build_folds_name(recipe)
    path.write_text(path.read_text().replace("0,", "0,", 1))
    turned = pd.read_csv(path).assign(fold=lambda frame: 3 - frame["fold"])
    turned.to_csv(path, index=False)
    assert (folds.load_or_create_folds(table(), recipe, tmp_path) == 3 - first).all()
    assert (folds.load_or_create_folds(table(), recipe, tmp_path, again=True) == first).all()


def test_pictures_that_the_file_does_not_know_are_an_error_that_names_the_remedy(tmp_path):
    folds.load_or_create_folds(table(20), Recipe(folds=2), tmp_path)
    with pytest.raises(StarshiftError, match="--resplit"):
        folds.load_or_create_folds(table(40), Recipe(folds=2), tmp_path)


def test_a_damaged_file_of_folds_is_an_error_that_names_the_remedy(tmp_path):
    for text in ("x\n", "id,fold\n1,one\n"):
        (tmp_path / folds.build_folds_name(Recipe(folds=2))).write_text(text)
        with pytest.raises(StarshiftError, match=r"is damaged(.|\n)*--resplit"):
            folds.load_or_create_folds(table(20), Recipe(folds=2), tmp_path)


def test_another_seed_is_another_split():
    assert (
        folds.assign_folds(table(), Recipe(split_seed=0)) != folds.assign_folds(table(), Recipe(split_seed=1))
    ).any()
    assert np.array_equal(folds.assign_folds(table(), Recipe(seed=0)), folds.assign_folds(table(), Recipe(seed=1)))


@pytest.mark.parametrize("odd", ["Icon\r", "a\nb", "NA", 'a"b,c'])
def test_folds_are_read_back_whatever_a_picture_is_called(odd, tmp_path):
    train = pd.DataFrame({"id": ["a", odd, "c", "d"], "label": ["x", "y", "x", "y"], "group": ["1", "2", "3", "4"]})
    recipe = Recipe(folds=2)
    made = folds.load_or_create_folds(train, recipe, tmp_path)
    assert folds.load_or_create_folds(train, recipe, tmp_path).tolist() == made.tolist()
