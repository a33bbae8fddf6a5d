"""Configuration: bad values are refused with what was expected, and fingerprints do not move by themselves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import competitions
from pipeline.config import Competition, Labels, Recipe, RunOptions, Training
from pipeline.errors import StarshiftError
from pipeline.models.base import list_networks


def test_a_recipe_refuses_an_unknown_view_and_says_which_there_are():
    with pytest.raises(StarshiftError, match="flip-vertical"):
        Recipe(views=("sideways",))


@pytest.mark.parametrize(
    "wrong",
    [{"head": "svm"}, {"bases": ()}, {"folds": 0}, {"size": 8}, {"seed": -1}, {"strategy": "magic"}, {"holdout": 1.0}],
)
def test_a_recipe_refuses_what_cannot_be_trained(wrong):
    with pytest.raises(StarshiftError, match="expected"):
        Recipe(**wrong)


@pytest.mark.parametrize(
    ("owner", "wrong", "expected"),
    [
        (Training, {"epochs": 1.5}, "a whole number from 1 to 10000 or none"),
        (Training, {"batch_size": 2.5}, "a whole number from 1 to 65536 or none"),
        (Training, {"learning_rate": float("nan")}, "a finite number from 1e-09 to 10.0 or none"),
        (Training, {"polish": True}, "a whole number from 0 to 1000 or none"),
        (Training, {"sizes": (64.5, 128)}, "whole numbers with commas between them or none"),
        (Training, {"warp": "no"}, "true or false or none"),
        (Recipe, {"l2": float("inf")}, "a finite number or none"),
        (Recipe, {"folds": 2.5}, "a whole number"),
        (Recipe, {"size": "224"}, "a whole number or none"),
        (Recipe, {"bases": None}, "texts with commas between them"),
        (Recipe, {"training": {"epochs": 3}}, r"Training\(...\)"),
        (Labels, {"suffix": None}, "a text"),
        (RunOptions, {"folds": (0.5,)}, "whole numbers with commas between them"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_field_and_range(owner, wrong, expected):
    with pytest.raises(StarshiftError, match=rf"{owner.__name__}\({next(iter(wrong))}=.*\s+expected: {expected}\n"):
        owner(**wrong)


def test_numbers_of_numpy_lists_and_paths_are_taken_for_what_they_are():
    taken = Training(epochs=np.int64(3), learning_rate=np.float32(0.5), sizes=[64, 128], unfreeze=0.3)
    assert taken == Training(epochs=3, learning_rate=0.5, sizes=(64, 128), unfreeze="0.3")
    assert json.dumps([taken.epochs, Competition(name="one", data=Path("pictures")).data]) == '[3, "pictures"]'


@pytest.mark.parametrize("name", ["bases", "views"])
def test_a_comma_that_was_forgotten_is_said_to_be(name):
    with pytest.raises(StarshiftError, match=rf'{name}=\("plain",\), with the comma'):
        Recipe(**{name: "plain"})


def test_a_competition_has_either_a_slug_or_a_folder():
    with pytest.raises(StarshiftError, match="one place"):
        Competition(name="both", slug="a", data="b")


@pytest.mark.parametrize("wrong", [{"folder": ""}, {"folder": "/pictures"}, {"folder": "../x"}, {"test": "/test"}])
def test_what_labels_name_lies_below_the_data(wrong):
    with pytest.raises(StarshiftError, match="lies below the competition's data"):
        Labels(**wrong)
    assert Labels(folder=".").folder == "."


def test_a_label_pattern_must_name_the_label():
    with pytest.raises(StarshiftError, match="label"):
        Labels(pattern=r"(cat|dog)\.\d+")


def test_a_fingerprint_moves_with_the_recipe_and_only_then():
    one = Competition(name="one", slug="one")
    assert one.fingerprint() == Competition(name="one", slug="one").fingerprint()
    assert one.fingerprint() != replace(one, recipe=replace(one.recipe, seed=1)).fingerprint()


def test_the_competitions_are_found_by_the_names_of_their_files():
    assert {"dog-breed", "dogs-vs-cats", "invasive-species", "plant-seedlings", "sprouts"} <= {*competitions.names()}
    assert [competitions.find(name).name for name in competitions.names()] == competitions.names()


def test_another_recipe_of_a_file_takes_the_place_of_its_own():
    ours, gpu = competitions.find("dog-breed"), competitions.find("dog-breed", "gpu")
    assert replace(gpu, recipe=ours.recipe) == ours and gpu.recipe != ours.recipe


def test_a_recipe_that_a_file_lacks_lists_those_that_it_has():
    with pytest.raises(StarshiftError, match=r"no recipe 'big'\.\s+expected: gpu"):
        competitions.find("dog-breed", "big")


@pytest.mark.parametrize("name", competitions.names())
def test_every_recipe_that_ships_names_bases_of_the_registry(name):
    for recipe in (None, *competitions.list_recipes(name)):
        assert list_networks(competitions.find(name, recipe).recipe)


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(StarshiftError, match="dogs-vs-cats"):
        competitions.find("cats")


def test_a_competition_file_outside_the_repository_takes_its_folder_from_its_own_place(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        'from pipeline.config import Competition\nCOMPETITION = Competition(name="mine", data="pictures")\n'
    )
    assert competitions.find(str(file)).data == str(tmp_path / "pictures")


def test_a_competition_of_the_repository_keeps_its_name(tmp_path):
    file = tmp_path / "dogs.py"
    begin = 'from pipeline.config import Competition\nCOMPETITION = Competition(name="dog-breed", '
    file.write_text(begin + 'data="pictures")\n')
    with pytest.raises(StarshiftError, match="dog-breed is the name of another competition"):
        competitions.find(str(file))
    file.write_text(begin + 'slug="dog-breed-identification")\n')
    assert competitions.find(str(file)).name == "dog-breed", "another recipe for the same pictures"


def test_a_competition_file_that_fails_is_named_with_its_error(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("1 / 0\n")
    with pytest.raises(StarshiftError, match="ZeroDivisionError"):
        competitions.find(str(file))
