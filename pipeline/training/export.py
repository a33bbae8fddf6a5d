"""Exports the model of a run, and checks that it predicts from pixels what was predicted from the cache (parity check).

Keras is imported inside functions: only the process that builds the model pays for it.
"""

import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import subprocesses
from pipeline.data.subsets import select_evenly
from pipeline.errors import StarshiftError
from pipeline.files import open_arrays, replace_atomic, write_atomic
from pipeline.models.base import Base
from pipeline.models.heads import Head
from pipeline.models.inference_engines import FEATURE_TOLERANCE, compute_relative_difference

MODEL_FILE = "model.keras"
"""The one model of a run, in its folder: all folds averaged, from pictures of one size to probabilities."""
HEADS_FILE = "heads.npz"
"""The heads of a run on features, in its folder."""
NEW_DEFAULTS: dict[str, Any] = {
    "input_axes": None, "output_axes": None, "renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99,
}  # fmt: skip
"""Entries of initializers and BatchNormalization that Keras 3.15.1 writes and 3.13.2 refuses, with their defaults."""
PARITY_SAMPLE_SIZE = 16
PROBABILITY_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 5e-2}
"""Largest difference of a probability, by what was rounded: nothing, activations kept as float16, the arithmetic."""


class PrecisionError(StarshiftError):
    """bfloat16 is too coarse for these heads; float32 may do."""


def select_positions(count: int) -> np.ndarray:
    """Selects at most PARITY_SAMPLE_SIZE of `count` pictures, spread evenly, so that many shards are checked."""
    return select_evenly(count, PARITY_SAMPLE_SIZE)


def check_features(live: np.ndarray, cached: np.ndarray, precision: str, step: str) -> None:
    """Compares features (n, ...) from pixels with cached ones.

    Args:
        live: from pixels.
        cached: from the cache.
        precision: what was rounded on the way to the cached ones, a key of FEATURE_TOLERANCE.
        step: names the place in the error.

    Raises:
        StarshiftError: they differ by more than FEATURE_TOLERANCE; a PrecisionError for bfloat16.
    """
    precision, difference = _find_precision(precision), compute_relative_difference(cached, live)
    _require_parity(
        difference,
        FEATURE_TOLERANCE[precision],
        precision,
        f"The live network does not give the features that are cached ({step}).",
        "a relative difference of",
        "invoke cache --verify finds cached features that are wrong, and removes them",
    )


def check_predictions(live: np.ndarray, cached: np.ndarray, precision: str, step: str) -> float:
    """Returns the largest difference between two sets of probabilities (n, classes).

    Args:
        live: from pixels.
        cached: from cached features or activations.
        precision: what was rounded on the way to the cached ones; where Keras computes in half precision, that is it.
        step: names the place in the error.

    Raises:
        StarshiftError: it is above PROBABILITY_TOLERANCE; a PrecisionError for bfloat16.
    """
    precision, difference = _find_precision(precision), float(np.abs(live - cached).max())
    _require_parity(
        difference,
        PROBABILITY_TOLERANCE[precision],
        precision,
        f"The live network does not predict what the cache predicts ({step}).",
        "probabilities that differ by",
        "--engine openvino (or keras) computes features in float32"
        if precision == "bfloat16"
        else "invoke cache --verify; if the cache is whole this is a bug of ours",
    )
    return difference


def _require_parity(
    difference: float, tolerance: float, precision: str, message: str, measure: str, remedy: str
) -> None:
    if difference <= tolerance:  # false for NaN, too
        return
    raise (PrecisionError if precision == "bfloat16" else StarshiftError)(
        message,
        expected=f"{measure} at most {tolerance} ({precision})",
        received=f"{difference:.2g}",
        remedy=remedy,
    )


def _find_precision(precision: str) -> str:
    """Returns the precision that decides the tolerance: bfloat16 where Keras itself computes in half precision."""
    import keras

    return precision if keras.config.dtype_policy().compute_dtype == "float32" else "bfloat16"


