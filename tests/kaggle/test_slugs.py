"""Names of things on Kaggle: the wrong ones are refused with the right one, where it can be told."""

import pytest

from pipeline.errors import StarshiftError
from pipeline.kaggle import datasets

BERT = "google/bert/tensorFlow2/large/3"


def test_the_frameworks_are_those_of_the_client():
    from kagglesdk.models.types.model_enums import ModelFramework

    known = {one.name.removeprefix("MODEL_FRAMEWORK_").replace("_", "") for one in ModelFramework if one.value}
    assert {name.upper() for name in datasets.FRAMEWORKS} == known


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("dataset", "me/my_pictures-2"),
        ("model", BERT),
        ("model", "me/nets/KERAS/small/12"),
        ("kernel", "me/starshift-pets-1"),
        ("competition", "dog-breed-identification"),
    ],
)
def test_a_right_name_stays_as_it_is(kind, name):
    assert datasets.check_names(kind, [name]) == [name]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("me/x/3", "me/x"),
        ("me/x/versions/3", "me/x"),
        ("datasets/me/x", "me/x"),
        ("datasets/me/x/3", "me/x"),
        (" me/x", "me/x"),
        ("me/x/", "me/x"),
        ("a//b", "a/b"),
        ("https://www.kaggle.com/datasets/me/x", "me/x"),
        ("https://www.kaggle.com/datasets/me/x/data?select=y.csv", "me/x"),
        ("http://kaggle.com/me/x/version/2", "me/x"),
        ("kaggle.com/d/me/x#top", "me/x"),
        (f"https://www.kaggle.com/models/{BERT}", BERT),
        (f"models/{BERT}", BERT),
        ("https://www.kaggle.com/models/google/bert/frameworks/tensorFlow2/variations/large/versions/3", BERT),
        (f"kaggle://{BERT}", BERT),
    ],
)
def test_the_name_that_was_meant_is_told(name, meant):
    with pytest.raises(StarshiftError) as error:
        datasets.check_names("dataset", [name])
    assert error.value.remedy == f"--attach {meant}" and error.value.received == repr(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "me", "me/", "/x", "my files/x", "me/my files", "me/é", "me/x\n", "../x", "datasets/x", "a/b/c/d/e/f/g"),
        *(
            "https://www.kaggle.com/code/me/x",
            "https://www.kaggle.com/c/dogs-vs-cats",
            "models/google/bert/keras/large",
        ),
    ],
)
def test_a_name_that_cannot_be_guessed_is_refused_with_the_form(name):
    with pytest.raises(StarshiftError, match=r"names no dataset(.|\n)*expected: owner/slug") as error:
        datasets.check_names("dataset", [name])
    assert name == "me/x\n" or not error.value.remedy


@pytest.mark.parametrize(
    "name", ["me/nets/keras/small/0", "me/nets/keras/small/latest", "me/nets//small/1", "me/n/keras/s"]
)
def test_a_model_needs_all_parts_and_a_version_from_1_on(name):
    with pytest.raises(StarshiftError, match=r"names no model(.|\n)*owner/model/framework/variation/version"):
        datasets.check_names("model", [name])


def test_a_model_needs_a_framework_that_kaggle_has():
    with pytest.raises(StarshiftError, match=r"no models of this framework(.|\n)*keras(.|\n)*me/nets/caffe/small/1"):
        datasets.check_names("model", ["me/nets/caffe/small/1"])


def test_a_kernel_s_slug_has_five_characters_as_the_client_wants():
    with pytest.raises(StarshiftError, match="names no kernel"):
        datasets.check_names("kernel", ["me/four"])


def test_a_competition_is_a_slug_and_not_an_address():
    with pytest.raises(StarshiftError, match="names no competition"):
        datasets.check_names("competition", ["https://www.kaggle.com/c/dogs-vs-cats"])


def test_the_same_twice_is_attached_once():
    assert datasets.check_names("dataset", ["me/x", "me/y", "Me/X", "me/y"]) == ["me/x", "me/y"]


@pytest.mark.parametrize("name", ["me/starshift/abcdefgh", "me/my weights", "/weights", "me//weights"])
def test_a_dataset_to_upload_to_is_a_slug_or_an_owner_and_a_slug(name):
    with pytest.raises(StarshiftError, match=r"Unusable name(.|\n)*owner/slug"):
        datasets.check_dataset_name(name)
