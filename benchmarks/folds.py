"""Folds one after the other on all cores against folds side by side on a share of them, alternating in one run.

    python -m benchmarks.folds --base mobilenet_v2=none --size 160 [--pictures 384] [--rounds 2]

Each time two folds of random pictures are fine-tuned for two epochs, all layers, in processes of their own, as a run
does it. The first epoch of each pays for building the graph; seconds are those of the second.
"""

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np

from pipeline import flow
from pipeline.config import Competition, Recipe
from pipeline.files import read_json
from pipeline.regime import Training
from pipeline.training import processes

FOLDS = 2


def drawn(place: Path, pictures: int, size: int) -> None:
    """Two class folders of random pictures, PNG."""
    random = np.random.default_rng(0)
    for number in range(pictures):
        folder = place / "train" / ("bright" if number % 2 else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 128, (size, size, 3), dtype=np.uint8) + np.uint8(127 * (number % 2))
        cv2.imwrite(str(folder / f"{number}.png"), pixels)


def seconds(competition: Competition, many: int) -> float:
    """The second epochs of both folds: added up where they follow each other, else the longer one."""
    processes.beside_each_other = lambda folds: many
    folder = flow.run(competition, flow.Options())
    each = [fact["seconds_an_epoch"][-1] for fact in read_json(folder / "metrics.json")["training"]]
    return float(max(each) if many > 1 else sum(each))


def main() -> None:
    """Reads the flags and prints pictures a second of both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="mobilenet_v2=none")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--pictures", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=2)
    flags = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["STARSHIFT_HOME"] = home
        drawn(Path(home) / "pictures", flags.pictures, flags.size)
        training = Training(epochs=2, patience=2, unfreeze="all", warp=False)
        recipe = Recipe(rung="finetune", bases=(flags.base,), size=flags.size, folds=FOLDS, training=training)
        made = Competition(name="folds", data=str(Path(home) / "pictures"), metric="accuracy", recipe=recipe)
        for number in range(flags.rounds):
            one = replace(made, recipe=replace(recipe, seed=number))
            other = replace(made, recipe=replace(recipe, seed=number + flags.rounds))
            after, beside = seconds(one, 1), seconds(other, FOLDS)
            ratios.append(after / beside)
            print(f"one after the other {after:.1f} s, side by side {beside:.1f} s, ratio {ratios[-1]:.2f}", flush=True)
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
