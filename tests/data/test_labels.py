"""Picture tables of every layout, and what is said when files, labels and sample differ."""

from dataclasses import replace

import pytest

import competitions
from pipeline.config import Competition, Labels, Recipe, Submission
from pipeline.data.labels import build_picture_table, load_labeled_pictures
from pipeline.data.tables import read_sample_submission
from pipeline.errors import StarshiftError
from tests.conftest import drawn, encoded, two_classes

JPEG = encoded(drawn(0))


def put(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG)


def table_of(competition, raw):
    return build_picture_table(competition, raw, read_sample_submission(competition, raw), raw.parent / "memory.json")


def small(name):
    found = competitions.find(name)
    return replace(found, recipe=Recipe(folds=2))


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def dogs(raw):
    put(raw, [f"train/{name}.jpg" for name in "abcd"] + ["test/y.jpg", "test/x.jpg"])
    (raw / "labels.csv").write_text("id,breed\na,pug\nb,boxer\nc,pug\nd,boxer\n")
    (raw / "sample_submission.csv").write_text("id,boxer,pug\ny,.5,.5\nx,.5,.5\n")
    return raw


def test_dog_breed_labels_come_from_the_csv_and_tests_in_the_samples_order(dogs):
    found = table_of(small("dog-breed"), dogs)
    assert list(found.train["label"]) == ["pug", "boxer", "pug", "boxer"]
    assert list(found.test["id"]) == ["y", "x"] and found.classes == ["boxer", "pug"] and not found.warnings


def test_invasive_species_tells_train_1_from_test_1(raw):
    put(raw, [f"train/{n}.jpg" for n in range(1, 5)] + ["test/1.jpg"])
    (raw / "train_labels.csv").write_text("name,invasive\n1,1\n2,0\n3,1\n4,0\n")
    (raw / "sample_submission.csv").write_text("name,invasive\n1,0.5\n")
    found = table_of(small("invasive-species"), raw)
    assert found.train["path"][0] == "train/1.jpg" and found.test["path"][0] == "test/1.jpg"


def test_plant_seedlings_labels_are_folders_and_ids_keep_their_suffix(raw):
    put(raw, [f"train/{name}/{n}.png" for name in ("Fat Hen", "Maize") for n in range(2)] + ["test/z.png"])
    (raw / "sample_submission.csv").write_text("file,species\nz.png,Maize\n")
    found = table_of(small("plant-seedlings"), raw)
    assert set(found.train["label"]) == {"Fat Hen", "Maize"} and list(found.test["id"]) == ["z.png"]


def test_dogs_vs_cats_labels_are_in_the_names(raw):
    put(raw, [f"train/{name}.{n}.jpg" for name in ("cat", "dog") for n in range(2)] + ["test/10.jpg", "test/2.jpg"])
    (raw / "sample_submission.csv").write_text("id,label\n2,0.5\n10,0.5\n")
    found = table_of(small("dogs-vs-cats"), raw)
    assert list(found.train["label"]) == ["cat", "cat", "dog", "dog"] and list(found.test["id"]) == ["2", "10"]


def test_ones_own_class_folders_need_no_train_folder_and_no_test_folder(raw):
    put(raw, [f"{name}/{n}.jpg" for name in ("left", "right") for n in range(2)])
    own = Competition(name="own", data=str(raw), recipe=Recipe(folds=2))
    found = table_of(own, raw)
    assert found.classes == ["left", "right"] and len(found.test) == 0


def test_a_row_without_a_picture_and_a_picture_without_a_row_are_counted(dogs):
    put(dogs, ["train/e.jpg"])
    with (dogs / "labels.csv").open("a") as file:
        file.write("f,pug\n")
    warnings = table_of(small("dog-breed"), dogs).warnings
    assert warnings[0].startswith("1 rows") and "f" in warnings[0]
    assert warnings[1].startswith("1 training pictures") and "e" in warnings[1]


def test_a_missing_test_picture_keeps_its_row_and_an_extra_one_is_left_out(dogs):
    (dogs / "test" / "x.jpg").rename(dogs / "test" / "w.jpg")
    found = table_of(small("dog-breed"), dogs)
    assert list(found.test["id"]) == ["y", "x"] and found.test["path"][1] == ""
    assert any("MISSING" in warning for warning in found.warnings) and any("w" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("id,breed\na,pug\na,boxer\nb,pug\nc,boxer\n", "1 ids twice"),
        ("id,breed\na,pug\nb,\nc,boxer\n", "1 ids without a label"),
        ("id,species\na,pug\n", "other columns"),
        ("id,breed\na,pug\nb,poodle\nc,pug\nd,poodle\n", "unknown: poodle"),
        ("id,breed\nq,pug\nr,boxer\ns,pug\n", "have no picture"),
        ("id,breed\na,pug\nb,pug\nc,pug\nd,boxer\n", "too few"),
    ],
)
def test_labels_that_cannot_be_trusted_are_refused_with_counts(dogs, labels, words):
    (dogs / "labels.csv").write_text(labels)
    with pytest.raises(StarshiftError, match=words):
        table_of(small("dog-breed"), dogs)


