"""Exports the model of a run to another format, and checks there that it answers as in Keras."""

import contextlib
import importlib.util
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.data import images
from pipeline.data.picture_files import list_pictures
from pipeline.data.pixel_cache import read_cached_pixels
from pipeline.data.subsets import select_evenly
from pipeline.errors import StarshiftError, require, require_name
from pipeline.files import read_json, write_json
from pipeline.logs import silence_stderr
from pipeline.models.backend import require_tensorflow
from pipeline.models.inference_engines import time_fastest
from pipeline.runs.load import Run, load_model
from pipeline.runs.novelty import find_digests
from pipeline.synthetic import world
from pipeline.training.export import PARITY_SAMPLE_SIZE, PROBABILITY_TOLERANCE

log = logging.getLogger(__name__)
CALIBRATION_PICTURES = 100
"""Pictures that the ranges of int8 are measured on."""

Predict = Callable[[np.ndarray], np.ndarray]
"""From pictures (n, size, size, 3) uint8 to probabilities (n, classes) float32."""


@dataclass(frozen=True, kw_only=True)
class ModelFormat:
    """A format of models.

    Args:
        suffix: of the file; empty where a model is a folder.
        write: writes a Keras model to a path; with pictures, in int8 whose ranges are measured on them.
        load: returns the model at a path as a function.
        packages: optional ones that it needs.
        int8_packages: that int8 needs besides; None where the format has no int8.
    """

    suffix: str
    write: Callable[[Any, Path, np.ndarray | None], None]
    load: Callable[[Path], Predict]
    packages: tuple[str, ...] = ()
    int8_packages: tuple[str, ...] | None = ()


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """An exported model.

    Args:
        path: of the file or folder.
        bytes: of all its files.
        difference: largest one of a probability from Keras's, on the sample.
        pictures: of the sample.
        agreement: share of the sample with the same likeliest class.
        pictures_per_second: of the format, a batch of PARITY_SAMPLE_SIZE at a time.
        keras_pictures_per_second: of Keras, on the same pictures.
    """

    path: Path
    bytes: int
    difference: float
    pictures: int
    agreement: float
    pictures_per_second: float
    keras_pictures_per_second: float


def _write_saved_model(model: Any, path: Path, sample: np.ndarray | None) -> None:
    model.export(str(path), format="tf_saved_model", verbose=False)


def _load_saved_model(path: Path) -> Predict:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    (name,) = loaded.signatures["serving_default"].structured_input_signature[1]

    def predict(pixels: np.ndarray) -> np.ndarray:
        # Looked up here, since a signature does not keep its model alive.
        (probabilities,) = loaded.signatures["serving_default"](**{name: tf.constant(pixels)}).values()
        return np.asarray(probabilities)

    return predict


