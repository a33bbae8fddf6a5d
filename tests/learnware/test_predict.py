"""Predicting a folder: a row a picture, and several learnwares together."""

import csv
import json

import numpy as np
import pytest
from invoke import Context

from pipeline.cli.learnware import predict as task
from pipeline.data import images
from pipeline.errors import StarshiftError
from pipeline.learnware import cached_predictions, predict, probe, store
from tests.learnware import making


@pytest.fixture
def shelf(tmp_path, model):
    making.made(tmp_path / "shelf", model)
    return store.open_store(tmp_path / "shelf")


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return {row["picture"]: row for row in csv.DictReader(file)}


def test_every_picture_has_a_row_with_its_likeliest_classes(shelf, pictures, tmp_path, caplog):
    learnware = shelf.learnware("tiny")
    out = predict.predict_folder([learnware], pictures, tmp_path / "out.csv", shelf=shelf)
    rows = rows_of(out)
    assert set(rows) == {
        *(f"{n}.jpg" for n in range(6)),
        "below/again.jpg",
        "below/broken.jpg",
        "below/deeper/grey.png",
    }
    broken = rows.pop("below/broken.jpg")
    assert set(broken.values()) == {"below/broken.jpg", ""} and "below/broken.jpg cannot be read" in caplog.text
    for row in rows.values():
        values = [float(row[f"probability_{place}"]) for place in (1, 2, 3)]
        assert values == sorted(values, reverse=True) and sum(values) == pytest.approx(1, abs=1e-5)
        assert {row[f"class_{place}"] for place in (1, 2, 3)} == {"a", "b", "c"}
    again, first = rows["below/again.jpg"], rows["3.jpg"]
    assert {**again, "picture": ""} == {**first, "picture": ""}


def files_of(pictures):
    return probe.scan_folder(pictures, making.SIDE).files


def test_the_answers_are_those_of_the_model_in_the_contracts_views(shelf, pictures):
    learnware, files = shelf.learnware("tiny"), files_of(pictures)
    (predictions,) = cached_predictions.predict_cached(learnware, files, list(files))
    pixels = np.stack([images.decode(path.read_bytes(), making.SIDE) for path in files.values()])
    live = learnware.live()
    both = [live.predict(view, verbose=0) for view in (pixels, pixels[:, :, ::-1])]
    assert np.abs(predictions - np.mean(both, axis=0)).max() < 1e-5


def test_more_pictures_than_are_predicted_at_once_stay_in_order(shelf, pictures, monkeypatch):
    learnware, files = shelf.learnware("tiny"), files_of(pictures)
    pixels = {making.SIDE: np.stack([images.decode(path.read_bytes(), making.SIDE) for path in files.values()])}
    whole = cached_predictions.predict_probabilities(learnware.live(), learnware.contract, pixels, list(files))
    monkeypatch.setattr(cached_predictions, "CHUNK_SIZE", 3)
    assert np.abs(cached_predictions.predict_cached(learnware, files, list(files))[0] - whole).max() < 1e-5


def test_a_learnware_that_predicts_otherwise_than_its_probe_batch_predicts_no_folder(shelf, pictures, tmp_path):
    other = making.saved(making.network(seed=1))
    making.rewritten(shelf.path("tiny"), {"model.keras": other})
    with pytest.raises(StarshiftError, match="differ by"):
        predict.predict_folder([shelf.learnware("tiny")], pictures, tmp_path / "out.csv", shelf=shelf)
    assert not (tmp_path / "out.csv").exists()


