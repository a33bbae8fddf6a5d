"""Which engine runs a base fastest on this machine: measured once on a few batches of real pictures, and remembered."""

import functools
import json
import logging
import math
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, subprocesses
from pipeline.errors import StarshiftError
from pipeline.files import read_json, sha256_of_file, sha256_of_json, write_atomic, write_json
from pipeline.models import bases, cuts, directions
from pipeline.models.engines import (
    ENGINES,
    Engine,
    KerasEngine,
    OpenVINOEngine,
    has_bfloat16,
    import_openvino,
    precision_of,
    relative_difference,
    require_usable,
)

log = logging.getLogger(__name__)
SAMPLE = 64
TRIES, ENOUGH_SECONDS = 4, 3.0
EXPORTED = ("network.xml", "network.bin")
"""The files of an export; keras.json beside them holds the SHA-256 of each."""
BFLOAT16_LIMIT = 0.02
"""Largest relative error (Frobenius norm, over the sample) of bfloat16 features against float32 that is accepted."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An engine, and why it was taken.

    Args:
        engine: one of ENGINES.
        pictures_per_second: measured, by engine; empty where the engine was asked for.
        relative_error: of each engine's features against Keras's float32, by engine.
    """

    engine: str
    pictures_per_second: dict[str, float] = field(default_factory=dict)
    relative_error: dict[str, float] = field(default_factory=dict)


def extractor_spec(base: bases.Base) -> dict[str, Any]:
    """Everything that an extractor's values depend on; plain JSON values.

    Raises:
        StarshiftError: second moments in directions that are not here.
    """
    found = {
        "base": base.name,
        "cut": base.cut,
        "pooling": base.pooling,
        "weights": bases.weights_digest(base),
        "size": base.size,
        "preprocessing": bases.preprocessing_of(base),
    }
    return found | {"directions": directions.digest(base)} if base.by_moments else found


def folder_of(base: bases.Base, keeping: bases.Base | None = None) -> Path:
    """Where a base's export and measurement lie; of one that gives the maps at a cut, too, where there is `keeping`."""
    # 1 is a version: raising it exports and measures every base again.
    spec = {"export": 1, **extractor_spec(base)} | ({"keeping": keeping.cut} if keeping else {})
    return paths.cache_folder("engines") / sha256_of_json(spec)[:16]


def machine() -> dict[str, Any]:
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


def known(wanted: str) -> None:
    """Raises a StarshiftError where this is neither `auto` nor one of ENGINES."""
    if wanted not in ("auto", *ENGINES):
        raise StarshiftError("Unknown engine.", expected=" | ".join(("auto", *ENGINES)), received=wanted)


def choose(
    base: bases.Base,
    sample: Callable[[], np.ndarray],
    wanted: str = "auto",
    keeping: bases.Base | None = None,
) -> Choice:
    """The engine for a base: the one asked for, the one remembered, or the fastest one measured now.

    Args:
        base: what is to be run.
        sample: gives pictures (n, size, size, 3) uint8 to measure on, n >= 1; asked only when they are needed.
        wanted: `auto` or one of ENGINES.
        keeping: as in `load`; an engine that is measured now is measured with it.

    Raises:
        StarshiftError: an engine that does not exist or cannot run here.
    """
    known(wanted)
    if wanted != "auto":
        if wanted == "openvino-bf16" and not has_bfloat16():
            raise StarshiftError("This processor has no bfloat16.", remedy="--engine openvino")
        return Choice(engine=wanted)
    # The OpenVINO engines run on the CPU only (engines.py), so there is nothing to compare with.
    if has_gpu():
        return Choice(engine="keras")
    here = machine()
    if (remembered := _remembered(base, here)) is not None:
        return remembered
    choice = _measure(base, sample(), keeping)
    write_json(folder_of(base) / "engine.json", {"machine": here, **vars(choice)})
    return choice


def _remembered(base: bases.Base, here: dict[str, Any]) -> Choice | None:
    """Reads the choice that was measured on this machine; None where there is none, or its file is damaged."""
    stored = read_json(folder_of(base) / "engine.json")
    # A new library version or processor counts as another machine and is measured again.
    if not isinstance(stored, dict) or stored.pop("machine", None) != here or stored.get("engine") not in ENGINES:
        return None
    try:
        return Choice(**stored)
    except TypeError:
        return None


