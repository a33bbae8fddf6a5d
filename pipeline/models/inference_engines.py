"""Which engine runs a base fastest on this machine: measured once on a few batches of real pictures, and remembered.

What runs a frozen base: Keras, or OpenVINO in float32 or bfloat16. Each turns uint8 pictures into float32 features.

Pictures always go through in batches of one static size, the last one padded, so that a picture's features do not
depend on how many others there are.
"""

import functools
import json
import logging
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline import paths, subprocesses
from pipeline.errors import StarshiftError
from pipeline.files import hash_file, hash_json, read_json, write_atomic, write_json
from pipeline.models import base as bases
from pipeline.models import cuts, pooling

BATCH_SIZES = {"keras": 16, "openvino": 2, "openvino-bf16": 2}
"""Small batches stay in the processor's cache: 287 pictures/s at 2, 216 at 16 (MobileNetV2, float32, 2 cores)."""
ENGINES = ("keras", "openvino", "openvino-bf16")
MAX_FEATURES = {"float32": 1e6, "float16": 65504.0}
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


def find_precision(engine: str) -> str:
    """The arithmetic of an engine: `float32` or `bfloat16`. Engines of one precision share cached features."""
    return "bfloat16" if engine == "openvino-bf16" else "float32"


def find_usable_rows(rows: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """Returns which rows are finite and within LARGEST, (n,) bool.

    Args:
        rows: features (n, width) or maps (n, height, width, channels), float32 or float16.
        dtype: what they are cached in, `float32` or `float16`.
    """
    flat = rows.reshape(len(rows), -1)
    with np.errstate(invalid="ignore"):  # NaN compares as False, which is what is wanted
        return np.asarray((flat.max(axis=1) <= MAX_FEATURES[dtype]) & (flat.min(axis=1) >= -MAX_FEATURES[dtype]))


def require_usable(rows: np.ndarray, base: object, engine: str, dtype: str = "float32") -> None:
    """Raises a StarshiftError where features are not finite or absurdly large. See `find_usable_rows`."""
    if not (good := find_usable_rows(rows, dtype)).all():
        worst = float(np.abs(rows[~good][0].astype(np.float64)).max())
        raise StarshiftError(
            f"{base} gives features that cannot be right.",
            expected=f"finite numbers up to {MAX_FEATURES[dtype]:g}",
            received=f"{worst:g} in {np.sum(~good)} of {len(rows)} pictures, by the engine {engine}",
            remedy="see that its weights file is whole and belongs to this base"
            + ("" if engine == "keras" else "; --engine keras shows whether the engine is at fault"),
        )


def compute_relative_difference(rows: np.ndarray, reference: np.ndarray) -> float:
    """Returns the Frobenius norm of the difference of two arrays of one shape, as a share of the reference's."""
    reference = np.asarray(reference, np.float64)
    difference = float(np.linalg.norm(np.asarray(rows, np.float64) - reference))
    return difference / max(float(np.linalg.norm(reference)), 1e-12)


def pad_batch(pixels: np.ndarray, batch: int) -> np.ndarray:
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
        for start in range(0, len(pixels), BATCH_SIZES["keras"]):
            batch = pixels[start : start + BATCH_SIZES["keras"]]
            parts.append(np.asarray(self.run(pad_batch(batch, BATCH_SIZES["keras"])), np.float32)[: len(batch)])
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
        self.batch = BATCH_SIZES["openvino-bf16" if precision == "bfloat16" else "openvino"]
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
            self.queue.start_async({0: pad_batch(pixels[start : start + self.batch], self.batch)}, start)
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


log = logging.getLogger(__name__)
SAMPLE_SIZE = 64
MAX_TRIES, MAX_SECONDS = 4, 3.0
EXPORT_FILES = ("network.xml", "network.bin")
"""The files of an export; keras.json beside them holds the SHA-256 of each."""
MAX_BFLOAT16_ERROR = 0.02
"""Largest relative error (Frobenius norm, over the sample) of bfloat16 features against float32 that is accepted."""


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """An engine, and why it was taken.

    Args:
        engine: one of ENGINES.
        pictures_per_second: measured, by engine; empty where the engine was asked for.
        relative_error: of each engine's features against Keras's float32, by engine.
    """

    engine: str
    pictures_per_second: dict[str, float] = field(default_factory=dict)
    relative_error: dict[str, float] = field(default_factory=dict)


def build_extractor_spec(base: bases.Base) -> dict[str, Any]:
    """Everything that an extractor's values depend on; plain JSON values.

    Raises:
        StarshiftError: second moments in directions that are not here.
    """
    found = {
        "base": base.name,
        "cut": base.cut,
        "pooling": base.pooling,
        "weights": bases.compute_weights_digest(base),
        "size": base.size,
        "preprocessing": bases.find_preprocessing(base),
    }
    return found | {"directions": pooling.compute_directions_digest(base)} if base.by_moments else found


def find_engine_folder(base: bases.Base, keeping: bases.Base | None = None) -> Path:
    """Where a base's export and measurement lie; of one that gives the maps at a cut, too, where there is `keeping`."""
    # 1 is a version: raising it exports and measures every base again.
    spec = {"export": 1, **build_extractor_spec(base)} | ({"keeping": keeping.cut} if keeping else {})
    return paths.cache_folder("engines") / hash_json(spec)[:16]


def describe_machine() -> dict[str, Any]:
    """What a measurement holds for: processor, cores and library versions."""
    versions = {}
    for library in ("openvino", "tensorflow", "tensorflow-cpu", "keras"):
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return {"processor": model, "cores": os.cpu_count(), "gpu": has_gpu(), **versions}


def has_gpu() -> bool:
    """Whether an NVIDIA GPU is visible; asked without importing TensorFlow."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def check_engine(wanted: str) -> None:
    """Raises a StarshiftError where this is neither `auto` nor one of ENGINES."""
    if wanted not in ("auto", *ENGINES):
        raise StarshiftError("Unknown engine.", expected=" | ".join(("auto", *ENGINES)), received=wanted)


def choose_engine(
    base: bases.Base,
    sample: Callable[[], np.ndarray],
    wanted: str = "auto",
    keeping: bases.Base | None = None,
) -> EngineChoice:
    """The engine for a base: the one asked for, the one remembered, or the fastest one measured now.

    Args:
        base: what is to be run.
        sample: gives pictures (n, size, size, 3) uint8 to measure on, n >= 1; asked only when they are needed.
        wanted: `auto` or one of ENGINES.
        keeping: as in `load_engine`; an engine that is measured now is measured with it.

    Raises:
        StarshiftError: an engine that does not exist or cannot run here.
    """
    check_engine(wanted)
    if wanted != "auto":
        if wanted == "openvino-bf16" and not has_bfloat16():
            raise StarshiftError("This processor has no bfloat16.", remedy="--engine openvino")
        return EngineChoice(engine=wanted)
    # The OpenVINO engines run on the CPU only (engines.py), so there is nothing to compare with.
    if has_gpu():
        return EngineChoice(engine="keras")
    here = describe_machine()
    if (remembered := _read_choice(base, here)) is not None:
        return remembered
    choice = _benchmark_engines(base, sample(), keeping)
    write_json(find_engine_folder(base) / "engine.json", {"machine": here, **vars(choice)})
    return choice


def _read_choice(base: bases.Base, here: dict[str, Any]) -> EngineChoice | None:
    """Reads the choice that was measured on this machine; None where there is none, or its file is damaged."""
    stored = read_json(find_engine_folder(base) / "engine.json")
    # A new library version or processor counts as another machine and is measured again.
    if not isinstance(stored, dict) or stored.pop("machine", None) != here or stored.get("engine") not in ENGINES:
        return None
    try:
        return EngineChoice(**stored)
    except TypeError:
        return None


def load_engine(base: bases.Base, choice: EngineChoice, keeping: bases.Base | None = None) -> Engine:
    """The engine, ready to run.

    Args:
        base: what is to be run.
        choice: from `choose_engine`.
        keeping: the base up to a cut; the engine's rows are the features and then the maps there, flat.
    """
    if choice.engine == "keras":
        import keras

        from pipeline.models.build import build_extractor

        keras.utils.clear_session(free_memory=False)  # layers that Keras names by counting are counted from the first
        return KerasEngine(lambda: build_extractor(base, keeping))
    import_openvino()
    return OpenVINOEngine(_ensure_export(base, keeping), find_precision(choice.engine))


def _ensure_export(base: bases.Base, keeping: bases.Base | None) -> Path:
    """Returns the path of the exported network, which is exported again unless its files have their digests.

    Raises:
        StarshiftError: the export is damaged as soon as it is written.
    """
    folder = find_engine_folder(base, keeping)
    if not is_export_intact(folder):
        if (folder / EXPORT_FILES[0]).exists():
            log.warning(
                "  warning: the exported network of %s is damaged, or older than its digests: exported again. "
                "invoke cache --verify checks what it may have computed",
                base,
            )
        _run_export(base, keeping)
    if not is_export_intact(folder):
        raise StarshiftError(
            f"The exported network of {base} is damaged.",
            expected=f"{' and '.join(EXPORT_FILES)} with the digests in keras.json",
            received=paths.format_path(folder),
            remedy="check the disk; --engine keras does without an export",
        )
    return folder / EXPORT_FILES[0]


def is_export_intact(folder: Path) -> bool:
    """Whether the exported files in a folder have the digests that were written with them."""
    stored = read_json(folder / "keras.json")
    digests = stored.get("sha256") if isinstance(stored, dict) else None
    if not isinstance(digests, dict):
        return False
    return all((folder / name).is_file() and hash_file(folder / name) == digests.get(name) for name in EXPORT_FILES)


def _benchmark_engines(base: bases.Base, sample: np.ndarray, keeping: bases.Base | None) -> EngineChoice:
    """Measures every engine that can run here, and takes the fastest whose features are good enough."""
    folder = find_engine_folder(base, keeping)
    # np.resize repeats pictures where there are fewer than SAMPLE, so speeds stay comparable.
    pixels = np.resize(sample, (SAMPLE_SIZE, *sample.shape[1:]))
    write_atomic(folder / "sample.npy", lambda file: np.save(file, pixels))
    _run_export(base, keeping)
    exported = read_json(folder / "keras.json")
    speed = {"keras": exported["pictures_per_second"]}
    error = {"keras": 0.0}
    reference = np.load(folder / "reference.npy")
    require_usable(reference, base, "keras")
    if exported["exported"]:
        # Only the features decide: a bfloat16 engine keeps no maps at the cut (features/extractor.py).
        width = reference.shape[-1] - (math.prod(cuts.find_cut_shape(keeping)) if keeping else 0)
        reference = reference[..., :width]
        for name in ("openvino", "openvino-bf16") if has_bfloat16() else ("openvino",):
            engine = OpenVINOEngine(_ensure_export(base, keeping), find_precision(name))
            # This pass also warms the engine up before it is timed.
            features = engine(pixels)[..., :width]
            speed[name] = len(pixels) / time_fastest(functools.partial(engine, pixels))
            error[name] = compute_relative_difference(features, reference)
    good = [name for name in speed if error[name] <= MAX_BFLOAT16_ERROR]
    best = max(good, key=lambda name: speed[name])
    report = ", ".join(f"{name} {speed[name]:.0f}/s (error {error[name]:.1e})" for name in speed)
    log.info("engine    %s runs %s: %s", best, base, report)
    return EngineChoice(engine=best, pictures_per_second=speed, relative_error=error)


def time_fastest(work: Callable[[], object]) -> float:
    """Seconds of the quickest of a few tries: one that something else had disturbed is remembered for good."""
    tries: list[float] = []
    while len(tries) < MAX_TRIES and sum(tries) < MAX_SECONDS:
        started = time.perf_counter()
        work()
        tries.append(time.perf_counter() - started)
    return min(tries)


def _run_export(base: bases.Base, keeping: bases.Base | None = None) -> None:
    """Exports the base in a process of its own, which measures Keras, too, where a sample lies in the folder."""
    pair = [asdict(base), asdict(keeping) if keeping else None]
    folder = find_engine_folder(base, keeping)
    folder.mkdir(parents=True, exist_ok=True)
    subprocesses.run_module(
        "pipeline.models.openvino_export",
        *(json.dumps(pair), str(folder)),
        failed=f"{base} could not be prepared.",
        remedy="--engine keras shows where it fails",
    )