def _write_onnx(model: Any, path: Path, sample: np.ndarray | None) -> None:
    if sample is None:
        _convert_to_onnx(model, path)
        return
    pictures = sample
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Gives onnxruntime one picture after the other."""

        def __init__(self, name: str) -> None:
            self.items = iter([{name: one[None]} for one in pictures])

        def get_next(self) -> dict[str, np.ndarray] | None:
            """See onnxruntime."""
            return next(self.items, None)

    with tempfile.TemporaryDirectory() as place:
        whole, ready = Path(place) / "whole.onnx", Path(place) / "ready.onnx"
        _convert_to_onnx(model, whole)
        quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)  # else it needs sympy
        quantization.quantize_static(str(ready), str(path), Reader(model.inputs[0].name), per_channel=True)


def _convert_to_onnx(model: Any, path: Path) -> None:
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # tf2onnx 1.17 looks for names that NumPy 2 no longer has
        model.export(str(path), format="onnx", verbose=False)


def _load_onnx(path: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: np.asarray(session.run(None, {name: pixels})[0])


def _write_tflite(model: Any, path: Path, sample: np.ndarray | None) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as place:
        _write_saved_model(model, Path(place), None)
        converter = tf.lite.TFLiteConverter.from_saved_model(place)
        if sample is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([one[None]] for one in sample)
        path.write_bytes(converter.convert())


def _load_tflite(path: Path) -> Predict:
    import tensorflow as tf

    with warnings.catch_warnings():
        # TensorFlow 2.21 still has the interpreter that it announced to move to ai_edge_litert in 2.20.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=os.cpu_count())

    def predict(pixels: np.ndarray) -> np.ndarray:
        place = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(place, pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, pixels)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return predict


def _write_openvino(model: Any, path: Path, sample: np.ndarray | None) -> None:
    import openvino

    path.mkdir()
    with tempfile.TemporaryDirectory() as place:
        _write_saved_model(model, Path(place), None)
        converted = openvino.convert_model(place)
    if sample is not None:
        import nncf

        pictures = nncf.Dataset(list(sample), lambda one: one[None])
        converted = nncf.quantize(converted, pictures, subset_size=len(sample))
    openvino.save_model(converted, path / "model.xml", compress_to_fp16=False)


def _load_openvino(path: Path) -> Predict:
    import openvino

    # float32: on some processors OpenVINO would compute in bfloat16.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(path / "model.xml", "CPU", options)
    return lambda pixels: np.asarray(compiled(pixels)[0])


FORMATS = {
    "onnx": ModelFormat(
        suffix=".onnx", write=_write_onnx, load=_load_onnx, packages=("tf2onnx", "onnx", "onnxruntime")
    ),
    "tflite": ModelFormat(suffix=".tflite", write=_write_tflite, load=_load_tflite),
    "openvino": ModelFormat(suffix="", write=_write_openvino, load=_load_openvino, int8_packages=("nncf",)),
    "savedmodel": ModelFormat(suffix="", write=_write_saved_model, load=_load_saved_model, int8_packages=None),
}


def find_format(name: str, *, int8: bool) -> ModelFormat:
    """Finds a format, before anything is loaded.

    Raises:
        StarshiftError: no such format, it has no int8, a package is missing, or the backend is not TensorFlow.
    """
    require_name(name, FORMATS, "There is no such format.", expected=f"--format {' | '.join(FORMATS)}")
    found = FORMATS[name]
    if int8 and found.int8_packages is None:
        raise StarshiftError(f"The format {name} has no int8.", expected="onnx, tflite or openvino with --int8",
                             received=f"{name} --int8")  # fmt: skip
    require_tensorflow("invoke export", "unset KERAS_BACKEND; a model that JAX trained loads in TensorFlow, too")
    needed = (*found.packages, *((found.int8_packages or ()) if int8 else ()))
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    require(not missing, f"The format {name} needs packages that are not installed.", expected=", ".join(needed),
            received=f"without {', '.join(missing)}", remedy=paths.format_install_command("export"))  # fmt: skip
    return found


def build_name(name: str, source: str, *, int8: bool) -> str:
    """Builds the name of an exported model, such as model-int8.onnx or final-openvino.

    Args:
        name: of the format.
        source: name of the Keras model.
        int8: whether it is quantised.
    """
    stem, suffix = Path(source).stem + "-int8" * int8, FORMATS[name].suffix
    return stem + suffix if suffix else f"{stem}-{name}"


def load_sample(run: Run, size: int, count: int, folder: Path | None = None) -> np.ndarray | None:
    """Loads pictures to compare and to calibrate on, (at most count, size, size, 3) uint8.

    Args:
        run: its training pictures are taken, from this machine's cache.
        size: their side.
        count: how many.
        folder: of other pictures, in place of the training pictures.

    Returns:
        None where the training pictures are not on this machine.
    """
    if folder is not None:
        found = list(list_pictures(folder).values())
        require(found, f"There is no picture in {folder}.", expected="a folder of pictures", received="none")
        chosen = [found[place] for place in select_evenly(len(found), count)]
        decoded = [pixels for path in chosen if (pixels := _decode(path, size)) is not None]
        require(decoded, f"No picture in {folder} can be read.", expected="pictures", received=f"{len(chosen)} files")
        return np.stack(decoded)
    digest_of = find_digests(run)
    digests = [digest_of[name] for name in run.folds.index if name in digest_of]
    chosen = list(dict.fromkeys(digests[place] for place in select_evenly(len(digests), count)))
    return read_cached_pixels(size, chosen) if chosen else None


def _decode(path: Path, size: int) -> np.ndarray | None:
    """Decodes a picture (size, size, 3) uint8; a warning where it cannot be read."""
    try:
        return images.decode(path.read_bytes(), size)
    except (images.UnreadableImageError, OSError) as error:
        log.warning("  warning: %s cannot be read: %s", path.name, error)
        return None


def export_model(
    run: Run, source: Path, name: str, out: Path, *, int8: bool = False, folder: Path | None = None
) -> ExportedModel:
    """Exports a saved Keras model, and writes its card beside it.

    Args:
        run: the model's.
        source: model.keras or final.keras of the run.
        name: of the format.
        out: the file or folder; one that is there is replaced.
        int8: quantise weights and activations, with ranges measured on pictures.
        folder: of pictures to measure on, in place of the training pictures.

    Raises:
        StarshiftError: see `find_format`; int8 without pictures; or the export does not predict what Keras predicts.
    """
    found = find_format(name, int8=int8)

    model = load_model(source)
    size = model.input_shape[1]
    sample = load_sample(run, size, CALIBRATION_PICTURES, folder)
    require(sample is not None or not int8, "int8 wants pictures to measure ranges on.", expected="--images FOLDER",
            received="no training pictures on this machine")  # fmt: skip
    if sample is None:
        sample = np.stack([images.resize(world.draw_picture(label, 0, 0), size) for label in range(PARITY_SAMPLE_SIZE)])
    model.predict_on_batch(sample[:1])  # Keras (3.15.1) takes the dtype of an input from the first call
    with _replace_whole(out) as partial, silence_stderr():
        found.write(model, partial, sample if int8 else None)
        exported = _compare(model, found.load(partial), sample[:PARITY_SAMPLE_SIZE], partial, int8=int8)
    card = read_json(source.with_suffix(".json")) or {"run": run.folder.name, "classes": run.classes}
    card.pop("example", None)
    kept = {"format": name, "int8": int8, "bytes": exported.bytes}
    kept["differences"] = {"from_keras": exported.difference, **card.get("differences", {})}
    write_json(out.with_name(f"{out.name}.json"), {**card, "model": out.name, **kept})
    return replace(exported, path=out)


def _compare(model: Any, predict: Predict, sample: np.ndarray, path: Path, *, int8: bool) -> ExportedModel:
    """Compares an exported model with Keras's, and measures both.

    Raises:
        StarshiftError: without int8, probabilities differ by more than PROBABILITY_TOLERANCE.
    """
    expected, received = model.predict_on_batch(sample), predict(sample)
    difference, tolerance = float(np.abs(expected - received).max()), PROBABILITY_TOLERANCE["float32"]
    if not int8 and not difference <= tolerance:
        raise StarshiftError("The exported model does not predict what Keras predicts.",
                             expected=f"probabilities that differ by at most {tolerance}", received=f"{difference:.2g}",
                             remedy="another --format")  # fmt: skip
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return ExportedModel(
        path=path,
        bytes=sum(one.stat().st_size for one in files),
        difference=difference,
        pictures=len(sample),
        agreement=float((expected.argmax(axis=1) == received.argmax(axis=1)).mean()),
        pictures_per_second=len(sample) / time_fastest(lambda: predict(sample)),
        keras_pictures_per_second=len(sample) / time_fastest(lambda: model.predict_on_batch(sample)),
    )


@contextlib.contextmanager
def _replace_whole(path: Path) -> Iterator[Path]:
    """Gives a path beside this one to write a file or a folder to, and renames it at the end."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as place:
        partial = Path(place) / path.name
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        partial.replace(path)


def format_exported(exported: ExportedModel) -> str:
    """Formats size, parity and speed in a line."""
    ratio = exported.pictures_per_second / exported.keras_pictures_per_second
    return (
        f"{exported.bytes / 1e6:.1f} MB, {exported.pictures_per_second:.0f} pictures/s ({ratio:.1f} times Keras), "
        f"probabilities differ by at most {exported.difference:.1e} from Keras's, "
        f"the same class for {exported.agreement:.0%} of {exported.pictures} pictures"
    )
