"""Folders are told apart: parts in any common spelling, classes that look like parts, and what nobody can know."""

import pytest

from pipeline.config import Competition, Labels, Recipe
from pipeline.data.labels import build_picture_table
from pipeline.data.layout import parse_role
from pipeline.errors import StarshiftError
from tests.conftest import drawn, encoded

JPEG = encoded(drawn(0))


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def put(raw, *folders, each=2):
    """So many pictures in each of some folders."""
    for folder in folders:
        (raw / folder).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (raw / folder / f"{number}.jpg").write_bytes(JPEG)


def table_of(raw, **labels):
    own = Competition(name="own", data=str(raw), labels=Labels(**labels), recipe=Recipe(folds=2))
    return build_picture_table(own, raw, None, raw.parent / "memory.json")


def classes_of(raw, **labels):
    return table_of(raw, **labels).classes


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("train_set", "test-set"),
        ("training set", "Testing Set"),
        ("trainset", "testset"),
        ("train_images", "test_images"),
        ("images_train", "images_test"),
        ("seg_data/Train", "seg_data/Test"),
        ("dataset/Training", "dataset/Testing"),
        ("archive/dataset/training_data", "archive/dataset/testing_data"),
        ("Training/Training", "Testing/Testing"),
        ("train", "Testing"),
        ("train 1", "test 1"),
        ("train", "test1"),
        ("flowers_train", "flowers_test"),
        ("2019-training", "2019-testing"),
        ("animalsTrain", "animalsTest"),
    ],
)
def test_parts_are_recognised_by_their_names(raw, train, test):
    put(raw, f"{train}/cat", f"{train}/dog", f"{test}/cat", f"{test}/dog")
    found = table_of(raw)
    assert found.classes == ["cat", "dog"] and len(found.train) == 4
    assert list(found.test["id"]) == ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]


def test_what_was_recognised_by_its_name_is_said(raw):
    put(raw, "Training/a", "Training/b", "Testing/a", "Testing/b")
    assert table_of(raw).warnings == [
        "Training is taken for the training pictures",
        "Testing is taken for the test pictures",
    ]
    (raw / "Training").rename(raw / "Train")
    (raw / "Testing").rename(raw / "Test")
    assert not table_of(raw).warnings, "only their case differs from what is asked for"


@pytest.mark.parametrize(
    ("role", "names"),
    {
        "train": ["train", "Training", "TRAIN_SET", "training_set", "trainset", "train_images", "train-data"],
        "test": ["test", "Testing", "test set", "test_set", "testset", "test_images"],
        "val": ["val", "Valid", "validation", "validation_set", "val_set", "dev", "eval", "evaluation"],
        "unlabeled": ["unlabeled", "Unlabelled images", "unsupervised"],
        None: [
            "constrain",
            "train_station",
            "trains",
            "trainer",
            "tests",
            "contest",
            "invalid",
            "device",
            "data",
            "images",
            "trail",
            "1",
        ],
    }.items(),
)
def test_the_words_for_parts(role, names):
    assert {name: parse_role(name) for name in names} == dict.fromkeys(names, role)


@pytest.mark.parametrize("val", ["val", "Validation", "valid_set", "dev", "eval"])
@pytest.mark.parametrize("train", ["train", "Training"])
def test_a_labelled_validation_part_is_named_as_unused(raw, val, train):
    put(raw, f"{train}/a", f"{train}/b", "test")
    put(raw, f"{val}/a", f"{val}/b", each=3)
    found = table_of(raw)
    assert found.classes == ["a", "b"] and len(found.train) == 4 and len(found.test) == 2
    assert found.warnings[-1] == f"6 pictures belong to neither part and are not used: {val} (6)"


def test_a_validation_part_beside_class_folders_is_no_class(raw):
    put(raw, "cat", "dog", "val/cat", "val/dog", "testing/cat", "testing/dog")
    found = table_of(raw)
    assert found.classes == ["cat", "dog"] and len(found.train) == 4 and len(found.test) == 4
    assert any("not used: val (4)" in warning for warning in found.warnings)