def load(base: bases.Base, choice: Choice, keeping: bases.Base | None = None) -> Engine:
    """The engine, ready to run.

    Args:
        base: what is to be run.
        choice: from `choose`.
        keeping: the base up to a cut; the engine's rows are the features and then the maps there, flat.
    """
    if choice.engine == "keras":
        import keras

        from pipeline.models.extractor import build_extractor

        keras.utils.clear_session(free_memory=False)  # layers that Keras names by counting are counted from the first
        return KerasEngine(lambda: build_extractor(base, keeping))
    import_openvino()
    return OpenVINOEngine(_exported(base, keeping), precision_of(choice.engine))


def _exported(base: bases.Base, keeping: bases.Base | None) -> Path:
    """Returns the path of the exported network, which is exported again unless its files have their digests.

    Raises:
        StarshiftError: the export is damaged as soon as it is written.
    """
    folder = folder_of(base, keeping)
    if not is_whole(folder):
        if (folder / EXPORTED[0]).exists():
            log.warning(
                "  warning: the exported network of %s is damaged, or older than its digests: exported again. "
                "invoke cache --verify checks what it may have computed",
                base,
            )
        _export(base, keeping)
    if not is_whole(folder):
        raise StarshiftError(
            f"The exported network of {base} is damaged.",
            expected=f"{' and '.join(EXPORTED)} with the digests in keras.json",
            received=paths.shown(folder),
            remedy="check the disk; --engine keras does without an export",
        )
    return folder / EXPORTED[0]


def is_whole(folder: Path) -> bool:
    """Whether the exported files in a folder have the digests that were written with them."""
    stored = read_json(folder / "keras.json")
    digests = stored.get("sha256") if isinstance(stored, dict) else None
    if not isinstance(digests, dict):
        return False
    return all((folder / name).is_file() and sha256_of_file(folder / name) == digests.get(name) for name in EXPORTED)


def _measure(base: bases.Base, sample: np.ndarray, keeping: bases.Base | None) -> Choice:
    """Measures every engine that can run here, and takes the fastest whose features are good enough."""
    folder = folder_of(base, keeping)
    # np.resize repeats pictures where there are fewer than SAMPLE, so speeds stay comparable.
    pixels = np.resize(sample, (SAMPLE, *sample.shape[1:]))
    write_atomic(folder / "sample.npy", lambda file: np.save(file, pixels))
    _export(base, keeping)
    exported = read_json(folder / "keras.json")
    speed = {"keras": exported["pictures_per_second"]}
    error = {"keras": 0.0}
    reference = np.load(folder / "reference.npy")
    require_usable(reference, base, "keras")
    if exported["exported"]:
        # Only the features decide: a bfloat16 engine keeps no maps at the cut (features/extract.py).
        width = reference.shape[-1] - (math.prod(cuts.shape_at(keeping)) if keeping else 0)
        reference = reference[..., :width]
        for name in ("openvino", "openvino-bf16") if has_bfloat16() else ("openvino",):
            engine = OpenVINOEngine(_exported(base, keeping), precision_of(name))
            # This pass also warms the engine up before it is timed.
            features = engine(pixels)[..., :width]
            speed[name] = len(pixels) / quickest(functools.partial(engine, pixels))
            error[name] = relative_difference(features, reference)
    good = [name for name in speed if error[name] <= BFLOAT16_LIMIT]
    best = max(good, key=lambda name: speed[name])
    report = ", ".join(f"{name} {speed[name]:.0f}/s (error {error[name]:.1e})" for name in speed)
    log.info("engine    %s runs %s: %s", best, base, report)
    return Choice(engine=best, pictures_per_second=speed, relative_error=error)


def quickest(work: Callable[[], object]) -> float:
    """Seconds of the quickest of a few tries: one that something else had disturbed is remembered for good."""
    tries: list[float] = []
    while len(tries) < TRIES and sum(tries) < ENOUGH_SECONDS:
        started = time.perf_counter()
        work()
        tries.append(time.perf_counter() - started)
    return min(tries)


def _export(base: bases.Base, keeping: bases.Base | None = None) -> None:
    """Exports the base in a process of its own, which measures Keras, too, where a sample lies in the folder."""
    pair = [asdict(base), asdict(keeping) if keeping else None]
    folder = folder_of(base, keeping)
    folder.mkdir(parents=True, exist_ok=True)
    subprocesses.run_module(
        "pipeline.models.export",
        *(json.dumps(pair), str(folder)),
        failed=f"{base} could not be prepared.",
        remedy="--engine keras shows where it fails",
    )
