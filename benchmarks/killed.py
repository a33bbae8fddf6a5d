"""Kills an extraction with SIGKILL at random moments, and holds the features it ends with against an undisturbed one's.

    python -m benchmarks.killed --comp COMP_OR_FILE --base mobilenet_v2 --size 224 --bundle FILE [--times 20]

The engine is exported once beforehand, so that the kills hit decoding and extraction. Prints the kills and whether the
features are the same to the bit.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.data.row_store import RowStore
from pipeline.files import read_json


def digest_of(home: Path) -> tuple[str, int]:
    """SHA-256 over every cached feature row by picture, and the number of rows."""
    digest, count = hashlib.sha256(), 0
    for folder in sorted((home / "data" / "cache" / "features").iterdir()):
        store = RowStore(folder.parent, read_json(folder / "spec.json"))
        ids = sorted({name for shard in store.shards() for name in read_json(folder / f"{shard}.json")["ids"]})
        store.refresh()
        digest.update(np.ascontiguousarray(store.read(ids)).tobytes())
        count += len(ids)
    return digest.hexdigest(), count


def start(command: list[str], home: Path) -> subprocess.Popen:
    """The extraction, in a process group of its own."""
    environment = {**os.environ, "STARSHIFT_HOME": str(home)}
    return subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def main() -> None:
    """Runs once undisturbed and once with kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--comp", "--base", "--bundle"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--size", default="224")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    chance = random.Random(flags.seed)
    prepare = [sys.executable, "-m", "invoke", "download", "--comp", flags.comp, "--bundle", flags.bundle]
    command = [sys.executable, "-m", "invoke", "features", "--comp", flags.comp, "--base", flags.base]
    command += ["--size", flags.size, "--engine", flags.engine, "--view", "plain"]
    with tempfile.TemporaryDirectory() as calm, tempfile.TemporaryDirectory() as disturbed:
        for home in (calm, disturbed):
            start(prepare, Path(home)).wait()
        started = time.perf_counter()
        start(command, Path(calm)).wait()
        whole = time.perf_counter() - started
        engines = Path("data", "cache", "engines")
        shutil.copytree(Path(calm) / engines, Path(disturbed) / engines)
        kills = 0
        while True:
            process = start(command, Path(disturbed))
            if kills == flags.times:
                process.wait()
                break
            time.sleep(chance.uniform(1.0, max(5.0, 1.5 * whole / flags.times)))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            else:
                break
        same = digest_of(Path(calm)) == digest_of(Path(disturbed))
        print(f"undisturbed {whole:.1f} s, {digest_of(Path(calm))[1]} rows; {kills} kills; bit-identical: {same}")
        sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