def test_a_validation_part_beside_labels_in_a_table_is_named_as_unused(raw):
    put(raw, "train", "val")
    (raw / "labels.csv").write_text("id,label\n0,x\n1,y\n")
    with pytest.raises(StarshiftError, match="too few"):
        table_of(raw, csv="labels.csv", suffix=".jpg")
    put(raw, "train", each=4)
    (raw / "labels.csv").write_text("id,label\n0,x\n1,y\n2,x\n3,y\n")
    assert "not used: val (2)" in table_of(raw, csv="labels.csv", suffix=".jpg").warnings[0]


@pytest.mark.parametrize("top", ["", "dataset/"])
def test_folders_of_the_same_names_are_refused_with_the_lines_to_write(raw, top):
    put(raw, *(f"{top}{part}/{name}" for part in ("A", "B") for name in ("cat", "dog", "emu")))
    (raw / f"{top}A/emu/9.jpg").write_bytes(JPEG)
    with pytest.raises(StarshiftError, match="seem to be parts") as error:
        table_of(raw)
    line, classes = f'Labels(folder="{top}A", test="{top}B")', f'Labels(folder="{top.rstrip("/") or "."}", test=None)'
    assert line in str(error.value) and classes in str(error.value)
    found = table_of(raw, folder=f"{top}A", test=f"{top}B")
    assert found.classes == ["cat", "dog", "emu"] and len(found.test) == 6
    assert classes_of(raw, folder=top.rstrip("/") or ".", test=None) == ["A", "B"]


def test_nearly_the_same_names_are_refused_too(raw):
    put(raw, *(f"A/{name}" for name in "abcdef"), *(f"B/{name}" for name in "abcdg"))
    with pytest.raises(StarshiftError, match="seem to be parts"):
        table_of(raw)


def test_a_folder_of_the_other_classes_is_refused(raw):
    put(raw, "cat", "dog", "more/cat", "more/dog")
    with pytest.raises(StarshiftError, match=r'more(.|\n)*Labels\(folder="more", test=None\)'):
        table_of(raw)


@pytest.mark.parametrize(
    "folders",
    [
        ("cats/images", "dogs/images"),
        ("cats/left", "cats/right", "dogs/front", "dogs/back"),
        ("cats", "cats/left", "cats/right", "dogs", "dogs/left", "dogs/right"),
        ("cats/images", "dogs/images", "Train/images"),
    ],
)
def test_classes_may_have_folders_in_them(raw, folders):
    put(raw, *folders)
    assert classes_of(raw) == sorted({folder.split("/")[0] for folder in folders})


@pytest.mark.parametrize(
    "classes",
    [("bus", "train"), ("invalid", "valid"), ("dev", "prod"), ("bus", "car", "training"), ("eval", "medieval")],
)
def test_a_class_may_be_called_like_a_part(raw, classes):
    put(raw, *classes)
    assert classes_of(raw) == list(classes)


def test_a_class_called_train_may_have_a_folder_in_it(raw):
    put(raw, "bus", "train", "train/.ipynb_checkpoints", "train/steam")
    found = table_of(raw)
    assert found.classes == ["bus", "train"] and len(found.train) == 6


def test_class_folders_that_no_part_holds_are_named(raw):
    put(raw, "bus", "train/steam", "train/diesel", "rail/train/a", "rail/train/b")
    found = table_of(raw)
    assert found.classes == ["diesel", "steam"] and "not used: bus (2)" in found.warnings[0]


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test"), ("Train_images", "Test_images")])
def test_parts_without_class_folders_are_no_classes(raw, parts):
    put(raw, *parts)
    with pytest.raises(StarshiftError, match=r"no class folders are in them(.|\n)*Labels\(csv=\.\.\.\)"):
        table_of(raw)
    assert classes_of(raw, folder=".", test=None) == sorted(parts)


def test_a_training_part_without_class_folders_is_no_class(raw):
    put(raw, "train")
    with pytest.raises(StarshiftError, match=r"no class folders are in them(.|\n)*invoke init"):
        table_of(raw)


