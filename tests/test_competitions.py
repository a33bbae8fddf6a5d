"""A folder of pictures is a competition, without a file."""

import pytest

import competitions
from pipeline.config import RunOptions, find_comp_argument
from pipeline.errors import StarshiftError
from pipeline.settings import apply_settings, parse_settings
from pipeline.workflow import run as flow
from tests.conftest import two_classes


@pytest.mark.parametrize(
    ("name", "expected"), [("flowers", "flowers"), ("My Flowers (2)", "my-flowers-2"), ("花", "pictures-b0a1ea")]
)
def test_a_folder_is_a_competition_of_its_name(tmp_path, name, expected):
    two_classes(tmp_path / name)
    competition = competitions.find(str(tmp_path / name))
    assert (competition.name, competition.metric, competition.slug) == (expected, "accuracy", None)


def test_a_folder_goes_the_whole_way(tmp_path):
    two_classes(tmp_path / "flowers")
    settings = ["bases=mobilenet_025@conv_pw_3_relu=none", "size=32", "folds=3"]
    competition = apply_settings(competitions.find(str(tmp_path / "flowers")), parse_settings(settings))
    folder = flow.run(competition, RunOptions(engine="keras"))
    assert folder.parent.name == "flowers" and (folder / "submission.csv").is_file()


def test_commands_in_messages_name_the_folder(tmp_path):
    two_classes(tmp_path / "flowers")
    competitions.find(str(tmp_path / "flowers"))
    assert find_comp_argument("flowers") == str(tmp_path / "flowers")


def test_a_folder_that_is_called_like_a_competition_of_ours_is_renamed(tmp_path):
    two_classes(tmp_path / "dog-breed")
    with pytest.raises(StarshiftError, match="name of another competition") as error:
        competitions.find(str(tmp_path / "dog-breed"))
    assert error.value.remedy == "rename it"


def test_a_folder_has_no_other_recipes(tmp_path):
    with pytest.raises(StarshiftError, match="no other recipes"):
        competitions.find(str(tmp_path), "gpu")
    assert competitions.list_recipes(str(tmp_path)) == []
