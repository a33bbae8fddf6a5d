"""Archives of other competitions, and pictures that are too few once those that cannot be read are gone."""

import zipfile

import cv2
import pytest

from pipeline import paths
from pipeline.config import Competition, Labels, Recipe, RunOptions, Submission
from pipeline.data.validation import fetch_raw_data
from pipeline.errors import StarshiftError
from pipeline.kaggle.download import format_status
from pipeline.models.base import parse_base
from pipeline.workflow.run import prepare_dataset
from tests.conftest import drawn, encoded

PETS = Competition(
    name="pets",
    slug="pets-slug",
    labels=Labels(csv="labels.csv", label="kind", suffix=".jpg"),
    submission=Submission(image="id", layout="one column per class"),
)
WHOLE = {"labels.csv": "id,kind\n1,cat\n", "sample_submission.csv": "id,cat,dog\n2,0.5,0.5\n", "train/1.jpg": "x"}


def bundle_of(folder, name, members):
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return folder / name


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sample_submission.csv": "name,invasive\n"}, "sample_submission.csv has other columns"),
        ({"sample_submission.csv": None}, "sample submission is missing"),
        ({"labels.csv": None}, "labels are missing"),
        ({"labels.csv": "name,kind\n"}, "labels.csv has other columns"),
        ({"train/1.jpg": None}, "training pictures are missing"),
    ],
)
def test_another_competition_s_archive_does_not_take_the_data_s_place(tmp_path, changed, words):
    raw = fetch_raw_data(PETS, bundle=bundle_of(tmp_path, "pets.zip", WHOLE))
    before = format_status(PETS)
    other = {name: text for name, text in {**WHOLE, **changed}.items() if text is not None}
    with pytest.raises(StarshiftError, match=f"others.zip is not pets's archive: .*{words}"):
        fetch_raw_data(PETS, bundle=bundle_of(tmp_path, "others.zip", other))
    assert (raw / "train" / "1.jpg").read_text() == "x" and format_status(PETS) == before
    assert sorted(path.name for path in raw.parent.iterdir()) == ["complete.json", "owner.json", "raw"]


def test_a_first_archive_that_is_another_s_leaves_nothing(tmp_path):
    with pytest.raises(StarshiftError, match="is not pets's archive"):
        fetch_raw_data(PETS, bundle=bundle_of(tmp_path, "others.zip", {"a.txt": "x"}))
    assert format_status(PETS) == "not downloaded" and not (paths.competition_folder("pets") / "raw").exists()


def own(folder, recipe, readable, copies=1):
    """A competition of three classes with so many readable pictures each, the rest of six is broken."""
    for number, name in enumerate("abc"):
        (folder / name).mkdir(parents=True)
        for n in range(6):
            whole = n < readable[number]
            picture = encoded(drawn(100 * number + n // copies, tint=(40 * number, 0, 0)))
            (folder / name / f"{n}.jpg").write_bytes(picture if whole else b"\xff\xd8\xff broken")
    return Competition(name="own", data=str(folder), recipe=recipe)


def prepared(competition):
    return prepare_dataset(competition, [parse_base("petite=none", 32)], RunOptions())


@pytest.mark.parametrize(
    ("readable", "copies", "received"),
    [
        ((6, 6, 0), 1, "'c' has 0"),
        ((6, 6, 2), 1, "'c' has 2"),
        ((2, 2, 2), 1, "'a' has 2"),
        ((6, 6, 6), 3, "'a' has 2"),
    ],
)
def test_pictures_count_that_can_be_read_and_differ(tmp_path, readable, copies, received):
    with pytest.raises(StarshiftError, match=received):
        prepared(own(tmp_path / "own", Recipe(folds=3), readable, copies))


@pytest.mark.parametrize(("readable", "words"), [((1, 6, 6), "or leave that class out"), ((2, 6, 6), "--set folds=2")])
def test_what_to_do_about_too_few_pictures_can_be_done(tmp_path, readable, words):
    with pytest.raises(StarshiftError, match=words):
        prepared(own(tmp_path / "own", Recipe(folds=3), readable))


def test_a_name_belongs_to_the_pictures_that_had_it_first(tmp_path):
    first = own(tmp_path / "own", Recipe(folds=3), (6, 6, 6))
    prepared(first)
    other = own(tmp_path / "others", Recipe(folds=3), (6, 6, 6))
    with pytest.raises(StarshiftError, match=r"go by the name own already(.|\n)*choose another name(.|\n)*owner.json"):
        prepared(other)
    (paths.competition_folder("own") / "owner.json").unlink()
    prepared(other)
    with pytest.raises(StarshiftError, match="go by the name own already"):
        prepared(first)


def test_a_hold_out_needs_a_picture_of_each_class(tmp_path):
    with pytest.raises(StarshiftError, match="2 of 18 held out"):
        prepared(own(tmp_path / "own", Recipe(folds=1, holdout=0.1), (6, 6, 6)))


def test_enough_pictures_are_enough_and_equal_ones_in_two_classes_are_told(tmp_path, caplog):
    competition = own(tmp_path / "own", Recipe(folds=3), (6, 6, 5))
    cv2.imwrite(str(tmp_path / "own" / "a" / "7.png"), drawn(1))
    cv2.imwrite(str(tmp_path / "own" / "b" / "7.png"), drawn(1))
    caplog.set_level("WARNING")
    assert len(prepared(competition).labels) == 19
    assert "2 pictures stand in two classes with the same pixels: a/7.png, b/7.png" in caplog.text
