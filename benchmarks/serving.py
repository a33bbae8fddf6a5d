"""How long `invoke serve` takes to answer one picture, warm, and what share of that the network takes.

    python -m benchmarks.serving --run latest --images FOLDER [--pictures 50]

The answer is whole: decoding, classes, map, nearest training pictures with thumbnails, and HTML; without HTTP.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.runs import load, predictor
from pipeline.serving.answers import load_service
from pipeline.serving.app import render_answers


class Stopwatch:
    """Adds up the seconds inside of a function that it wraps."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *values: Any) -> Any:
        started = time.perf_counter()
        try:
            return self.function(*values)
        finally:
            self.seconds += time.perf_counter() - started


def main() -> None:
    """Runs as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="latest")
    parser.add_argument("--comp")
    parser.add_argument("--images", required=True)
    parser.add_argument("--pictures", type=int, default=50)
    flags = parser.parse_args()
    service = load_service(load.find_run_folder(flags.run, flags.comp, predictor.has_model))
    watches = [Stopwatch(service.predictor.extract), Stopwatch(service.predictor.classify)]
    service.predictor = replace(service.predictor, extract=watches[0], classify=watches[1])
    if service.explainer:
        watches.append(Stopwatch(service.explainer.extract))
        service.explainer = replace(service.explainer, extract=watches[-1])
    files, seconds, network = list(predictor.find_pictures(flags.images).items())[: flags.pictures + 3], [], []
    for name, path in files:
        data, before = path.read_bytes(), sum(watch.seconds for watch in watches)
        started = time.perf_counter()
        render_answers(service.answer([(name, data)]))
        seconds.append(time.perf_counter() - started)
        network.append(sum(watch.seconds for watch in watches) - before)
    seconds, network = seconds[3:], network[3:]  # the first are not warm
    whole, inside = statistics.median(seconds), statistics.median(network)
    print(f"{service.run}: {len(seconds)} pictures, views {', '.join(service.predictor.views)}")
    print(f"median {1000 * whole:.0f} ms ({1000 * min(seconds):.0f} to {1000 * max(seconds):.0f})")
    print(f"network {1000 * inside:.0f} ms, {inside / whole:.0%} of it")


if __name__ == "__main__":
    main()
