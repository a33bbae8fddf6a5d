"""Damages learnwares and builds hostile ones, loads them and asks them."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.torture.inputs import classify
from benchmarks.torture.rot import mutate

NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    0.5,
    True,
    None,
    "",
    "x",
    [],
    {},
    [10**6] * 2,
]


def prepare(place: Path) -> None:
    """Makes a store with one tiny learnware, and what it answers."""
    from pipeline.learnware.archive import read_archive
    from tests.learnware.making import made, network, saved

    made(place / "store", saved(network()))
    found = read_archive(place / "store" / "tiny.learnware")
    (place / "model.keras").write_bytes(found.model)


def change_somewhere(value: Any, chance: random.Random) -> Any:
    """Replaces one value somewhere in nested lists and dictionaries by another one."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        return {**value, key: change_somewhere(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], change_somewhere(value[place], chance), *value[place + 1 :]]
    return chance.choice(NUMBERS)


def change_weights(weights: Any, chance: random.Random) -> None:
    """Replaces one stored array by one of another shape, type or content, or by a link."""
    import h5py

    places: list[str] = []
    weights.visititems(lambda name, one: places.append(name) if isinstance(one, h5py.Dataset) else None)
    place = chance.choice(places)
    shape = weights[place].shape
    del weights[place]
    kind = chance.choice(["missing", "shape", "empty", "nan", "huge", "link", "external", "text"])
    if kind == "shape":
        weights[place] = np.zeros((*shape, 2), np.float32)
    elif kind == "empty":
        weights.create_dataset(place, dtype="f4", data=h5py.Empty("f4"))
    elif kind == "nan":
        weights[place] = np.full(shape, np.nan, np.float32)
    elif kind == "huge":  # stored sparsely: a few bytes on disk
        weights.create_dataset(place, shape=(10**5, 10**5), dtype="f4", chunks=(1000, 1000))
    elif kind == "link":
        weights[place] = h5py.SoftLink("/")
    elif kind == "external":
        weights[place] = h5py.ExternalLink("/etc/passwd", "/")
    elif kind == "text":
        weights[place] = "text"


def try_learnware(place: Path, number: int) -> tuple[str, str]:
    """Loads and asks a damaged or hostile learnware: right is what it answered before, clear a refusal."""
    from pipeline.errors import StarshiftError
    from pipeline.learnware.archive import read_archive
    from pipeline.learnware.predict import load_learnware_predictor
    from pipeline.learnware.store import open_store
    from tests.learnware.making import contents, rewritten, with_config, with_weights

    chance, folder = random.Random(number), place / f"store-{number}"
    shutil.copytree(place / "store", folder)
    path, model = folder / "tiny.learnware", (place / "model.keras").read_bytes()
    changes: dict[str, Callable[[], Any]] = {
        "bytes": lambda: path.write_bytes(mutate(path.read_bytes(), chance)),
        "member": lambda: damage_member(path, chance, rewritten, contents),
        "record": lambda: change_record(path, chance, rewritten, contents),
        "config": lambda: rewritten(
            path, {"model.keras": with_config(model, lambda config: change_somewhere(config, chance))}
        ),
        "weights": lambda: rewritten(
            path, {"model.keras": with_weights(model, lambda weights: change_weights(weights, chance))}
        ),
    }
    kind = chance.choice(sorted(changes))
    changes[kind]()

    def ask() -> tuple[str, str]:
        list(open_store(folder).learnwares())
        found = read_archive(path)
        load_learnware_predictor(found)
        return "right", ""

    try:
        outcome, why = classify(ask, (StarshiftError,))
        return outcome, f"{kind}: {why}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def damage_member(path: Path, chance: random.Random, rewritten: Callable, contents: Callable) -> None:
    """Damages one member, with digests that fit."""
    found = contents(path)
    name = chance.choice(sorted(found))
    rewritten(path, {name: chance.choice([mutate(found[name], chance), None])}, honest=chance.random() < 0.8)


def change_record(path: Path, chance: random.Random, rewritten: Callable, contents: Callable) -> None:
    """Changes one value of a JSON member, with digests that fit."""
    found = contents(path)
    name = chance.choice(sorted(name for name in found if name.endswith(".json")))
    rewritten(path, {name: json.dumps(change_somewhere(json.loads(found[name]), chance)).encode()})


TRIALS = {"learnwares": try_learnware}