def test_a_sample_that_names_an_id_twice_is_refused(dogs):
    (dogs / "sample_submission.csv").write_text("id,boxer,pug\nx,.5,.5\nx,.5,.5\n")
    with pytest.raises(StarshiftError, match="twice"):
        read_sample_submission(small("dog-breed"), dogs)


def test_ids_keep_their_leading_zeros(dogs):
    (dogs / "sample_submission.csv").write_text("id,boxer,pug\n007,.5,.5\n")
    assert read_sample_submission(small("dog-breed"), dogs).ids == ["007"]


def test_the_table_is_remembered_and_a_changed_picture_is_read_again(tmp_path):
    raw = tmp_path / "raw"
    two_classes(raw, each=3)
    own = Competition(name="own", data=str(raw), labels=Labels(), recipe=Recipe(folds=2))
    before = table_of(own, raw)
    (raw / "train" / "red" / "0.jpg").write_bytes(encoded(drawn(77, 20, 20)))
    after = table_of(own, raw)
    changed = before.train["sha256"] != after.train["sha256"]
    assert list(after.train.loc[changed, "id"]) == ["red/0.jpg"] and list(after.train.loc[changed, "width"]) == [20]


def own_pictures(raw):
    return table_of(Competition(name="own", data=str(raw), recipe=Recipe(folds=2)), raw)


@pytest.mark.parametrize("top", ["train/", ""])
def test_a_class_may_be_called_test_or_train(raw, top):
    classes = ["control", "test"] if top else ["bus", "train"]
    put(raw, [f"{top}{name}/{n}.jpg" for name in classes for n in range(2)])
    found = own_pictures(raw)
    assert found.classes == classes and len(found.train) == 4 and len(found.test) == 0


def test_train_and_test_may_be_written_with_capitals(raw):
    put(raw, [f"Train/{name}/{n}.jpg" for name in "ab" for n in range(2)] + ["Test/9.jpg"])
    found = own_pictures(raw)
    assert found.classes == ["a", "b"] and list(found.test["id"]) == ["9.jpg"]


def test_pictures_may_lie_in_the_datas_own_folder(raw):
    put(raw, [f"{name}.jpg" for name in "abcd"])
    (raw / "labels.csv").write_text("id,label\na,cat\nb,dog\nc,cat\nd,dog\n")
    labels = Labels(folder=".", csv="labels.csv", suffix=".jpg", test=None)
    recipe = Recipe(folds=2)
    found = table_of(Competition(name="flat", data=str(raw), labels=labels, metric="accuracy", recipe=recipe), raw)
    assert list(found.train["path"]) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"] and found.classes == ["cat", "dog"]


def test_a_folder_of_a_class_called_test_is_no_part(raw):
    put(raw, [f"{name}/{n}.jpg" for name in "ab" for n in range(2)] + ["a/test/0.jpg"])
    found = own_pictures(raw)
    assert len(found.train) == 5 and len(found.test) == 0


def test_a_comma_at_the_end_of_each_row_is_no_column_of_ids(dogs):
    (dogs / "labels.csv").write_text("id,breed\na,pug,\nb,boxer,\nc,pug,\nd,boxer,\n")
    assert list(table_of(small("dog-breed"), dogs).train["label"]) == ["pug", "boxer", "pug", "boxer"]


def test_pictures_outside_the_class_folders_are_counted(raw):
    put(raw, [f"{name}/{n}.jpg" for name in "ab" for n in range(2)] + ["stray.jpg"])
    assert "1 training pictures" in own_pictures(raw).warnings[0] and "stray" in own_pictures(raw).warnings[0]


