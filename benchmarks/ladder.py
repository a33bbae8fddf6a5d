"""The textbook's ladder against ours: the same pictures, split, weights, machine and stopping rule; time and accuracy.

    python -m benchmarks.ladder --bundle BUNDLE --side textbook --out textbook.json
    python -m benchmarks.ladder --bundle BUNDLE --side starshift --out starshift.json
    python -m benchmarks.ladder --compare textbook.json starshift.json

The textbook's way is plain Keras (Chollet, Deep Learning with Python, 2nd edition, sections 8.3.1 and 8.3.2):
`image_dataset_from_directory`, augmentation layers, everything recomputed in every epoch. Both sides train `features`,
`frozen` and `finetune` with one base at 224 px on dogs-vs-cats, stop when the validation loss has not fallen for five
epochs, take the best weights back, and train at most 30 and 100 epochs. Ours begins with empty caches. Beside seconds
stand those that processors worked, children included, which other work on the machine changes less.
"""

import argparse
import json
import logging
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import competitions
from pipeline.config import RunOptions, Training
from pipeline.evaluation.intervals import compare_paired, format_difference, wilson_interval
from pipeline.experiments import ladder
from pipeline.models.base import parse_base
from pipeline.workflow import run

SIZE, BATCH, PATIENCE = 224, 32, 5
EPOCHS = {"features": 30, "frozen": 30, "finetune": 100}
APPLICATIONS = {"mobilenet_v2": ("MobileNetV2", {}), "mobilenet_025": ("MobileNet", {"alpha": 0.25})}
UNFROZEN = {"mobilenet_v2": "block_15", "mobilenet_025": "conv_dw_12"}
"""Where both begin to train the base: its last blocks, about half of its weights."""
VIEWS, ANNEALED = 2, 6
"""Augmented views that ours draws from beside the picture as it is, where the textbook augments anew in every epoch;
and the epochs over which its rate falls to nothing in `finetune`, where the textbook's stays."""


def pictures(base: str, bundle: Path, seed: int) -> ladder.LadderData:
    """The ladder's pictures; both sides read these links."""
    found = competitions.find("dogs-vs-cats")
    recipe = replace(found.recipe, bases=(base,), size=SIZE, split_seed=seed)
    return ladder.prepare_ladder(replace(found, recipe=recipe), ladder.DEFAULT_SIZES, seed, bundle)


def parts(made: ladder.LadderData, place: Path) -> dict[str, Path]:
    """Class folders of links for train and validation, split as ours splits, and the test part in one folder."""
    recipe = made.competition.recipe
    data = run.prepare_dataset(made.competition, [parse_base(recipe.bases[0], recipe.size)], RunOptions())
    for row in data.pictures.train.itertuples():
        folder = place / ("validation" if row.fold == 0 else "train") / row.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(row.path).name).symlink_to((data.raw / row.path).resolve())
    for name, label in made.answers.items():
        folder = place / "test" / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to((data.raw / "test" / name).resolve())
    return {part: place / part for part in ("train", "validation", "test")}


def textbook(made: ladder.LadderData, base: str, place: Path) -> dict[str, Any]:
    """Trains the three strategies in plain Keras. Returns seconds and test predictions of each."""
    import keras

    keras.utils.set_random_seed(0)
    folders = parts(made, place)
    sets = {
        part: keras.utils.image_dataset_from_directory(
            folder, image_size=(SIZE, SIZE), batch_size=BATCH, shuffle=part == "train", verbose=False
        )
        for part, folder in folders.items()
    }
    builder, arguments = APPLICATIONS[base]
    network = getattr(keras.applications, builder)(
        weights="imagenet", include_top=False, input_shape=(SIZE, SIZE, 3), **arguments
    )
    stop = {"monitor": "val_loss", "patience": PATIENCE, "restore_best_weights": True}
    order = [
        path.name for path in sorted((folders["test"]).rglob("*.*"), key=lambda path: (path.parent.name, path.name))
    ]
    results = {}

    started = clocks()
    seen = {part: features_of(network, data) for part, data in sets.items()}
    inputs = keras.Input(network.output.shape[1:])
    model = keras.Model(inputs, head(inputs))
    model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    fitted = model.fit(
        *seen["train"], validation_data=seen["validation"], epochs=EPOCHS["features"], verbose=0,
        callbacks=[keras.callbacks.EarlyStopping(**stop)],
    )  # fmt: skip
    results["features"] = outcome(started, fitted, model.predict(seen["test"][0], verbose=0), order)

    started = clocks()
    network.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    augment = keras.Sequential(
        [keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1), keras.layers.RandomZoom(0.2)]
    )
    values = keras.layers.Rescaling(1 / 127.5, offset=-1)(augment(inputs))
    model = keras.Model(inputs, head(network(values, training=False)))
    for strategy, rate in (("frozen", 1e-3), ("finetune", 1e-5)):
        if strategy == "finetune":
            started = clocks()
            network.trainable, reached = True, False
            for layer in network.layers:
                reached = reached or layer.name.startswith(UNFROZEN[base])
                layer.trainable = reached
        model.compile(keras.optimizers.RMSprop(rate), "binary_crossentropy", metrics=["accuracy"])
        fitted = model.fit(
            sets["train"], validation_data=sets["validation"], epochs=EPOCHS[strategy], verbose=2,
            callbacks=[keras.callbacks.EarlyStopping(**stop)],
        )  # fmt: skip
        results[strategy] = outcome(started, fitted, model.predict(sets["test"], verbose=0), order)
        print(strategy, {key: value for key, value in results[strategy].items() if key != "dogs"}, flush=True)
    return results


