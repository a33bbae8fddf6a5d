"""Measures what a run costs: parameters and bytes of its models, and pictures a second on this machine.

Everything is measured at once, one after the other, so that two runs are compared under the same load.
"""

import io
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.data import pixel_cache
from pipeline.features.extractor import Extractor
from pipeline.models import inference_engines
from pipeline.models.base import Base
from pipeline.models.inference_engines import Engine, KerasEngine
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.workflow.context import Dataset

TIMING_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """What some runs cost that predict together.

    Args:
        parameters: numbers in their models, each run's added up; None where a run has no saved model.
        megabytes: of their files.
        pictures_per_second: in one view, every base once; None where one cannot be run here.
    """

    parameters: int | None
    megabytes: float | None
    pictures_per_second: float | None


def measure_cost(folders: Sequence[Path], data: Dataset, engine: str = "auto") -> ModelCost:
    """Measures the cost of predicting with these runs together; of a derived run, that of its members.

    Args:
        folders: of finished runs of one competition.
        data: its pictures; the first 64 are timed.
        engine: `auto` or the name of an engine.
    """
    members = list(dict.fromkeys(one for folder in folders for one in list_member_runs(folder)))
    models = [model for folder in members if (model := find_model(folder)) is not None]
    whole = len(models) == len(members)
    return ModelCost(
        parameters=sum(map(count_parameters, models)) if whole else None,
        megabytes=sum(model.stat().st_size for model in models) / 1e6 if whole else None,
        pictures_per_second=measure_speed(members, data, engine),
    )


def add_costs(costs: Sequence[ModelCost]) -> ModelCost:
    """Adds the costs of predicting with all of them, one after the other; unknown where one is."""

    def total(values: Sequence[float | None]) -> float | None:
        known = [one for one in values if one is not None]
        return sum(known) if len(known) == len(values) else None

    numbers = total([one.parameters for one in costs])
    seconds = total([None if one.pictures_per_second is None else 1 / one.pictures_per_second for one in costs])
    return ModelCost(
        parameters=None if numbers is None else int(numbers),
        megabytes=total([one.megabytes for one in costs]),
        pictures_per_second=None if seconds is None else 1 / seconds,
    )


def list_member_runs(folder: Path) -> list[Path]:
    """Lists the members of a run, down to those that are not derived; a run without members is its own."""
    below = runs.read_config(folder).get("made_of") or ()
    return [one for each in below for one in list_member_runs(folder.parent / each["run"])] or [folder]


def find_model(folder: Path) -> Path | None:
    """Finds the model of a run: of all folds on one base, or the first fold's where each has its own network."""
    result = [folder / "model.keras", *sorted((folder / "models").glob("fold*.keras"))]
    return next((path for path in result if path.is_file()), None)


def count_parameters(model: Path) -> int:
    """Counts the numbers of a saved model without running it."""
    import h5py

    count = 0

    def add(name: str, item: Any) -> None:
        nonlocal count
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer") and "seed_generator" not in name:
            count += item.size

    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        weights.visititems(add)
    return count


def measure_speed(members: Sequence[Path], data: Dataset, engine: str) -> float | None:
    """Pictures a second when each base of these runs sees each picture once; None where one cannot be run here."""
    networks: dict[tuple[str, int], tuple[Base, Path]] = {}
    for folder in members:
        for base in load.list_bases(runs.read_config(folder)).values():
            networks[str(base), base.size] = base, folder
    if any(not base.published and not Path(base.weights).is_file() for base, _ in networks.values()):
        return None
    return 1 / sum(1 / measure_base_speed(base, folder, data, engine) for base, folder in networks.values())


def measure_base_speed(base: Base, folder: Path, data: Dataset, engine: str) -> float:
    """Pictures a second of one base in the best of some rounds; the small network of `scratch` is the run's own."""
    digests = list(data.pictures.train["sha256"][: inference_engines.SAMPLE_SIZE])
    store = pixel_cache.open_pixel_store(base.size)
    pixel_cache.fill_pixel_store(store, {digest: data.files[digest] for digest in digests})
    shown, run = pixel_cache.read_pixels(store, digests, data.files), load_engine(base, folder, data, engine, digests)
    run(shown)
    seconds = []
    for _ in range(TIMING_ROUNDS):
        started = time.perf_counter()
        run(shown)
        seconds.append(time.perf_counter() - started)
    return len(shown) / min(seconds)


def load_engine(base: Base, folder: Path, data: Dataset, engine: str, digests: Sequence[str]) -> Engine:
    """Loads the engine that runs a base here."""
    if base.name != "scratch":
        return inference_engines.load_engine(base, Extractor(base, data.files, wanted=engine).choose(digests))

    model = find_model(folder)
    if model is None:
        raise FileNotFoundError(paths.format_path(folder / "model.keras"))
    return KerasEngine(lambda: load.load_model(model))
