"""Exports a base to OpenVINO, and measures Keras on the same pictures, in a process of its own.

    python -m pipeline.models.export BASE FOLDER

TensorFlow takes seconds to import and more than a gigabyte, so the extracting process leaves it to this one. BASE is
JSON. FOLDER holds sample.npy; reference.npy (Keras's features of it), keras.json and network.xml with network.bin are
written there.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.files import write_atomic, write_json
from pipeline.models.bases import Base
from pipeline.models.engines import import_openvino
from pipeline.models.extractor import build_extractor

ROUNDS = 2


def export(base: Base, folder: Path) -> None:
    """Writes network.xml, network.bin, reference.npy and keras.json into the folder."""
    model = build_extractor(base)
    sample = np.load(folder / "sample.npy")
    reference = model.predict(sample, batch_size=32, verbose=0)
    started = time.perf_counter()
    for _ in range(ROUNDS):
        model.predict(sample, batch_size=32, verbose=0)
    speed = ROUNDS * len(sample) / (time.perf_counter() - started)
    write_atomic(folder / "reference.npy", lambda file: np.save(file, reference.astype(np.float32)))
    try:
        import_openvino()
    except StarshiftError:
        write_json(folder / "keras.json", {"pictures_per_second": speed, "exported": False})
        return
    partial = folder / f"partial-{os.getpid()}.xml"
    model.export(str(partial), format="openvino", verbose=False)
    partial.with_suffix(".bin").replace(folder / "network.bin")
    partial.replace(folder / "network.xml")
    write_json(folder / "keras.json", {"pictures_per_second": speed, "exported": True})


def main() -> int:
    """Runs as a command: prints a user's error on stderr and exits with 1."""
    try:
        export(Base(**json.loads(sys.argv[1])), Path(sys.argv[2]))
    except StarshiftError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