def features_of(network: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the base gives for every picture of a set, and the labels, as the textbook's get_features_and_labels."""
    found = [(network.predict(np.asarray(x) / 127.5 - 1, verbose=0), np.asarray(y)) for x, y in data]
    return np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found])


def head(values: Any) -> Any:
    """The textbook's head: 256, dropout, a sigmoid; on averages, which trains faster than on the flattened map."""
    import keras

    values = keras.layers.GlobalAveragePooling2D()(values)
    values = keras.layers.Dropout(0.5)(keras.layers.Dense(256, activation="relu")(values))
    return keras.layers.Dense(1, activation="sigmoid")(values)


def clocks() -> tuple[float, float]:
    """Seconds on the wall, and seconds that processors worked for this process and its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


def since(started: tuple[float, float]) -> dict[str, float]:
    """Both kinds of seconds since then."""
    return dict(
        zip(("seconds", "worked"), (now - then for now, then in zip(clocks(), started, strict=True)), strict=True)
    )


def outcome(started: tuple[float, float], fitted: Any, probabilities: np.ndarray, order: list[str]) -> dict[str, Any]:
    """Seconds, epochs, best validation accuracy, and which test pictures are called dogs."""
    best = int(np.argmin(fitted.history["val_loss"]))
    return {
        **since(started),
        "epochs": len(fitted.history["loss"]),
        "validation": fitted.history["val_accuracy"][best],
        "dogs": {name: bool(value > 0.5) for name, value in zip(order, probabilities[:, 0], strict=True)},
    }


def starshift(made: ladder.LadderData) -> dict[str, Any]:
    """Our three strategies, in their order, which share what they cache."""
    results = {}
    base, strategies = made.competition.recipe.bases[0], list(EPOCHS)
    for place, (strategy, most) in enumerate(EPOCHS.items()):
        started = clocks()
        recipe = ladder.build_recipe(strategy, made.competition.recipe, 0)
        training = Training(
            patience=PATIENCE,
            epochs=ANNEALED if strategy == "finetune" else most,
            unfreeze=UNFROZEN[base],
            cached_views=VIEWS,
        )
        recipe = replace(recipe, training=training)
        options = RunOptions(capture_for=ladder.find_finetune_training(strategies[place + 1 :], recipe))
        folder = run.run(replace(made.competition, recipe=recipe), options)
        found = ladder.load_result(folder, strategy, 0, made.answers)
        labels = np.array([label == "dog" for label in made.answers.values()])
        dogs = np.where(found.right, labels, ~labels)
        results[strategy] = {
            **since(started),
            "validation": found.validation,
            "dogs": {name: bool(dog) for name, dog in zip(made.answers, dogs, strict=True)},
        }
    return results


def compare(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Prints both sides, the ratio of their times, and whether the last test accuracies differ beyond noise."""
    truth = np.array([label == "dog" for label in ours["answers"].values()])
    print(f"{'strategy':<10} {'textbook':>34} {'starshift':>34} {'ratio':>7}")
    guesses = {}
    for strategy in EPOCHS:
        words = []
        for side, name in ((theirs, "textbook"), (ours, "starshift")):
            dogs = np.array([side["strategies"][strategy]["dogs"][key] for key in ours["answers"]])
            guesses[name] = dogs
            share = wilson_interval(int((dogs == truth).sum()), len(truth))
            half = (share.high - share.low) / 2
            used = side["strategies"][strategy]
            words.append(f"{used['seconds']:.0f} s ({used['worked']:.0f}), test {share.estimate:.1%} ± {half:.1%}")
        ratio = theirs["strategies"][strategy]["seconds"] / ours["strategies"][strategy]["seconds"]
        print(f"{strategy:<10} {words[0]:>34} {words[1]:>34} {ratio:>7.1f}")
    for kind, name in (("seconds", "together"), ("worked", "worked")):
        totals = [sum(side["strategies"][strategy][kind] for strategy in EPOCHS) for side in (theirs, ours)]
        print(f"{name:<10} {totals[0]:>32.0f} s {totals[1]:>32.0f} s {totals[0] / totals[1]:>7.1f}")
    found = compare_paired(truth.astype(int), guesses["textbook"].astype(int), guesses["starshift"].astype(int))
    print(
        format_difference(
            "starshift's finetune", "the textbook's", found.difference, within_noise=found.within_noise, points=True
        )
    )


def main() -> None:
    """Reads the flags and runs one side, or compares two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--side", choices=("textbook", "starshift"))
    parser.add_argument("--base", default="mobilenet_v2", choices=tuple(APPLICATIONS))
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compare", type=Path, nargs=2)
    flags = parser.parse_args()
    if flags.compare:
        compare(*(json.loads(path.read_text()) for path in flags.compare))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as home:
        os.environ["STARSHIFT_HOME"] = home
        made = pictures(flags.base, flags.bundle, flags.seed)
        place = Path(home) / "textbook"
        strategies = textbook(made, flags.base, place) if flags.side == "textbook" else starshift(made)
    flags.out.write_text(
        json.dumps({"side": flags.side, "base": flags.base, "answers": made.answers, "strategies": strategies})
    )
    print(f"{flags.side}: {sum(strategy['seconds'] for strategy in strategies.values()):.0f} s in all")


if __name__ == "__main__":
    main()
