"""What a network waits for when Keras lets go of its pictures: `fit` on a PyDataset against ours, alternating.

    python -m benchmarks.waiting [--seconds 1.5] [--rounds 5]

Keras makes a self-tuning tf.data pipeline of a PyDataset (and of arrays) in every `fit`, and waits for its tuning
thread when that ends; `keras_input.build_keras_input` makes one that does not tune itself. Both train the same small
network on the same batches, on whose number an epoch of about so many seconds is chosen.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks.worked import Worked
from pipeline.models.keras_input import build_keras_input

BATCH, SIDE = 32, 64


class Drawn(keras.utils.PyDataset):
    """So many batches of the same random pictures."""

    def __init__(self, count: int) -> None:
        super().__init__(workers=1)
        self.count = count
        self.one = np.random.default_rng(0).random((BATCH, SIDE, SIDE, 3), np.float32), np.eye(BATCH, dtype=np.float32)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.one


def main() -> None:
    """Reads the flags, times both and prints seconds an epoch, and how many of them came after the last batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    layers = [keras.layers.Conv2D(64, 3), keras.layers.Conv2D(64, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers, keras.layers.Dense(BATCH, activation="softmax")])
    model.compile("adam", "categorical_crossentropy")
    model.fit(build_keras_input(Drawn(2)), shuffle=False, verbose=0)
    started = time.perf_counter()
    model.fit(build_keras_input(Drawn(8)), shuffle=False, verbose=0)
    batches = Drawn(max(2, round(8 * flags.seconds / (time.perf_counter() - started))))
    sides = {"keras": lambda: batches, "ours": lambda: build_keras_input(batches)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    waited: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(flags.rounds):
        for name, made in sides.items():
            worked = Worked()
            started = time.perf_counter()
            model.fit(made(), shuffle=False, verbose=0, callbacks=[worked])
            ended = time.perf_counter()
            seconds[name].append(ended - started)
            waited[name].append(ended - worked.at)
    for name in sides:
        print(
            f"{name:<6} {statistics.median(seconds[name]):7.2f} s an epoch ({min(seconds[name]):.2f} to "
            f"{max(seconds[name]):.2f}), {statistics.median(waited[name]):.2f} s of it after the last batch"
        )
    ratios = [a / b for a, b in zip(seconds["keras"], seconds["ours"], strict=True)]
    print(f"ratio  {statistics.median(ratios):7.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
