"""What it costs to have a run and to ask it: numbers and bytes of its models, and pictures a second on this machine.

Everything is measured now and one after the other, so that two runs are held against each other in one minute's load.
"""

import io
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.dataset import pixels
from pipeline.features.extract import Extractor
from pipeline.files import read_json
from pipeline.ledger import reading
from pipeline.models import choice
from pipeline.models.bases import Base, parse
from pipeline.models.engines import Engine, KerasEngine
from pipeline.models.scratch import scratch_base
from pipeline.preparation import Data
from pipeline.recipe import used

ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some runs cost that predict together.

    Args:
        parameters: numbers in their models, each run's added up; None where a run has no saved model.
        megabytes: of their files.
        pictures_per_second: in one view, every base once; None where one cannot be run here.
    """

    parameters: int | None
    megabytes: float | None
    pictures_per_second: float | None


def cost(folders: Sequence[Path], data: Data, engine: str = "auto") -> Cost:
    """The cost of asking these runs together; of a run made of others, that of those.

    Args:
        folders: of finished runs of one competition.
        data: its pictures; the first 64 are timed.
        engine: `auto` or the name of an engine.
    """
    members = list(dict.fromkeys(one for folder in folders for one in made_of(folder)))
    models = [model for folder in members if (model := model_of(folder)) is not None]
    whole = len(models) == len(members)
    return Cost(
        parameters=sum(map(parameters, models)) if whole else None,
        megabytes=sum(model.stat().st_size for model in models) / 1e6 if whole else None,
        pictures_per_second=speed(members, data, engine),
    )


def together(costs: Sequence[Cost]) -> Cost:
    """The cost of asking all of them, one after the other; unknown where one is."""

    def total(values: Sequence[float | None]) -> float | None:
        known = [one for one in values if one is not None]
        return sum(known) if len(known) == len(values) else None

    numbers = total([one.parameters for one in costs])
    seconds = total([None if one.pictures_per_second is None else 1 / one.pictures_per_second for one in costs])
    return Cost(
        parameters=None if numbers is None else int(numbers),
        megabytes=total([one.megabytes for one in costs]),
        pictures_per_second=None if seconds is None else 1 / seconds,
    )


def made_of(folder: Path) -> list[Path]:
    """The runs that a run is made of, down to those that are made of none."""
    below = (read_json(folder / "config.json") or {}).get("made_of") or ()
    return [one for each in below for one in made_of(folder.parent / each["run"])] or [folder]


def model_of(folder: Path) -> Path | None:
    """The model of a run: of all folds on one base, or the first fold's where each has a network of its own."""
    found = [folder / "model.keras", *sorted((folder / "models").glob("fold*.keras"))]
    return next((path for path in found if path.is_file()), None)


def parameters(model: Path) -> int:
    """How many numbers a saved model has; nothing of it is run."""
    import h5py

    count = 0

    def add(name: str, item: Any) -> None:
        nonlocal count
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer") and "seed_generator" not in name:
            count += item.size

    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        weights.visititems(add)
    return count


def speed(members: Sequence[Path], data: Data, engine: str) -> float | None:
    """Pictures a second when each base of these runs sees each picture once; None where one cannot be run here."""
    networks: dict[tuple[str, int], tuple[Base, Path]] = {}
    for folder in members:
        for base in bases_of(folder):
            networks[str(base), base.size] = base, folder
    if any(not base.published and not Path(base.weights).is_file() for base, _ in networks.values()):
        return None
    return 1 / sum(1 / speed_of(base, folder, data, engine) for base, folder in networks.values())


def bases_of(folder: Path) -> list[Base]:
    """What a run looks through; a fine-tuned base takes as long as it did before."""
    config = read_json(folder / "config.json") or {}
    recipe = config["competition"]["recipe"]
    texts = used(reading.rung_of(config), recipe["bases"])
    return [parse(text, recipe["size"]) for text in texts] or [scratch_base(recipe["size"])]


def speed_of(base: Base, folder: Path, data: Data, engine: str) -> float:
    """Pictures a second of one base in the best of some rounds; the small network of `scratch` is the run's own."""
    digests = list(data.pictures.train["sha256"][: choice.SAMPLE])
    store = pixels.pixel_store(base.size)
    pixels.fill(store, {digest: data.files[digest] for digest in digests})
    shown, run = pixels.read(store, digests, data.files), network(base, folder, data, engine, digests)
    run(shown)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run(shown)
        seconds.append(time.perf_counter() - started)
    return len(shown) / min(seconds)


def network(base: Base, folder: Path, data: Data, engine: str, digests: Sequence[str]) -> Engine:
    """What runs a base here."""
    if base.name != "scratch":
        return choice.load(base, Extractor(base, data.files, wanted=engine).choose(digests))
    import keras

    model = model_of(folder)
    if model is None:
        raise FileNotFoundError(paths.shown(folder / "model.keras"))
    return KerasEngine(lambda: keras.models.load_model(model, compile=False))
