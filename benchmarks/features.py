"""Extraction against the textbook's: pictures per second of both, alternating in one run, and peak memory.

    python -m benchmarks.features --folder FOLDER --base mobilenet_v2 [--pictures 1000] [--rounds 3] [--engine openvino]
    python -m benchmarks.features --folder FOLDER --base mobilenet_v2 --memory 20000

FOLDER holds class folders of pictures. The textbook is image_dataset_from_directory and model.predict on the same
extractor and weights. The limit is 1 / (1 / forward + 1 / decode), each measured alone beside it. Every side decodes
from the files each round: the pixel store and the feature cache start empty.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pipeline.data import pixel_cache
from pipeline.features.extractor import Extractor
from pipeline.files import hash_file
from pipeline.models import inference_engines
from pipeline.models.base import Base, parse_base


def files_of(folder: Path, count: int) -> dict[str, Path]:
    """The first `count` pictures by digest."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))[:count]
    return {hash_file(path): path for path in found}


def ours(base: Base, files: dict[str, Path], engine: str) -> tuple[float, float, float]:
    """Seconds of the whole extraction, of decoding alone and of the forward pass alone, caches empty."""
    for kind in ("pixels", "features"):
        shutil.rmtree(Path(os.environ["STARSHIFT_HOME"]) / "data" / "cache" / kind, ignore_errors=True)
    digests = list(files)
    extractor = Extractor(base, files, wanted=engine)
    chosen = inference_engines.EngineChoice(engine=engine)
    extractor._choice, extractor._engine = chosen, inference_engines.load_engine(base, chosen)
    started = time.perf_counter()
    pixel_cache.fill_pixel_store(extractor.store, files)
    decoded = time.perf_counter()
    extractor.features(digests, "plain")
    whole = time.perf_counter() - started
    alone = pixel_cache.read_pixels(extractor.store, digests[:256], files)
    extractor._engine(alone)
    forward_started = time.perf_counter()
    extractor._engine(alone)
    forward = (time.perf_counter() - forward_started) * len(digests) / len(alone)
    return whole, decoded - started, forward


def textbook(model: object, folder: Path, size: int) -> tuple[float, float]:
    """Seconds of image_dataset_from_directory and predict, and how many of them came after the last batch.

    What comes then is the wait for tf.data's tuning thread, see pipeline/models/keras_input.py.
    """
    import keras

    from benchmarks.worked import Worked

    watch = Worked()
    started = time.perf_counter()
    data = keras.utils.image_dataset_from_directory(
        folder, labels=None, image_size=(size, size), batch_size=32, shuffle=False, verbose=False
    )
    model.predict(data, verbose=0, callbacks=[watch])
    del data
    now = time.perf_counter()
    return now - started, now - watch.at


def compare(base: Base, files: dict[str, Path], rounds: int, engine: str) -> None:
    """Alternates both and prints the medians and their ratio."""
    from pipeline.models.build import build_extractor

    model = build_extractor(base)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "all").mkdir()
        for number, path in enumerate(files.values()):
            (Path(folder) / "all" / f"{number}{path.suffix}").symlink_to(path.resolve())
        textbook(model, Path(folder), base.size)
        results = []
        for _ in range(rounds):
            theirs = textbook(model, Path(folder), base.size)
            results.append((*theirs, *ours(base, files, engine)))
    theirs, waited, whole, decode, forward = (statistics.median(column) for column in zip(*results, strict=True))
    count = len(files)
    print(f"{base} {base.size} px, {count} pictures, median of {rounds} rounds, engine {engine}")
    print(
        f"textbook  {count / theirs:8.1f} pictures/s   {theirs:.2f} s, {waited:.2f} s of them after the last batch; "
        f"{count / (theirs - waited):.1f} pictures/s without those"
    )
    print(f"starshift {count / whole:8.1f} pictures/s   decode {count / decode:.0f}, forward {count / forward:.0f}")
    ratios = [row[0] / row[2] for row in results]
    working = [(row[0] - row[1]) / row[2] for row in results]
    limits = [(row[3] + row[4]) / row[2] for row in results]
    print(f"ratio     {statistics.median(ratios):8.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"without the wait {statistics.median(working):.2f}   ({min(working):.2f} to {max(working):.2f})")
    print(f"of limit  {statistics.median(limits):8.2f}   ({min(limits):.2f} to {max(limits):.2f})")


def memory(base: Base, files: dict[str, Path], count: int, engine: str) -> None:
    """Peak memory of extracting `count` different pictures; those at hand are used again under other digests."""
    paths = list(files.values())
    many = {f"{number:064x}": paths[number % len(paths)] for number in range(count)}
    extractor = Extractor(base, many, wanted=engine)
    pixel_cache.fill_pixel_store(extractor.store, many)
    extractor.features(list(many), "plain")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{base} {base.size} px, {count} pictures: peak {peak:.0f} MB in the extracting process")


def main() -> None:
    """Reads the flags and runs in a home of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--base", default="mobilenet_v2")
    parser.add_argument("--size", type=int)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--memory", type=int, default=0, help="measure peak memory at so many pictures instead")
    flags = parser.parse_args()
    base, files = parse_base(flags.base, flags.size), files_of(flags.folder, flags.pictures)
    if "BENCHMARK_HOME" not in os.environ:
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "STARSHIFT_HOME": home, "BENCHMARK_HOME": "1"}
            sys.exit(
                subprocess.run(
                    [sys.executable, "-m", "benchmarks.features", *sys.argv[1:]], env=environment, check=False
                ).returncode
            )
    extractor = Extractor(base, files, wanted=flags.engine)
    pixel_cache.fill_pixel_store(extractor.store, files)
    engine = extractor.choose(list(files)).engine
    if flags.memory:
        memory(base, files, flags.memory, engine)
    else:
        compare(base, files, flags.rounds, engine)


if __name__ == "__main__":
    main()
