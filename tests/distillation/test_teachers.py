"""Learnwares as teachers: what they say of a competition's pictures, and who is refused."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import Competition, Recipe, RunOptions
from pipeline.data import images, transforms
from pipeline.distillation import model_cost, run, teachers
from pipeline.distillation import teachers as learned
from pipeline.errors import StarshiftError
from pipeline.features import cache
from pipeline.files import read_json
from pipeline.learnware import archive, cached_predictions, search, store
from pipeline.models.base import list_networks
from pipeline.training.soft_targets import DistillationConfig
from pipeline.workflow.run import prepare_dataset
from tests.conftest import two_classes
from tests.learnware import making

OPTIONS = RunOptions(engine="keras")
STUDENT = "mobilenet_025@conv_pw_3_relu=none:1"
CLASSES = ("Red", "green", "blue")


@pytest.fixture
def mine(tmp_path) -> Competition:
    two_classes(tmp_path / "pictures", each=9, tests=2)
    recipe = Recipe(bases=(STUDENT,), size=32, folds=3, views=("plain",))
    return Competition(name="mine", data=str(tmp_path / "pictures"), metric="log_loss", recipe=recipe)


@pytest.fixture
def data(mine):
    return prepare_dataset(mine, [list_networks(mine.recipe)[0]], OPTIONS)


@pytest.fixture(scope="session")
def seer() -> bytes:
    """A network that knows blue from red by the mean of their pixels, and green from neither."""
    import keras

    pixels = keras.Input((making.SIDE, making.SIDE, 3), dtype="uint8", name="pixels")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 32)(pixels))
    dense = keras.layers.Dense(len(CLASSES), activation="softmax", name="answers")
    model = keras.Model(pixels, dense(means))
    dense.set_weights([np.array([[1, 0, -1], [0, 0, 0], [-1, 0, 1]], np.float32), np.zeros(3, np.float32)])
    return making.saved(model)


@pytest.fixture
def shelf(tmp_path, seer):
    """The folder of a store with a learnware `seer` of other pictures."""
    making.made(tmp_path / "shelf", seer, "seer", CLASSES)
    return tmp_path / "shelf"


def seer_of(shelf, mine) -> learned.LearnwareTeacher:
    return learned.find_learnware_teacher(f"store:{shelf}/seer", mine)


def asked_of(*names, **changes) -> DistillationConfig:
    return DistillationConfig(teachers=names, **changes)


def test_a_learnware_tells_of_the_student_s_classes_alone_whatever_their_case_and_order(shelf, mine, data):
    teacher = seer_of(shelf, mine)
    told = teacher.predict(data)
    assert list(data.pictures.classes) == ["blue", "red"]
    assert told.dtype == np.float32 and np.allclose(told.sum(axis=1), 1, atol=1e-6)
    assert (told.argmax(axis=1) == data.labels).all(), "it sees the tint"
    whole = cached_predictions.predict_cached(teacher.learnware, data.files, data.train_digests)[0]
    assert np.allclose(told[:, 1] / told[:, 0], whole[:, 0] / whole[:, 2], rtol=1e-4) and whole[:, 1].max() > 0


def test_answers_are_those_of_the_model_in_each_view_and_their_mean_in_the_contract_s(shelf, mine, data):
    making.made(shelf, making.saved(making.network()), "conv")
    learnware = store.load_learnware(f"store:{shelf}/conv")
    digests = data.train_digests[:5]
    both = cached_predictions.predict_cached(learnware, data.files, digests, ("augment-1", "plain"))
    pixels = np.stack([images.decode(data.files[one].read_bytes(), making.SIDE) for one in digests])
    for view, found in zip(("augment-1", "plain"), both, strict=True):
        expected = learnware.live().predict(transforms.apply_view(view, pixels, digests), verbose=0)
        assert np.abs(found - expected).max() < 1e-5
    mean = cached_predictions.predict_cached(learnware, data.files, digests)
    assert mean.shape == (1, 5, 3)
    expected = cached_predictions.predict_probabilities(
        learnware.live(), learnware.contract, {making.SIDE: pixels}, digests
    )
    assert np.abs(mean[0] - expected).max() < 1e-6


def test_a_learnware_is_asked_once_of_each_picture_and_a_damaged_answer_is_asked_for_again(
    shelf, mine, data, monkeypatch
):
    learnware, asked = seer_of(shelf, mine).learnware, []

    def counted(*given):
        asked.append(len(given[3]))
        return real(*given)

    monkeypatch.setattr(cached_predictions, "check_probe_predictions", lambda *_: 0.0)

    real = cached_predictions.predict_probabilities
    monkeypatch.setattr(cached_predictions, "predict_probabilities", counted)
    monkeypatch.setattr(cached_predictions, "CHUNK_SIZE", 4)
    digests = data.train_digests
    first = cached_predictions.predict_cached(learnware, data.files, digests[:10], ("plain",))
    assert asked == [4, 4, 2]
    again = cached_predictions.predict_cached(learnware, data.files, digests[::-1], ("plain",))
    assert asked[3:] == [4, 4] and np.array_equal(again[0][::-1][:10], first[0])
    (entry,) = [one for one in cache.list_entries() if one.store.spec["kind"] == "answers"]
    assert entry.description == "answers of seer plain" and entry.rows == len(digests)
    shard = next(entry.store.folder.glob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-4] + b"oops")
    assert np.array_equal(cached_predictions.predict_cached(learnware, data.files, digests[::-1], ("plain",)), again)
    assert len(asked) == 6


def test_another_learnware_of_the_same_name_is_asked_anew(shelf, mine, data):
    digests = data.train_digests[:4]
    first = cached_predictions.predict_cached(seer_of(shelf, mine).learnware, data.files, digests)
    (shelf / "seer.learnware").unlink()
    making.made(shelf, making.saved(making.network(seed=5)), "seer", CLASSES)
    assert (
        np.abs(cached_predictions.predict_cached(seer_of(shelf, mine).learnware, data.files, digests) - first).max()
        > 1e-3
    )


def test_classes_are_found_by_their_very_name_first_and_then_by_how_they_read():
    assert search.find_class_columns("x", ["a_b", "A b", "c"], ["c", "A b"]) == [2, 1]
    assert search.find_class_columns("x", ["Golden_Retriever", "pug"], ["golden retriever"]) == [0]
    with pytest.raises(StarshiftError, match="does not know 2 of the 3") as raised:
        search.find_class_columns("x", ["pug"], ["pug", "beagle", "boxer"])
    assert "without beagle, boxer" in raised.value.received
    with pytest.raises(StarshiftError, match="one class for several"):
        search.find_class_columns("x", ["pug", "boxer"], ["Pug", "pug"])


def test_a_learnware_that_was_trained_on_the_pictures_or_lacks_a_class_does_not_teach(shelf, mine, seer, home):
    making.made(shelf, seer, "own", CLASSES, competition="mine")
    making.made(shelf, seer, "other", ("red", "green", "yellow"))
    for name, words in (("own", "trained on pictures of mine itself"), ("other", "does not know 1 of the 2 classes")):
        with pytest.raises(StarshiftError, match=words):
            run.run_distillation(mine, asked_of(f"store:{shelf}/{name}"), OPTIONS)
    with pytest.raises(StarshiftError, match="There is no learnware 'none'"):
        run.run_distillation(mine, asked_of(f"store:{shelf}/none"), OPTIONS)
    assert not list((home / "data" / "runs").glob("*/*"))


@pytest.mark.slow
def test_a_student_learns_from_a_learnware_and_the_report_says_of_whom(shelf, mine, home, caplog):
    caplog.set_level("INFO")
    address = f"store:{shelf}/seer"
    files = run.run_distillation(mine, asked_of(address, address), OPTIONS)
    found = read_json(files[1])
    teacher, alone, taught = found["sides"]
    assert teacher["accuracy"] == 1 and teacher["cost"]["parameters"] == 12 and teacher["cost"]["megabytes"] > 0
    assert teacher["cost"]["pictures_per_second"] > 1 and alone["scores"] != taught["scores"]
    text = files[0].read_text()
    assert f"taught by {address}\n" in text and "flattered" not in text and "nested" not in text
    assert "seer was trained on 60 drawn letters, it says" in caplog.text
    (name,) = found["runs"]["distilled"]
    config = read_json(home / "data" / "runs" / "mine" / name / "config.json")
    digest = archive.read_archive(shelf / "seer.learnware").digest
    assert config["distillation"]["teacher_records"] == [{"learnware": "seer", "digest": digest}]
    assert config["distillation"]["teachers"] == [address]


def test_learnwares_of_one_name_in_two_stores_both_teach_and_the_same_one_once(shelf, mine, seer, tmp_path):
    making.made(tmp_path / "other", making.saved(making.network(seed=5)), "seer", CLASSES)
    copied = tmp_path / "copied"
    shutil.copytree(shelf, copied)
    addresses = [f"store:{folder}/seer" for folder in (shelf, tmp_path / "other", copied)]
    assert [one.name for one in teachers.find_teachers(mine, addresses)] == addresses[:2]


def test_a_learnware_that_no_longer_answers_as_it_did_is_not_asked(shelf, mine, data, monkeypatch):
    monkeypatch.setattr(cached_predictions, "PROBE_TOLERANCE", -1.0)
    with pytest.raises(StarshiftError, match="differ by"):
        cached_predictions.predict_cached(seer_of(shelf, mine).learnware, data.files, data.train_digests)
    assert not cache.list_entries() or all(one.store.spec["kind"] != "answers" for one in cache.list_entries())


class Nested:
    """A teacher that says other things to students of other folds."""

    def recompute(self, data, views, nested, engine):
        return {"0": np.full((1, 2, 2), 0.2, np.float32), "1": np.full((1, 2, 2), 0.4, np.float32)}


class Same:
    """A teacher that says the same to all."""

    def recompute(self, data, views, nested, engine):
        return {"all": np.full((1, 2, 2), 0.6, np.float32)}


def test_a_run_and_a_learnware_teach_together_fold_by_fold(data):
    lesson = teachers.build_soft_targets(asked_of("a", "b"), [Nested(), Same()], data, ())
    assert {fold: float(values.mean()) for fold, values in lesson.answers.items()} == pytest.approx(
        {"0": 0.4, "1": 0.5}
    )
    lesson = teachers.build_soft_targets(asked_of("a"), [Same()], data, ())
    assert set(lesson.answers) == {"all"}


def test_costs_add_up_and_what_is_unknown_stays_so():
    one = model_cost.ModelCost(parameters=3, megabytes=0.5, pictures_per_second=20)
    both = model_cost.add_costs([one, replace(one, parameters=4, pictures_per_second=5)])
    assert both == model_cost.ModelCost(parameters=7, megabytes=1.0, pictures_per_second=4)
    assert model_cost.add_costs([one, replace(one, megabytes=None)]).megabytes is None


def test_a_learnware_is_named_by_its_store_s_folder_too(shelf, home):
    assert store.load_learnware(f"store:{shelf}/seer").name == "seer"
    for address in ("store:seer", "store:/seer"):
        with pytest.raises(StarshiftError, match="There is no store in"):
            store.load_learnware(address)
