"""Estimated groups stay on one side of every split, in folds of their own."""

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Recipe
from pipeline.data import folds as grouping
from pipeline.data import folds as splits
from pipeline.errors import StarshiftError


def table(count=60):
    ids = [str(number) for number in range(count)]
    return pd.DataFrame({"id": ids, "label": ["a", "b"] * (count // 2), "group": ids, "sha256": [f"d{i}" for i in ids]})


def test_a_group_never_crosses_folds_and_folds_have_equally_many_pictures(tmp_path):
    train = table()
    groups = [str(number % 2 if number < 16 else number) for number in range(60)]
    grouping.write_groups(tmp_path, list(train["sha256"]), groups, {"base": "any"})
    train["group"] = grouping.read_groups(train, tmp_path, "mine")
    recipe = Recipe(folds=4, grouping="estimated")
    train["fold"] = splits.load_or_create_folds(train, recipe, tmp_path)
    assert (train.groupby("group")["fold"].nunique() == 1).all()
    assert set(np.bincount(train["fold"])) <= {14, 15, 16}


def test_grouped_folds_are_stratified_and_the_same_with_every_scikit_learn():
    """Written down from scikit-learn 1.9.1; the shuffle of 1.6 and 1.7 mixes the groups' labels up."""
    label = np.array(list("aaaabbbbccccaabbccabcabc" * 2))
    train = pd.DataFrame({"label": label, "group": [str(row // 4 if row < 36 else row) for row in range(48)]})
    folds = splits.assign_folds(train, Recipe(folds=3, grouping="estimated"))
    assert "".join(map(str, folds)) == "000011111111222222222222222200000000112012102110"


def test_random_and_grouped_folds_lie_in_files_of_their_own():
    assert splits.build_folds_name(Recipe()) != splits.build_folds_name(Recipe(grouping="estimated"))
    assert splits.build_folds_name(Recipe()) == "folds-5-seed0.csv"


def test_without_an_audit_the_command_is_named(tmp_path):
    with pytest.raises(StarshiftError, match="invoke audit --comp mine"):
        grouping.read_groups(table(), tmp_path, "mine")


def test_pictures_that_came_later_want_a_new_audit(tmp_path):
    grouping.write_groups(tmp_path, ["d0", "d1"], ["0", "0"], {})
    with pytest.raises(StarshiftError, match="58 pictures without one"):
        grouping.read_groups(table(), tmp_path, "mine")


def test_a_broken_file_of_groups_is_not_taken_for_none(tmp_path):
    (tmp_path / grouping.GROUPS_FILE).write_text("{")
    with pytest.raises(StarshiftError, match="not JSON"):
        grouping.read_groups(table(), tmp_path, "mine")
