"""Runs frozen bases by Keras or OpenVINO; a benchmark chooses the fastest engine.

An engine turns uint8 pictures into float32 features. Pictures go through in batches of one static size, the last one
padded, so that a picture's features do not depend on the number of others. The choice is stored for this machine.
"""

import contextlib
import functools
import json
import logging
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline import paths, subprocesses
from pipeline.errors import StarshiftError, require_name
from pipeline.files import hash_file, hash_json, read_json, write_atomic, write_json
from pipeline.models import base as bases
from pipeline.models import cuts, pooling
from pipeline.models.backend import find_backend

log = logging.getLogger(__name__)
SAMPLE_SIZE = 64
MAX_TRIES, MAX_SECONDS = 4, 3.0
EXPORT_FILES = ("network.xml", "network.bin")
"""The files of an export; keras.json beside them holds the SHA-256 of each."""
MAX_BFLOAT16_ERROR = 0.02
"""Largest relative error (Frobenius norm, over the sample) of bfloat16 features against float32 that is accepted."""
BATCH_SIZES = {"keras": 16, "openvino": 2, "openvino-bf16": 2}
"""Small batches stay in the processor's cache: 287 pictures/s at 2, 216 at 16 (MobileNetV2, float32, 2 cores)."""
ENGINES = tuple(BATCH_SIZES)
MAX_FEATURES = {"float32": 1e6, "float16": 65504.0}
"""The largest plausible feature, by the dtype of its cache: published networks stay under 1e4, a flipped exponent bit
gives 1e30; 65504 is float16's maximum."""
FEATURE_TOLERANCE = {"float32": 1e-2, "float16": 2e-2, "bfloat16": 0.5}
"""Largest relative difference of cached features from Keras's, by what was rounded. It detects another network, not
rounding: TF32 on GPUs differs by 1e-3, MobileNetV2 in bfloat16 by 0.19."""


class Engine(Protocol):
    """A base, ready for inference."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Returns features (n, width) or maps (n, height, width, channels) float32 of (n, size, size, 3) uint8."""
        ...


def find_precision(engine: str) -> str:
    """Returns the precision of an engine: `float32` or `bfloat16`. Engines of one precision share cached features."""
    return "bfloat16" if engine == "openvino-bf16" else "float32"


def find_usable_rows(rows: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """Returns which rows are finite and within MAX_FEATURES, (n,) bool.

    Args:
        rows: features (n, width) or maps (n, height, width, channels), float32 or float16.
        dtype: of their cache, `float32` or `float16`.
    """
    flat = rows.reshape(len(rows), -1)
    with np.errstate(invalid="ignore"):  # NaN compares as False, so it is not usable
        return np.asarray((flat.max(axis=1) <= MAX_FEATURES[dtype]) & (flat.min(axis=1) >= -MAX_FEATURES[dtype]))


def require_usable(rows: np.ndarray, base: object, engine: str, dtype: str = "float32") -> None:
    """Raises a StarshiftError where features are not finite or implausibly large. See `find_usable_rows`."""
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
    """Pads pictures with black ones to a whole batch."""
    missing = batch - len(pixels)
    return np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)]) if missing else pixels


class KerasEngine:
    """Runs a base by Keras, on the GPU if there is one.

    Args:
        build: returns the extractor, a keras.Model from uint8 pictures to float32 features.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self.model = build()
        # Not `predict`: it builds a tf.data pipeline per call and waits for it at the end (keras_input.py).
        self.run = self.model.predict_on_batch
        if find_backend() == "tensorflow":
            import tensorflow as tf

            # Without XLA, which `predict_on_batch` may use, so that features stay equal to those in caches.
            self.run = tf.function(lambda batch: self.model(batch, training=False), jit_compile=False)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """See Engine."""
        size = BATCH_SIZES["keras"]
        batches = (pixels[start : start + size] for start in range(0, len(pixels), size))
        return np.concatenate(
            [np.asarray(self.run(pad_batch(batch, size)), np.float32)[: len(batch)] for batch in batches]
        )


class OpenVINOEngine:
    """Runs a base by OpenVINO on the processor, with one stream per core.

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

        def copy_batch(request: Any, start: int) -> None:
            # The tensor is owned by the request and overwritten by its next batch, so it is copied here.
            values = request.get_output_tensor(0).data
            features[start : start + self.batch] = values[: len(pixels) - start]

        self.queue.set_callback(copy_batch)
        for start in range(0, len(pixels), self.batch):
            self.queue.start_async({0: pad_batch(pixels[start : start + self.batch], self.batch)}, start)
        self.queue.wait_all()
        return features