def test_linked_class_folders_are_followed_and_circles_and_dead_links_are_not(raw, tmp_path):
    put(tmp_path, [f"elsewhere/{name}/{n}.jpg" for name in "ab" for n in range(2)])
    (raw / "train").mkdir()
    for name in "ab":
        (raw / "train" / name).symlink_to(tmp_path / "elsewhere" / name)
    (raw / "train" / "circle").symlink_to(raw / "train")
    (tmp_path / "elsewhere" / "a" / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = own_pictures(raw)
    assert found.classes == ["a", "b"] and len(found.train) == 4


def test_a_doubled_folder_is_found_beside_files_that_are_no_pictures(dogs):
    for part in ("train", "test"):
        (dogs / part).rename(dogs / "inner")
        (dogs / part).mkdir()
        (dogs / "inner").rename(dogs / part / part)
        (dogs / part / "Thumbs.db").write_bytes(b"x")
    assert list(table_of(small("dog-breed"), dogs).train["id"]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("content", [b"", "id,breed\na,bôxer\n".encode("latin-1")])
@pytest.mark.parametrize("name", ["labels.csv", "sample_submission.csv"])
def test_a_table_that_cannot_be_read_is_the_users_to_put_right(dogs, name, content):
    (dogs / name).write_bytes(content)
    with pytest.raises(StarshiftError, match="cannot be read"):
        table_of(small("dog-breed"), dogs)


def test_blanks_around_a_label_are_not_part_of_it(dogs):
    (dogs / "labels.csv").write_text("id,breed\r\na,pug \r\nb, boxer\r\nc,pug\r\nd,boxer\r\n")
    assert table_of(small("dog-breed"), dogs).classes == ["boxer", "pug"]


def test_a_sample_of_another_name_is_found_when_it_is_the_only_one(dogs):
    (dogs / "sample_submission.csv").rename(dogs / "sampleSubmission.csv")
    assert read_sample_submission(small("dog-breed"), dogs).ids == ["y", "x"]


def test_a_damaged_memory_is_forgotten(dogs):
    (dogs.parent / "memory.json").write_text("[1]")
    assert len(table_of(small("dog-breed"), dogs).train) == 4


@pytest.mark.parametrize("names", [("Cat", "cat"), ("cat", "cat "), ("caf\u00e9", "cafe\u0301"), ("a b", "a  b")])
def test_classes_of_nearly_the_same_name_are_named(raw, names):
    put(raw, [f"{name}/{n}.jpg" for name in (*names, "dog") for n in range(2)])
    found = own_pictures(raw)
    assert len(found.classes) == 3
    assert found.warnings == [f"2 classes have nearly the same name: {', '.join(map(repr, sorted(names)))}"]


@pytest.mark.parametrize("pattern", [r"(?P<label>[a-z]*)\d+\.jpg", r"(?P<label>[a-z]+)?\d+\.jpg"])
def test_a_name_whose_label_is_empty_has_none(raw, pattern):
    put(raw, [f"train/{name}{n}.jpg" for name in ("cat", "dog", "") for n in range(2)])
    own = Competition(name="own", data=str(raw), labels=Labels(pattern=pattern), recipe=Recipe(folds=2))
    found = table_of(own, raw)
    assert found.classes == ["cat", "dog"] and found.warnings == [
        "2 training files have a name without a label: 0.jpg, 1.jpg"
    ]


def test_ids_and_labels_that_look_like_paths_lead_nowhere(raw):
    put(raw, ["train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg", "secret.jpg", "test/1.jpg"])
    (raw / "labels.csv").write_text("id,label\na,N/A\nb,N/A\nc,../x\nd,../x\n../secret,../x\n")
    (raw / "sample_submission.csv").write_text("id,label\n1,N/A\n../secret,N/A\n")
    labels = Labels(csv="labels.csv", suffix=".jpg")
    wanted = Submission(layout="class name")
    own = Competition(name="own", data=str(raw), labels=labels, submission=wanted, recipe=Recipe(folds=2))
    found = table_of(own, raw)
    assert found.classes == ["../x", "N/A"] and list(found.train["id"]) == ["a", "b", "c", "d"]
    assert list(found.test["path"]) == ["test/1.jpg", ""]


def test_junk_is_no_table(dogs):
    (dogs / "sample_submission.csv").rename(dogs / "sampleSubmission.csv")
    (dogs / "._sampleSubmission.csv").write_bytes(b"\0\5\x16\7")
    (dogs / "__MACOSX").mkdir()
    (dogs / "__MACOSX" / "sample_submission.csv").write_bytes(b"\0\5\x16\7")
    assert read_sample_submission(small("dog-breed"), dogs).ids == ["y", "x"]


def test_who_asks_for_labelled_pictures_alone_is_told_the_warnings_too(raw, caplog):
    put(raw, [f"{name}/{n}.jpg" for name in ("Cat", "cat") for n in range(2)])
    load_labeled_pictures(Competition(name="own", data=str(raw), recipe=Recipe(folds=2)))
    assert "2 classes have nearly the same name" in caplog.text


def test_loose_pictures_are_asked_to_lie_in_class_folders(raw):
    put(raw, ["1.jpg", "2.jpg"])
    with pytest.raises(
        StarshiftError, match=r"a folder of pictures for each class(.|\n)*2 pictures, none(.|\n)*called like it"
    ):
        table_of(Competition(name="own", data=str(raw), metric="accuracy"), raw)
