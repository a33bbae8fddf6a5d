"""Exports a base to OpenVINO and measures Keras on the same pictures, in a subprocess.

    python -m pipeline.models.openvino_export BASES FOLDER

Keras takes seconds to import and, on TensorFlow, more than a gigabyte, which the extracting process saves. BASES is
JSON: a base, and the same up to a cut whose maps are kept, or null. FOLDER gets network.xml, network.bin and keras.json
(with their digests), and where it has sample.npy also reference.npy (Keras's features of it); without it the speed in
keras.json is 0. With MODEL.keras and GRAPH.xml in their places, it only exports that model.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import (
    build_disk_full_error,
    count_free_bytes,
    hash_file,
    remove_after,
    translate_disk_errors,
    write_atomic,
    write_json,
)
from pipeline.models.backend import find_backend
from pipeline.models.base import Base
from pipeline.models.build import build_extractor
from pipeline.models.inference_engines import BATCH_SIZES, EXPORT_FILES, can_export, import_openvino, time_fastest
from pipeline.paths import build_child_environment
from pipeline.subprocesses import parse_output, run_command, run_main

GRAPH_BYTES = 1 << 20
"""Disk space for the graph, beside the weights."""


def export_base(base: Base, folder: Path, keeping: Base | None = None) -> None:
    """Writes network.xml with network.bin and keras.json into the folder, and reference.npy where there is a sample.

    Raises:
        StarshiftError: the disk is full.
    """
    model = build_extractor(base, keeping)
    speed = measure_keras(model, folder) if (folder / "sample.npy").exists() else 0.0
    if not can_export(base):
        write_json(folder / "keras.json", {"pictures_per_second": speed, "exported": False})
        return
    # Checked before the export: OpenVINO reports a full disk in words of its own. A float32 weight takes 4 bytes.
    if count_free_bytes(folder) < (needed := 4 * model.count_params() + GRAPH_BYTES):
        raise build_disk_full_error(folder, needed)
    # OpenVINO wants the suffix .xml and writes the weights beside it as .bin.
    partial = folder / f".partial-{os.getpid()}.xml"
    weights = partial.with_suffix(".bin")
    with remove_after(partial), remove_after(weights), translate_disk_errors(folder):
        _write_graph(model, partial)
        # Hashed before the rename: another process may export the same base and replace the files.
        digests = {name: hash_file(path) for name, path in zip(EXPORT_FILES, (partial, weights), strict=True)}
        # Weights, then graph, then digests: killed in between, the export does not count as whole.
        weights.replace(folder / EXPORT_FILES[1])
        partial.replace(folder / EXPORT_FILES[0])
    write_json(folder / "keras.json", {"pictures_per_second": speed, "exported": True, "sha256": digests})


def _write_graph(model: Any, path: Path) -> None:
    """Writes a network for OpenVINO: the graph at the path, its weights beside it as .bin."""
    if find_backend() == "tensorflow":
        model.export(str(path), format="openvino", verbose=False)
        return
    # From JAX, Keras exports through TensorFlow (3.15.1), and OpenVINO's own reader of JAX fails (2026.4). Keras's
    # backend `openvino` needs neither; a process has one backend, so it gets a process of its own.
    saved = path.with_suffix(".keras")
    with remove_after(saved):
        model.save(saved)
        environment = {**build_child_environment(), "KERAS_BACKEND": "openvino"}
        done = run_command(
            [sys.executable, "-m", "pipeline.models.openvino_export", str(saved), str(path)], environment
        )
    parse_output(done.returncode, done.stdout, done.stderr, failed=f"OpenVINO cannot run {model.name}.")


def _export_saved_model(saved: str, path: str) -> None:
    """Exports a saved model by Keras's OpenVINO backend, for the batches that the engine runs."""
    import_openvino()
    import keras

    model = keras.models.load_model(saved, compile=False)
    # Without a batch size, Keras (3.15.1) writes 1 into the reshapes of squeeze-and-excitation.
    signature = [keras.InputSpec(shape=(BATCH_SIZES["openvino"], *model.input_shape[1:]), dtype="uint8")]
    model.export(path, format="openvino", verbose=False, input_signature=signature)


def measure_keras(model: Any, folder: Path) -> float:
    """Returns Keras's pictures per second on the sample, and writes its features beside it."""
    sample = np.load(folder / "sample.npy")
    parts = [sample[start : start + 32] for start in range(0, len(sample), 32)]
    reference = np.concatenate([model.predict_on_batch(part) for part in parts])
    speed = len(sample) / time_fastest(lambda: [model.predict_on_batch(part) for part in parts])
    write_atomic(folder / "reference.npy", lambda file: np.save(file, reference.astype(np.float32)))
    return speed


def main() -> None:
    """Runs as a command."""
    if sys.argv[1].endswith(".keras"):
        _export_saved_model(*sys.argv[1:3])
        return
    base, keeping = (Base(**values) if values else None for values in json.loads(sys.argv[1]))
    assert base is not None
    export_base(base, Path(sys.argv[2]), keeping)


if __name__ == "__main__":
    sys.exit(run_main(main))