class ModelExporter:
    """Builds and saves the live model in a process of its own, which imports Keras while the heads are trained."""

    def __init__(self) -> None:
        self.process = subprocesses.start_module(
            "pipeline.training.export", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def begin(self, bases: Sequence[Base]) -> None:
        """Starts building the bases, in the order in which their features are concatenated."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `finish` raises the error that ended the process
            self.process.stdin.write(json.dumps([asdict(base) for base in bases]) + "\n")
            self.process.stdin.flush()

    def finish(
        self,
        folder: Path,
        heads: Sequence[Head],
        pixels: Mapping[int, np.ndarray],
        cached: np.ndarray,
        precision: str,
    ) -> dict[str, float]:
        """Puts the heads on, runs `check_parity`, and saves model.keras in the run's folder.

        Returns:
            Entries of metrics.json: `parity_difference`; and where bases differ in size `resize_difference`, the
            largest difference of a probability from resizing inside the model.
        """
        write_heads(folder / HEADS_FILE, heads)
        arrays = {f"pixels-{size}": values for size, values in pixels.items()}
        path = folder / "assembly.npz"
        np.savez(path, cached=cached, **arrays)  # type: ignore[arg-type]
        output, errors = self.process.communicate(json.dumps([precision, str(folder)]) + "\n")
        path.unlink()
        answer = json.loads(
            subprocesses.parse_output(
                self.process.returncode, output, errors, failed="The live model could not be built."
            )
        )
        if "coarse" in answer:
            raise PrecisionError.from_json(answer["coarse"])
        return {name: float(value) for name, value in answer.items()}

    def stop(self) -> None:
        """Ends the process, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def build_averaged_model(
    bases: Sequence[Base], heads: Sequence[Head], extractors: Sequence[Any] | None = None, *, resized: bool = False
) -> Any:
    """Builds a keras.Model from uint8 pictures to the heads' mean probabilities.

    Args:
        bases: in the order in which their features are concatenated.
        heads: one a fold.
        extractors: built before; None builds them.
        resized: take one input of the largest size and resize it inside; else one input a distinct size.
    """
    import keras

    from pipeline.training.networks import apply_head, build_head_layers

    sizes = sorted({base.size for base in bases})
    inputs = [build_input(size) for size in (sizes[-1:] if resized else sizes)]
    pixels = dict(zip(reversed(sizes), reversed(inputs), strict=False))
    pixels |= {size: _resize_inside(inputs[-1], size) for size in sizes if size not in pixels}
    pairs = zip(bases, extractors or build_extractors(bases), strict=True)
    parts = [extractor(pixels[base.size]) for base, extractor in pairs]
    features = keras.layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
    outputs = [apply_head(features, build_head_layers(head, f"fold{number}")) for number, head in enumerate(heads)]
    return keras.Model(inputs, build_average(outputs), name="starshift")


def build_input(size: int) -> Any:
    """Builds the input of a model: pictures (n, size, size, 3) uint8."""
    import keras

    return keras.Input((size, size, 3), dtype="uint8", name=f"pixels_{size}")


def _resize_inside(pixels: Any, size: int) -> Any:
    """Resizes pictures inside a model; bilinear without antialiasing, which every export format has."""
    import keras

    # Rounded to uint8, as pictures are decoded; an extractor would truncate.
    resized = keras.layers.Resizing(size, size, interpolation="bilinear", name=f"resized_{size}")(pixels)
    return keras.ops.cast(keras.ops.round(resized), "uint8")


def build_average(outputs: Sequence[Any]) -> Any:
    """Builds the mean of probabilities (n, classes) each."""
    import keras

    return keras.layers.Average(name="probabilities")(outputs) if len(outputs) > 1 else outputs[0]


def build_extractors(bases: Sequence[Base]) -> list[Any]:
    """Builds the live extractors of the bases, each with a distinct name: one base may be pooled in two ways."""
    from pipeline.models.build import build_extractor

    extractors = [build_extractor(base) for base in bases]
    for number, extractor in enumerate(extractors):
        if any(extractor.name == other.name for other in extractors[:number]):
            extractor.name = f"{extractor.name}_{number}"
    return extractors


def check_parity(
    model: Any, heads: Sequence[Head], pixels: Mapping[int, np.ndarray], cached: np.ndarray, precision: str
) -> float:
    """Returns the largest difference between the predictions of the live model and of the heads on cached features.

    Args:
        model: from `build_averaged_model`.
        heads: one a fold, the same ones.
        pixels: pictures (n, size, size, 3) uint8, by size.
        cached: their features (n, width) in the cache, those of all bases side by side.
        precision: of the cached features.

    Raises:
        StarshiftError: see `check_features` and `check_predictions`.
    """
    import keras

    features = model.get_layer("fold0_dense0").input
    both = keras.Model(model.inputs, [features, model.output])
    live, predicted = map(np.asarray, both([pixels[size] for size in sorted(pixels)], training=False))
    check_features(live, cached, precision, "every base")
    expected = np.mean([head.probabilities(cached) for head in heads], axis=0)
    return check_predictions(predicted, expected, precision, "the heads on cached features")


def _compare_resized(separate: Any, single: Any, pixels: Mapping[int, np.ndarray]) -> float:
    """Returns the largest difference of a probability between pictures decoded at each size and resized inside."""
    shown = [pixels[size] for size in sorted(pixels)]
    each, one = (np.asarray(out) for out in (separate(shown, training=False), single(shown[-1], training=False)))
    return float(np.abs(each - one).max())


def save_model(model: Any, path: Path) -> None:
    """Saves the model in Keras's format, atomically, so that Kaggle's Keras (3.13.2) loads it, too."""
    with replace_atomic(path) as partial, tempfile.TemporaryDirectory(dir=path.parent) as place:
        saved = Path(place) / path.name
        model.save(saved)
        with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(partial, "w") as older:
            for member in archive.infolist():
                content = archive.read(member)
                if member.filename == "config.json":
                    content = json.dumps(drop_new_defaults(json.loads(content))).encode()
                older.writestr(member, content)


def drop_new_defaults(config: Any) -> Any:
    """Drops from a model's config (JSON values) the entries of NEW_DEFAULTS that say nothing else."""
    if isinstance(config, list):
        return [drop_new_defaults(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        name: drop_new_defaults(value)
        for name, value in config.items()
        if name not in NEW_DEFAULTS or value != NEW_DEFAULTS[name]
    }


def main() -> None:
    """Imports Keras, builds the bases, waits for the heads, and prints the result as JSON; see `ModelExporter`."""
    importlib.import_module("keras")
    bases = [Base(**values) for values in json.loads(sys.stdin.readline() or "[]")]
    extractors = build_extractors(bases)
    request = sys.stdin.readline()
    if not request:  # the run has ended without heads
        return
    precision, place = json.loads(request)
    folder = Path(place)
    with np.load(folder / "assembly.npz") as stored:
        heads = read_heads(folder / HEADS_FILE)
        pixels = {base.size: stored[f"pixels-{base.size}"] for base in bases}
        model = build_averaged_model(bases, heads, extractors)
        try:
            answer: dict[str, Any] = {
                "parity_difference": check_parity(model, heads, pixels, stored["cached"], precision)
            }
            if len(pixels) > 1:
                separate, model = model, build_averaged_model(bases, heads, extractors, resized=True)
                answer["resize_difference"] = _compare_resized(separate, model, pixels)
            save_model(model, folder / MODEL_FILE)
        except PrecisionError as error:
            answer = {"coarse": error.to_json()}
    print(json.dumps(answer))


def write_heads(path: Path, heads: Sequence[Head]) -> None:
    """Writes the heads of the folds, arrays named `head-FOLD-LAYER-PART`."""
    arrays = {
        f"head-{h}-{k}-{p}": a
        for h, head in enumerate(heads)
        for k, pair in enumerate(head.layers)
        for p, a in enumerate(pair)
    }
    write_atomic(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read_heads(path: Path) -> list[Head]:
    """Reads the heads of the folds."""
    layers: dict[int, dict[int, list[np.ndarray]]] = {}
    with open_arrays(path) as stored:
        for name in sorted(stored.files):
            _, head, layer, _ = name.split("-")
            layers.setdefault(int(head), {}).setdefault(int(layer), []).append(stored[name])
    return [Head(tuple((w, b) for _, (w, b) in sorted(pairs.items()))) for _, pairs in sorted(layers.items())]


if __name__ == "__main__":
    sys.exit(subprocesses.run_main(main))
