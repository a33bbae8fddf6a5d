"""What runs a frozen base: Keras, or OpenVINO in float32 or bfloat16. Each turns uint8 pictures into float32 features.

Pictures always go through in batches of one static size, the last one padded, so that a picture's features do not
depend on how many others there are.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.errors import StarshiftError

BATCH = {"keras": 16, "openvino": 2, "openvino-bf16": 2}
"""Small batches stay in the processor's cache: 287 pictures/s at 2, 216 at 16 (MobileNetV2, float32, 2 cores)."""
ENGINES = ("keras", "openvino", "openvino-bf16")
LARGEST = {"float32": 1e6, "float16": 65504.0}
"""The largest feature that is believed, by the dtype that it is cached in: published networks stay under 1e4, a flipped
exponent bit gives 1e30; 65504 is all that float16 holds."""
FEATURE_TOLERANCE = {"float32": 1e-2, "float16": 2e-2, "bfloat16": 0.5}
"""Largest relative difference of cached features from Keras's, by what was rounded. It is to tell another network, not
a coarse one: TF32 on GPUs differs by 1e-3, MobileNetV2 in a bfloat16 that was asked for by 0.19."""


class Engine(Protocol):
    """Runs one base."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features (n, width), or maps (n, height, width, channels), float32 of pictures (n, size, size, 3) uint8."""
        ...


def precision_of(engine: str) -> str:
    """The arithmetic of an engine: `float32` or `bfloat16`. Engines of one precision share cached features."""
    return "bfloat16" if engine == "openvino-bf16" else "float32"


def usable(rows: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """Returns which rows are finite and within LARGEST, (n,) bool.

    Args:
        rows: features (n, width) or maps (n, height, width, channels), float32 or float16.
        dtype: what they are cached in, `float32` or `float16`.
    """
    flat = rows.reshape(len(rows), -1)
    with np.errstate(invalid="ignore"):  # NaN compares as False, which is what is wanted
        return np.asarray((flat.max(axis=1) <= LARGEST[dtype]) & (flat.min(axis=1) >= -LARGEST[dtype]))


def require_usable(rows: np.ndarray, base: object, engine: str, dtype: str = "float32") -> None:
    """Raises a StarshiftError where a base gives features that are not finite or absurdly large. See `usable`."""
    if not (good := usable(rows, dtype)).all():
        worst = float(np.abs(rows[~good][0].astype(np.float64)).max())
        raise StarshiftError(
            f"{base} gives features that cannot be right.",
            expected=f"finite numbers up to {LARGEST[dtype]:g}",
            received=f"{worst:g} in {np.sum(~good)} of {len(rows)} pictures, by the engine {engine}",
            remedy="see that its weights file is whole and belongs to this base"
            + ("" if engine == "keras" else "; --engine keras shows whether the engine is at fault"),
        )


def relative_difference(rows: np.ndarray, reference: np.ndarray) -> float:
    """Returns the Frobenius norm of the difference of two arrays of one shape, as a share of the reference's."""
    reference = np.asarray(reference, np.float64)
    difference = float(np.linalg.norm(np.asarray(rows, np.float64) - reference))
    return difference / max(float(np.linalg.norm(reference)), 1e-12)


def padded(pixels: np.ndarray, batch: int) -> np.ndarray:
    """The pictures, with black ones after them where they do not fill a batch."""
    lacking = batch - len(pixels)
    return np.concatenate([pixels, np.zeros((lacking, *pixels.shape[1:]), np.uint8)]) if lacking else pixels


class KerasEngine:
    """A base run by Keras, on the GPU where there is one.

    Args:
        build: makes the extractor, a keras.Model from uint8 pictures to float32 features.
    """

    def __init__(self, build: Callable[[], object]) -> None:
        import tensorflow as tf

        self.model = build()
        # Not `predict`: it builds a tf.data pipeline per call and waits for it at the end (feeding.py).
        self.run = tf.function(lambda batch: self.model(batch, training=False), jit_compile=False)  # type: ignore[operator]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """See Engine."""
        parts = []
        for start in range(0, len(pixels), BATCH["keras"]):
            batch = pixels[start : start + BATCH["keras"]]
            parts.append(np.asarray(self.run(padded(batch, BATCH["keras"])), np.float32)[: len(batch)])
        return np.concatenate(parts)


class OpenVINOEngine:
    """A base run by OpenVINO on the processor, with a stream a core.

    Args:
        path: the exported network, an .xml file with its .bin beside it.
        precision: `float32` or `bfloat16`.
    """

    def __init__(self, path: Path, precision: str) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        network = core.read_model(path)
        shape = network.inputs[0].partial_shape
        self.batch = BATCH["openvino-bf16" if precision == "bfloat16" else "openvino"]
        shape[0] = self.batch
        network.reshape(shape)
        cores = os.cpu_count() or 1
        settings = {
            # Float32 must be requested: by default OpenVINO (checked with 2026.4) uses bfloat16 where the CPU has it.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "NUM_STREAMS": str(cores),
            "INFERENCE_NUM_THREADS": str(cores),
        }
        self.compiled = core.compile_model(network, "CPU", settings)
        # One request more than streams, so that a stream that finishes finds the next batch waiting.
        self.queue = openvino.AsyncInferQueue(self.compiled, cores + 1)
        self.shape = tuple(self.compiled.outputs[0].shape)[1:]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """See Engine."""
        features = np.empty((len(pixels), *self.shape), np.float32)

        def keep(request: Any, start: int) -> None:
            # The tensor is owned by the request and overwritten by its next batch, so it is copied here.
            values = request.get_output_tensor(0).data
            features[start : start + self.batch] = values[: len(pixels) - start]

        self.queue.set_callback(keep)
        for start in range(0, len(pixels), self.batch):
            self.queue.start_async({0: padded(pixels[start : start + self.batch], self.batch)}, start)
        self.queue.wait_all()
        return features


def import_openvino() -> Any:
    """The openvino module, its telemetry off.

    Raises:
        StarshiftError: it is not installed.
    """
    # None makes its import raise ImportError; OpenVINO then goes on without telemetry.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise StarshiftError(
            "OpenVINO is not installed.", remedy="pip install -r requirements.txt, or --engine keras"
        ) from error
    return openvino


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware, as OpenVINO sees it."""
    core = import_openvino().Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
