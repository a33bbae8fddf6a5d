"""An exported model answers as the run's, or the export says why not."""

import importlib.util
import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from invoke import Context

from pipeline.cli.inspect import export
from pipeline.data import images
from pipeline.errors import StarshiftError
from pipeline.models.small_cnn import build_small_cnn
from pipeline.runs import model_formats
from tests.conftest import encoded
from tests.written import written


@pytest.fixture
def folder(tmp_path):
    """The folder of a finished run, with a small network as its model, and its card."""
    path = written(sure=1.0)
    keras.utils.set_random_seed(0)
    build_small_cnn(48, 4, 0.0).save(path / "model.keras")
    (path / "model.json").write_text(json.dumps({"model": "model.keras", "classes": list("abcd"), "example": []}))
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        (tmp_path / "pictures" / f"{number:02}.png").write_bytes(encoded(images.resize(noise, 48), "PNG"))
    return path


@pytest.mark.parametrize("name", list(model_formats.FORMATS))
def test_an_exported_model_predicts_what_the_run_predicts(name, folder, tmp_path, capsys):
    if name == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    export(Context(), run=folder.name, format=name)
    path = folder / "exports" / model_formats.build_name(name, "model.keras", int8=False)
    assert str(path.name) in capsys.readouterr().out
    pixels = np.stack([images.decode(one.read_bytes(), 48) for one in sorted((tmp_path / "pictures").iterdir())])
    expected = keras.models.load_model(folder / "model.keras").predict(pixels, verbose=0)
    np.testing.assert_allclose(model_formats.FORMATS[name].load(path)(pixels), expected, atol=1e-5)
    card = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert card["classes"] == list("abcd") and "example" not in card and card["differences"]["from_keras"] < 1e-5


def test_int8_is_smaller_and_names_the_same_classes(folder, tmp_path, capsys):
    for int8 in (False, True):
        export(Context(), run=folder.name, format="tflite", int8=int8, images=str(tmp_path / "pictures"))
    assert "the same class for 100% of 16 pictures" in capsys.readouterr().out.splitlines()[-1]
    whole, small = ((folder / "exports" / name).stat().st_size for name in ("model.tflite", "model-int8.tflite"))
    assert small < whole / 2


def test_int8_wants_pictures_where_the_training_pictures_are_not_here(folder, capsys):
    with pytest.raises(SystemExit):
        export(Context(), run=folder.name, format="tflite", int8=True)
    assert "--images FOLDER" in capsys.readouterr().err


def test_as_many_pictures_are_told_as_were_compared_and_broken_ones_are_left_out(folder, tmp_path, capsys):
    for path in sorted((tmp_path / "pictures").iterdir())[5:]:
        path.unlink()
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    export(Context(), run=folder.name, format="savedmodel", images=str(tmp_path / "pictures"))
    printed = capsys.readouterr().out
    assert "of 5 pictures" in printed and "broken.png cannot be read" in printed


def test_an_export_that_predicts_something_else_is_refused_and_leaves_nothing(folder, monkeypatch):
    wrong = replace(model_formats.FORMATS["tflite"], load=lambda path: lambda pixels: np.full((len(pixels), 4), 0.9))
    monkeypatch.setitem(model_formats.FORMATS, "tflite", wrong)
    with pytest.raises(SystemExit):
        export(Context(), run=folder.name, format="tflite")
    assert list((folder / "exports").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "int8", "words"),
    [
        ("coreml", False, "no such format"),
        ("onx", False, "did you mean onnx"),
        ("savedmodel", True, "has no int8"),
        ("onnx", False, "requirements-export"),
    ],
)
def test_what_a_format_cannot_do_is_said_before_anything_is_loaded(name, int8, words, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one: None if one == "tf2onnx" else find(one))
    with pytest.raises(StarshiftError, match=words):
        model_formats.find_format(name, int8=int8)


def test_a_run_without_a_final_model_says_how_to_train_it(folder, capsys):
    with pytest.raises(SystemExit):
        export(Context(), run=folder.name, format="tflite", final=True)
    assert "invoke run --final" in capsys.readouterr().err