@pytest.mark.parametrize("part", ["val", "test"])
def test_class_folders_in_another_part_alone_are_not_trained_on_unasked(raw, part):
    put(raw, f"{part}/a", f"{part}/b")
    with pytest.raises(StarshiftError, match=rf'Labels\(folder="{part}", test=None\)'):
        table_of(raw)


def test_classes_that_are_split_inside_are_refused(raw):
    put(raw, "cat/train", "cat/test", "dog/train", "dog/test")
    with pytest.raises(StarshiftError, match=r"split into parts inside(.|\n)*train/<class>"):
        table_of(raw)


def test_two_training_parts_are_refused(raw):
    put(raw, "north/train/a", "north/train/b", "south/train/a", "south/train/b")
    with pytest.raises(StarshiftError, match=r'2 folders are called train(.|\n)*Labels\(folder="north/train"'):
        table_of(raw)
    put(raw, "Training/a", "Training/b", "train_set/a", "train_set/b")
    with pytest.raises(StarshiftError, match="called train"):
        table_of(raw)


def test_a_class_called_test_in_another_part_is_not_the_test_part(raw):
    put(raw, "train/control", "train/test", "dev/control", "dev/test")
    found = table_of(raw)
    assert found.classes == ["control", "test"] and len(found.test) == 0


def test_loose_test_pictures_in_other_words_are_test_pictures(raw):
    put(raw, "train_images/a", "train_images/b", "test_images")
    assert list(table_of(raw).test["id"]) == ["0.jpg", "1.jpg"]


def test_a_part_that_is_a_link_to_nowhere_is_refused(raw):
    put(raw, "train/a", "train/b")
    (raw / "test").symlink_to(raw / "unmounted")
    with pytest.raises(StarshiftError, match=r"test is a link that leads nowhere(.|\n)*unmounted"):
        table_of(raw)


def test_junk_is_no_part(raw):
    put(raw, "dataset/train/a", "dataset/train/b", "__MACOSX/train/c", "__MACOSX/train/d")
    assert classes_of(raw) == ["a", "b"]


def test_one_folder_may_hold_training_and_test_pictures(raw):
    put(raw, "images", each=6)
    (raw / "labels.csv").write_text("id,label\n0,x\n1,y\n2,x\n3,y\n")
    found = table_of(raw, folder="images", test="images", csv="labels.csv", suffix=".jpg")
    assert len(found.train) == 4 and len(found.test) == 6


def test_parts_of_two_domains_are_no_classes(raw):
    put(raw, "trainA", "trainB", "testA", "testB")
    with pytest.raises(StarshiftError, match="no class folders are in them"):
        table_of(raw)


def test_pictures_without_a_label_are_no_class(raw):
    put(raw, "cat", "dog", "unlabeled")
    found = table_of(raw)
    assert found.classes == ["cat", "dog"] and "not used: unlabeled (2)" in found.warnings[0]


@pytest.mark.parametrize("place", ["train/images", "images", "data/images"])
def test_class_folders_in_a_folder_of_pictures_are_found(raw, place):
    put(raw, f"{place}/cat", f"{place}/dog", "test")
    found = table_of(raw)
    assert found.classes == ["cat", "dog"] and len(found.train) == 4 and len(found.test) == 2


def test_lists_of_names_beside_a_folder_of_pictures_are_no_class(raw):
    put(raw, "food/images/pie", "food/images/ramen")
    (raw / "food" / "meta").mkdir()
    (raw / "food" / "meta" / "train.txt").write_text("pie/0")
    assert classes_of(raw) == ["pie", "ramen"]


def test_domains_that_hold_their_classes_in_a_folder_of_pictures_are_refused(raw):
    put(raw, *(f"{domain}/images/{name}" for domain in ("amazon", "webcam") for name in ("bike", "mug")))
    with pytest.raises(StarshiftError, match="folders of the same names"):
        table_of(raw)


def test_a_copy_of_the_data_in_itself_is_named_as_unused(raw):
    put(raw, *(f"{top}train/{name}" for top in ("xray/", "xray/xray/") for name in ("sick", "well")))
    assert "4 pictures belong to neither part and are not used: xray (4)" in table_of(raw).warnings