def import_openvino() -> Any:
    """Imports openvino, its telemetry off.

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


def can_export(base: bases.Base) -> bool:
    """Returns whether OpenVINO is installed and can run a base."""
    return base.entry.openvino and has_openvino()


def has_openvino() -> bool:
    """Returns whether OpenVINO is installed."""
    try:
        import_openvino()
    except StarshiftError:
        return False
    return True


def find_float32_engine() -> str:
    """Returns the engine that computes in float32 on any machine: OpenVINO where it is installed, else Keras."""
    return "openvino" if has_openvino() else "keras"


def has_bfloat16() -> bool:
    """Returns whether this processor multiplies bfloat16 in hardware, according to OpenVINO."""
    core = import_openvino().Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """A chosen engine, and the benchmark behind it.

    Args:
        engine: one of ENGINES.
        pictures_per_second: measured, by engine; empty where the engine was requested.
        relative_error: of each engine's features against Keras's float32, by engine.
    """

    engine: str
    pictures_per_second: dict[str, float] = field(default_factory=dict)
    relative_error: dict[str, float] = field(default_factory=dict)


def build_extractor_spec(base: bases.Base) -> dict[str, Any]:
    """Returns everything that an extractor's values depend on; plain JSON values.

    Raises:
        StarshiftError: second moments in directions that are missing.
    """
    spec = {
        "base": base.identity,
        "cut": base.cut,
        "pooling": base.pooling,
        "weights": bases.compute_weights_digest(base),
        "size": base.size,
        "preprocessing": base.preprocessing,
    }
    return spec | {"directions": pooling.compute_directions_digest(base)} if base.by_moments else spec


def find_engine_folder(base: bases.Base, keeping: bases.Base | None = None) -> Path:
    """Returns the folder of a base's export and benchmark; with `keeping`, of the one that also gives maps at a cut."""
    # 1 is a version: raising it exports and measures every base again.
    spec = {"export": 1, **build_extractor_spec(base)} | ({"keeping": keeping.cut} if keeping else {})
    return paths.cache_folder("engines") / hash_json(spec)[:16]


def describe_machine() -> dict[str, Any]:
    """Describes what a benchmark is valid for: processor, cores and library versions."""
    versions = find_library_versions(("openvino", "tensorflow", "tensorflow-cpu", "keras"))
    if (backend := find_backend()) != "tensorflow":
        versions |= find_library_versions((backend,)) | {"backend": backend}
    model = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return {"processor": model, "cores": os.cpu_count(), "gpu": has_gpu(), **versions}


def find_library_versions(libraries: Iterable[str]) -> dict[str, str]:
    """Returns the versions of those libraries that are installed."""
    versions = {}
    for library in libraries:
        with contextlib.suppress(PackageNotFoundError):
            versions[library] = version(library)
    return versions


