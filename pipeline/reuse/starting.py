"""The learnwares that the repository can make itself, so that search and reuse work offline: everything is drawn.

`sprouts` is a run of the embedded competition; `world` is sprouts' base, petite, with a head for the 97 drawn classes
that it was pretrained on. The store's probe is petite, too. What is there already is not made again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import competitions
from pipeline import flow, paths
from pipeline.config import Competition, Recipe
from pipeline.drawn import many, world
from pipeline.files import read_json, sha256_of_json, write_atomic, write_json
from pipeline.learnware import store
from pipeline.learnware.store import Store
from pipeline.options import Options
from pipeline.reuse import adding

log = logging.getLogger(__name__)
LICENCE = "MIT, like the repository that draws the pictures and trains the model"
FIRST, EACH, SEED = 2 * 10**6, 24, 0
"""Of the world's pictures of each class: numbers that pretraining has neither trained nor scored on."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """A learnware that the repository makes.

    Args:
        name: in the store.
        task: what it tells apart.
        competition: gives that whose run it is.
    """

    name: str
    task: str
    competition: Callable[[], Competition]


def start(folder: Path | None = None, engine: str = "auto") -> Store:
    """Makes what is missing. Returns the store.

    Args:
        folder: of the store; data/store where not given.
        engine: `auto` or the name of an engine.
    """
    shelf = store.begun(folder, store.probe_named("petite"))
    for own in OWNED:
        if shelf.path(own.name).exists():
            log.info("%s is there already", own.name)
            continue
        competition = own.competition()
        options = Options(engine=engine, practice=True)
        run = flow.finished(competition, options) or flow.run(competition, options)
        wanted = adding.Wanted(name=own.name, task=own.task, licence=LICENCE)
        adding.add(run, shelf, wanted, options)
        shelf = store.opened(shelf.folder)
    log.info("next: invoke store.list%s", "" if folder is None else f" --store {paths.shown(folder)}")
    return shelf


def sprouts() -> Competition:
    """The embedded competition."""
    return competitions.find("sprouts")


def drawn_world() -> Competition:
    """Pictures of the world, drawn into class folders where they are not there yet."""
    folder = paths.competition_folder("world") / "drawn"
    wanted = {"classes": sha256_of_json(list(world.CLASSES)), "first": FIRST, "each": EACH, "seed": SEED}
    marker = folder.parent / "drawn.json"
    if read_json(marker) != wanted:
        pixels, labels = many.world_set(range(FIRST, FIRST + EACH), SEED, paths.cache_folder("drawn"))
        for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            _write(folder / world.CLASSES[label] / f"{number // len(world.CLASSES)}.png", picture)
        write_json(marker, wanted)
    recipe = Recipe(bases=("petite",), folds=5, views=("plain", "flip"), train_views=("plain", "flip"))
    return Competition(name="world", data=str(folder), metric="accuracy", recipe=recipe)


def _write(path: Path, picture: np.ndarray) -> None:
    """A picture as a PNG file."""
    from PIL import Image

    write_atomic(path, lambda file: Image.fromarray(picture).save(file, "PNG"))


OWNED = (
    Own(name="sprouts", task="telling twelve drawn species of seedlings apart", competition=sprouts),
    Own(name="world", task="telling 97 drawn plants, animals, things and textures apart", competition=drawn_world),
)