def test_a_file_that_is_there_is_not_written_over_without_force(shelf, pictures, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    learnware = shelf.learnware("tiny")
    with pytest.raises(StarshiftError, match="there already"):
        predict.predict_folder([learnware], pictures, out, shelf=shelf)
    assert out.read_text() == "mine"
    predict.predict_folder([learnware], pictures, out, shelf=shelf, force=True)
    assert out.read_text().startswith("picture,class_1,probability_1")


def answers(values, classes):
    return predict.LearnwarePredictions(classes=classes, probabilities=np.array([values], np.float32))


def test_the_average_is_over_shared_classes_by_weight():
    first, second = answers([0.6, 0.2, 0.2], ("a", "b", "c")), answers([0.1, 0.3, 0.6], ("c", "a", "d"))
    joined = predict.average_predictions([first, second], np.array([0.75, 0.25]), ["x", "y"])
    assert joined.classes == ("a", "c")
    assert joined.probabilities[0] == pytest.approx([0.75 * 0.75 + 0.25 * 0.75, 0.75 * 0.25 + 0.25 * 0.25])
    with pytest.raises(StarshiftError, match="share no classes"):
        predict.average_predictions([first, answers([0.5, 0.5], ("d", "a"))], np.array([0.5, 0.5]), ["x", "y"])


@pytest.fixture
def two(tmp_path, model, pictures, monkeypatch):
    """Two learnwares, one of blue pictures and one of red ones, by a probe of three numbers."""
    from pipeline.learnware import probe
    from pipeline.learnware.specification import fit_specification

    def seen(base, files, digests, engine="auto"):
        from pipeline.data import images

        return np.stack([images.decode(files[one].read_bytes(), 8).mean(axis=(0, 1)) for one in digests]) / 255

    monkeypatch.setattr(probe, "extract_features", seen)
    monkeypatch.setattr(probe, "load_probe_base", lambda found: found)
    random = np.random.default_rng(0)
    centres = {"blue": (0.27, 0.38, 0.85), "red": (0.85, 0.38, 0.27)}

    def of(name, classes, *, seed=0, shift=0.0, **words):
        rows = np.array(centres[name]) + random.normal(scale=0.03, size=(80, 3))
        semantic = made(name, classes, **words).semantic
        return fit_specification(
            rows, np.arange(80) % len(classes), classes, making.PROBE, making.GAMMA, semantic, points=5
        )

    made = making.specification
    monkeypatch.setattr(making, "specification", of)
    making.made(tmp_path / "shelf", model, "blue")
    making.made(tmp_path / "shelf", making.saved(making.network(seed=3)), "red")
    return store.open_store(tmp_path / "shelf")


def test_the_mixture_weighs_each_learnware_by_its_share_of_the_pictures(two, pictures):
    files = files_of(pictures)
    learnwares = [two.learnware("blue"), two.learnware("red")]
    tinted = {digest: path for digest, path in files.items() if path.name in ("0.jpg", "2.jpg", "4.jpg", "1.jpg")}
    weights, _ = predict.compare_learnwares(learnwares, tinted, two)
    assert weights == pytest.approx([0.75, 0.25], abs=0.1)
    rows = predict.build_rows(learnwares, tinted, two, "mixture")
    alone = [cached_predictions.predict_cached(one, tinted, list(tinted))[0] for one in learnwares]
    mean = weights[0] * alone[0] + weights[1] * alone[1]
    assert [float(row["probability_1"]) for row in rows.values()] == pytest.approx(mean.max(axis=1), abs=1e-5)


def test_pictures_that_a_learnware_was_not_trained_on_are_said_to_be_so(two, pictures, caplog):
    files = files_of(pictures)
    blue = two.learnware("blue")
    for names, strange in ((("1.jpg", "3.jpg", "5.jpg"), True), (("0.jpg", "2.jpg", "4.jpg"), False)):
        caplog.clear()
        predict.build_rows([blue], {digest: path for digest, path in files.items() if path.name in names}, two, None)
        assert ("blue was not trained on such pictures" in caplog.text) == strange
    assert predict.format_mismatch(blue, dict(list(files.items())[:1]), two) == ""


def test_for_each_picture_the_nearest_learnware_answers(two, pictures, tmp_path):
    learnwares = [two.learnware("blue"), two.learnware("red")]
    out = predict.predict_folder(learnwares, pictures, tmp_path / "out.csv", shelf=two, by="picture")
    rows = rows_of(out)
    assert [rows[f"{n}.jpg"]["learnware"] for n in range(6)] == ["blue", "red"] * 3


def test_the_task_explains_what_is_missing(shelf, pictures, tmp_path, capsys):
    folder = str(shelf.folder)
    for flags, words in (
        ({"images": str(pictures)}, "Which learnware?"),
        ({"learnware": ["tiny"]}, "Which pictures?"),
        ({"learnware": ["huge"], "images": str(pictures)}, "There is no learnware 'huge'"),
        ({"learnware": ["../tiny"], "images": str(pictures)}, "Unusable name"),
        ({"learnware": ["tiny"], "images": str(tmp_path / "none")}, "no such folder"),
        ({"learnware": ["tiny"], "images": str(pictures), "by": "mixture"}, "one of two ways"),
    ):
        with pytest.raises(SystemExit):
            task(Context(), store=folder, out=str(tmp_path / "x.csv"), **flags)
        assert words in capsys.readouterr().err and not (tmp_path / "x.csv").exists()
    task(Context(), store=folder, out=str(tmp_path / "x.csv"), learnware=["tiny"], images=str(pictures))
    assert "9 pictures, 1 of them unreadable" in capsys.readouterr().out


def test_answers_are_probabilities(shelf):
    learnware = shelf.learnware("tiny")
    found = cached_predictions.predict_probe(learnware.live(), learnware.contract, making.pictures())
    assert found.dtype == np.float32 and np.allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_learnware_is_asked_of_a_photo_as_a_run_is(shelf, pictures, capsys):
    task(Context(), run=f"store:{shelf.folder}/tiny", images=str(pictures / "1.jpg"), json=True)
    answer = json.loads(capsys.readouterr().out)
    (record,) = answer["pictures"]
    one = shelf.learnware("tiny")
    expected = cached_predictions.predict_cached(one, {"d": pictures / "1.jpg"}, ("d",))[0][0]
    assert answer["run"].endswith("/tiny") and record["unlike_training"] is None
    assert {each["class"]: each["probability"] for each in record["classes"]} == pytest.approx(
        dict(zip(one.contract.classes, expected, strict=True)), abs=1e-5
    )