def has_gpu() -> bool:
    """Returns whether an NVIDIA GPU is visible, without importing TensorFlow."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def check_engine(engine: str, base: bases.Base | None = None) -> None:
    """Raises a StarshiftError where an engine is neither `auto` nor one of ENGINES, or cannot run a base."""
    require_name(engine, ("auto", *ENGINES), "Unknown engine.")
    if base and engine.startswith("openvino") and not base.entry.openvino:
        raise StarshiftError(f"OpenVINO cannot run {base.name}.", expected="auto | keras", received=engine)


def choose_engine(
    base: bases.Base,
    sample: Callable[[], np.ndarray],
    engine: str = "auto",
    keeping: bases.Base | None = None,
) -> EngineChoice:
    """Chooses the engine for a base: the requested one, the stored choice, or the fastest in a new benchmark.

    Args:
        base: what is to be run.
        sample: returns pictures (n, size, size, 3) uint8 for the benchmark, n >= 1; called only if it runs.
        engine: `auto` or one of ENGINES.
        keeping: as in `load_engine`; part of a new benchmark.

    Raises:
        StarshiftError: the engine does not exist or cannot run here.
    """
    check_engine(engine, base)
    if engine != "auto":
        if engine == "openvino-bf16" and not has_bfloat16():
            raise StarshiftError("This processor has no bfloat16.", remedy="--engine openvino")
        return EngineChoice(engine=engine)
    # The OpenVINO engines run on the CPU only, so there is nothing to compare with.
    if has_gpu():
        return EngineChoice(engine="keras")
    machine = describe_machine()
    if (stored := _read_choice(base, machine)) is not None:
        return stored
    choice = _benchmark_engines(base, sample(), keeping)
    write_json(find_engine_folder(base) / "engine.json", {"machine": machine, **vars(choice)})
    return choice


def _read_choice(base: bases.Base, machine: dict[str, Any]) -> EngineChoice | None:
    """Reads the choice of a benchmark on this machine; None where there is none, or its file is damaged."""
    stored = read_json(find_engine_folder(base) / "engine.json")
    # A new library version or processor counts as another machine and is measured again.
    if not isinstance(stored, dict) or stored.pop("machine", None) != machine or stored.get("engine") not in ENGINES:
        return None
    try:
        return EngineChoice(**stored)
    except TypeError:
        return None


def load_engine(base: bases.Base, choice: EngineChoice, keeping: bases.Base | None = None) -> Engine:
    """Loads an engine.

    Args:
        base: what is to be run.
        choice: from `choose_engine`.
        keeping: the base up to a cut; the engine's rows are the features and then its maps, flat.
    """
    if choice.engine == "keras":
        import keras

        from pipeline.models.build import build_extractor

        keras.utils.clear_session(free_memory=False)  # layers that Keras names by counting are counted from the first
        return KerasEngine(lambda: build_extractor(base, keeping))
    import_openvino()
    return OpenVINOEngine(_ensure_export(base, keeping), find_precision(choice.engine))


def _ensure_export(base: bases.Base, keeping: bases.Base | None) -> Path:
    """Returns the path of the exported network; exports it again unless its files have their digests.

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
    """Returns whether the exported files in a folder have the digests that were written with them."""
    stored = read_json(folder / "keras.json")
    digests = stored.get("sha256") if isinstance(stored, dict) else None
    if not isinstance(digests, dict):
        return False
    return all((folder / name).is_file() and hash_file(folder / name) == digests.get(name) for name in EXPORT_FILES)


def _benchmark_engines(base: bases.Base, sample: np.ndarray, keeping: bases.Base | None) -> EngineChoice:
    """Measures every engine that can run here, and chooses the fastest whose features are accurate enough."""
    folder = find_engine_folder(base, keeping)
    # np.resize repeats pictures where there are fewer than SAMPLE_SIZE, so speeds stay comparable.
    pixels = np.resize(sample, (SAMPLE_SIZE, *sample.shape[1:]))
    write_atomic(folder / "sample.npy", lambda file: np.save(file, pixels))
    _run_export(base, keeping)
    exported = read_json(folder / "keras.json")
    speed, error = {"keras": exported["pictures_per_second"]}, {"keras": 0.0}
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
    best = max((name for name in speed if error[name] <= MAX_BFLOAT16_ERROR), key=lambda name: speed[name])
    report = ", ".join(f"{name} {speed[name]:.0f}/s (error {error[name]:.1e})" for name in speed)
    log.info("engine    %s runs %s: %s", best, base, report)
    return EngineChoice(engine=best, pictures_per_second=speed, relative_error=error)


def time_fastest(work: Callable[[], object]) -> float:
    """Returns the seconds of the quickest of a few tries, as the result is stored and other work may disturb one."""
    tries: list[float] = []
    while len(tries) < MAX_TRIES and sum(tries) < MAX_SECONDS:
        started = time.perf_counter()
        work()
        tries.append(time.perf_counter() - started)
    return min(tries)


def _run_export(base: bases.Base, keeping: bases.Base | None = None) -> None:
    """Exports the base in a subprocess, which also measures Keras where a sample lies in the folder."""
    pair = json.dumps([asdict(base), asdict(keeping) if keeping else None])
    folder = find_engine_folder(base, keeping)
    folder.mkdir(parents=True, exist_ok=True)
    subprocesses.run_module(
        "pipeline.models.openvino_export",
        *(pair, str(folder)),
        failed=f"{base} could not be prepared.",
        remedy="--engine keras shows where it fails",
    )
