"""Seconds an epoch: plain Keras `fit` with the lower part frozen against ours, alternating in one run.

    python -m benchmarks.epochs --base resnet50=none --unfreeze conv5 [--size 224] [--pictures 512] [--rounds 3]
    python -m benchmarks.epochs --base mobilenet=none --unfreeze conv_dw_12
    python -m benchmarks.epochs --base mobilenet_v2=none --unfreeze all --size 160

Ours trains from activations cached at the cut (float16 on the disk, memory-mapped), BatchNorm folded in convolutions;
where all is trained, from pixels, so that only the folding counts. Both take the same pictures (random pixels), batch,
head and optimizer, repeat themselves to the bit, and add no augmentation. What caching costs is printed beside it, and
how long `fit` waited after its last batch for tf.data's tuning thread (see pipeline/models/keras_input.py).
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from pipeline.config import Training
from pipeline.models import cuts
from pipeline.models.base import Base, parse_base
from pipeline.models.build import build_network, pool_maps, preprocess
from pipeline.models.keras_input import build_keras_input
from pipeline.training import device, networks
from pipeline.training.data_loader import TrainSequence
from pipeline.training.optimizer import build_optimizer

CLASSES = 10


class Stored:
    """Rows of an array, as a source of inputs."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def take(self, positions: np.ndarray, epoch: int) -> np.ndarray:
        """See pipeline.training.data_loader.Source."""
        return self.rows[positions]


def textbook(base: Base, network: Any) -> Any:
    """The base in a plain Keras model, trained as its layers say."""
    import keras

    pixels = keras.Input((base.size, base.size, 3), dtype="uint8")
    maps = network(preprocess(pixels, base.preprocessing, base.layer_name), training=False)
    model = keras.Model(pixels, keras.layers.Dense(CLASSES, activation="softmax")(pool_maps(maps, base)))
    model.compile(keras.optimizers.Adam(1e-5), "categorical_crossentropy")
    return model


def activations(base: Base, network: Any, cut: str, pixels: np.ndarray, place: Path) -> np.ndarray:
    """What the part up to the cut gives, kept as the feature cache keeps it."""
    import keras

    inputs = keras.Input((base.size, base.size, 3), dtype="uint8")
    lower = keras.Model(
        inputs,
        cuts.build_lower_part(network, cut)(preprocess(inputs, base.preprocessing, base.layer_name), training=False),
    )
    np.save(place, lower.predict(pixels, verbose=0).astype(np.float16))
    return np.asarray(np.load(place, mmap_mode="r"))


def ours(base: Base, network: Any, cut: str | None, batches: TrainSequence) -> Any:
    """The model that the strategy `finetune` trains."""
    import keras

    head = [keras.layers.Dense(CLASSES, activation="softmax", dtype="float32")]
    model = (
        networks.build_cut_model(base, cuts.build_upper_part(network, cut), head, 0.0)
        if cut
        else networks.build_pixel_model(base, network, head, 0.0)
    )
    training = Training(learning_rate=1e-5, schedule="constant").resolved("finetune")
    model.compile(build_optimizer(training, len(batches)), "categorical_crossentropy")
    return model


def timed(action: Callable[[Any], Any]) -> tuple[float, float]:
    """Seconds that a `fit` takes with the callback that it is given, and how many of them came after its last batch."""
    from benchmarks.worked import Worked

    watch = Worked()
    started = time.perf_counter()
    action(watch)
    now = time.perf_counter()
    return now - started, now - watch.at


def compare(base: Base, unfreeze: str, count: int, rounds: int, batch: int, place: Path) -> None:
    """Both sides, round by round, and the median of the ratios."""
    device.prepare_device(0)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, base.size, base.size, 3), dtype=np.uint8)
    labels = random.integers(0, CLASSES, count)
    network = build_network(base)
    found = cuts.find_cut(cuts.list_layers(network), unfreeze)
    cut = found.name if found else None
    networks.freeze_up_to(network, cut)
    spent, rows = 0.0, pixels
    if cut:
        started = time.perf_counter()
        rows = activations(base, network, cut, pixels, place / "activations.npy")
        spent = time.perf_counter() - started
    training = Training(batch_size=batch).resolved("finetune")
    batches = TrainSequence(Stored(rows), np.arange(count), labels, CLASSES, training, seed=0)
    plain, quick = textbook(base, network), ours(base, network, cut, batches)
    answers = np.eye(CLASSES, dtype=np.float32)[labels]
    sides = {
        "plain": lambda watch: plain.fit(pixels, answers, batch_size=batch, verbose=0, callbacks=[watch]),
        "ours": lambda watch: quick.fit(build_keras_input(batches), shuffle=False, verbose=0, callbacks=[watch]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    waits: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, action in sides.items():
            taken, waited = timed(action)
            if number:
                seconds[name].append(taken)
                waits[name].append(waited)
    ratios = [a / b for a, b in zip(seconds["plain"], seconds["ours"], strict=True)]
    working = [(a - wait) / b for a, wait, b in zip(seconds["plain"], waits["plain"], seconds["ours"], strict=True)]
    print(f"{base} {base.size} px, {count} pictures, trained above {cut or 'nothing: all of it'}, {rounds} rounds")
    for name, values in seconds.items():
        middle = statistics.median(values)
        waited = statistics.median(waits[name])
        print(f"{name:<8} {middle:8.2f} s an epoch, {waited:.2f} s of it waiting   {count / middle:8.1f} pictures/s")
    print(f"ratio    {statistics.median(ratios):8.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"without the wait {statistics.median(working):.2f}   ({min(working):.2f} to {max(working):.2f})")
    if cut:
        each = rows[0].nbytes
        print(f"cached   {spent:8.2f} s once, {each / 1e6:.2f} MB a picture")


def main() -> None:
    """Reads the flags and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="resnet50=none")
    parser.add_argument("--unfreeze", default="conv5")
    parser.add_argument("--size", type=int)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = parse_base(flags.base, flags.size)
        compare(base, flags.unfreeze, flags.pictures, flags.rounds, flags.batch, Path(folder))


if __name__ == "__main__":
    main()
