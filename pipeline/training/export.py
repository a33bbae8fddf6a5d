"""The whole model: live bases, the heads of all folds, their mean. Handed over only when it predicts the same."""

import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.errors import StarshiftError
from pipeline.files import replace_atomic
from pipeline.models.base import Base
from pipeline.models.heads import Head
from pipeline.subprocesses import block_interrupts
from pipeline.training.inference import PrecisionError, check_features, check_predictions


class ModelExporter:
    """The live model, built in a process of its own while the heads are still being trained.

    TensorFlow takes seconds to import and a gigabyte; so it takes them beside the training, and not here.
    """

    def __init__(self) -> None:
        with block_interrupts():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.training.export"],
                env=paths.build_child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def begin(self, bases: Sequence[Base]) -> None:
        """Says which bases are to be built, in the order in which their features are concatenated."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what the process died of is told by `finish`
            self.process.stdin.write(json.dumps([asdict(base) for base in bases]) + "\n")
            self.process.stdin.flush()

    def finish(
        self,
        folder: Path,
        heads: Sequence[Head],
        pixels: Mapping[int, np.ndarray],
        cached: np.ndarray,
        precision: str,
    ) -> float:
        """Puts the heads on, compares as `check_parity` does, and saves model.keras in the run's folder."""
        arrays = {
            f"head-{h}-{k}-{p}": a
            for h, head in enumerate(heads)
            for k, pair in enumerate(head.layers)
            for p, a in enumerate(pair)
        }
        arrays |= {f"pixels-{size}": values for size, values in pixels.items()}
        work = folder / "assembly.npz"
        np.savez(work, cached=cached, **arrays)  # type: ignore[arg-type]
        output, errors = self.process.communicate(json.dumps([precision, str(folder)]) + "\n")
        work.unlink()
        lines = output.splitlines()
        answer: Any = json.loads(lines[-1]) if lines else {"error": [errors.strip()[-2000:], "", "", ""]}
        if "coarse" in answer:
            raise PrecisionError.said(answer["coarse"])
        if "error" in answer:
            raise StarshiftError.said(answer["error"])
        return float(answer["difference"])

    def stop(self) -> None:
        """Ends the process, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def build_averaged_model(bases: Sequence[Base], heads: Sequence[Head], extractors: Sequence[Any] | None = None) -> Any:
    """A keras.Model from uint8 pictures, one input a distinct size, to the heads' mean probabilities (n, classes).

    Args:
        bases: in the order in which their features are concatenated.
        heads: one a fold.
        extractors: built before; None builds them.
    """
    import keras

    sizes = sorted({base.size for base in bases})
    inputs = {size: keras.Input((size, size, 3), dtype="uint8", name=f"pixels_{size}") for size in sizes}
    pairs = zip(bases, extractors or build_extractors(bases), strict=True)
    parts = [extractor(inputs[base.size]) for base, extractor in pairs]
    features = keras.layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
    outputs = [head.on(features, f"fold{number}") for number, head in enumerate(heads)]
    mean = keras.layers.Average(name="probabilities")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model([inputs[size] for size in sizes], mean, name="starshift")


def build_extractors(bases: Sequence[Base]) -> list[Any]:
    """The live extractors of the bases, each with a name of its own: one base may be pooled in two ways."""
    from pipeline.models.build import build_extractor

    found = [build_extractor(base) for base in bases]
    for number, extractor in enumerate(found):
        if any(extractor.name == other.name for other in found[:number]):
            extractor.name = f"{extractor.name}_{number}"
    return found


def check_parity(
    model: Any, heads: Sequence[Head], pixels: Mapping[int, np.ndarray], cached: np.ndarray, precision: str
) -> float:
    """The largest difference between what the live model and the heads on cached features predict.

    Args:
        model: from `build_averaged_model`.
        heads: one a fold, the same ones.
        pixels: pictures (n, size, size, 3) uint8, by size.
        cached: their features (n, width) in the cache, those of all bases side by side.
        precision: of the cached features.

    Raises:
        StarshiftError: features or predictions differ, see `inference.check_features` and
        `inference.check_predictions`.
    """
    import keras

    features = model.get_layer("fold0_dense0").input
    both = keras.Model(model.inputs, [features, model.output])
    live, predicted = map(np.asarray, both([pixels[size] for size in sorted(pixels)], training=False))
    check_features(live, cached, precision, "every base")
    expected = np.mean([head.probabilities(cached) for head in heads], axis=0)
    return check_predictions(predicted, expected, precision, "the heads on cached features")


def save_model(model: Any, path: Path) -> None:
    """Saves the model in Keras's format, atomically."""
    with replace_atomic(path) as partial:
        model.save(partial)


def main() -> None:
    """The process of Assembly: imports Keras, builds the bases, waits for the heads, answers in JSON."""
    importlib.import_module("keras")
    try:
        bases = [Base(**values) for values in json.loads(sys.stdin.readline() or "[]")]
        extractors = build_extractors(bases)
        order = sys.stdin.readline()
        if not order:  # the run has ended without heads
            return
        precision, place = json.loads(order)
        folder = Path(place)
        with np.load(folder / "assembly.npz") as stored:
            heads = _read_heads(stored)
            pixels = {base.size: stored[f"pixels-{base.size}"] for base in bases}
            model = build_averaged_model(bases, heads, extractors)
            difference = check_parity(model, heads, pixels, stored["cached"], precision)
        save_model(model, folder / "model.keras")
        answer: dict[str, Any] = {"difference": difference}
    except PrecisionError as error:
        answer = {"coarse": error.words}
    except StarshiftError as error:
        answer = {"error": error.words}
    print(json.dumps(answer))


def _read_heads(stored: Any) -> list[Head]:
    """The heads that Assembly.finish stored."""
    layers: dict[int, dict[int, list[np.ndarray]]] = {}
    for name in sorted(key for key in stored.files if key.startswith("head-")):
        _, head, layer, _ = name.split("-")
        layers.setdefault(int(head), {}).setdefault(int(layer), []).append(stored[name])
    return [Head(tuple((w, b) for _, (w, b) in sorted(found.items()))) for _, found in sorted(layers.items())]


if __name__ == "__main__":
    main()
