"""The learnwares that the repository can make itself, so that search and reuse work offline: everything is drawn.

`load_sprouts` is a run of the embedded competition; `world` is sprouts' base, petite, with a head for the 97 drawn
classes that it was pretrained on. The store's probe is petite, too. What is there already is not made again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import competitions
from pipeline import paths
from pipeline.config import Competition, Recipe
from pipeline.files import hash_json, read_json, write_atomic, write_json
from pipeline.learnware import publish, store
from pipeline.learnware.store import Store
from pipeline.run_options import RunOptions
from pipeline.synthetic import world
from pipeline.synthetic import world as many
from pipeline.workflow import run as flow

log = logging.getLogger(__name__)
LICENCE = "MIT, like the repository that draws the pictures and trains the model"
FIRST_PICTURE, PICTURES_PER_CLASS, SEED = 2 * 10**6, 24, 0
"""Of the world's pictures of each class: numbers that pretraining has neither trained nor scored on."""


@dataclass(frozen=True, kw_only=True)
class BuiltinLearnware:
    """A learnware that the repository makes.

    Args:
        name: in the store.
        task: what it tells apart.
        competition: gives that whose run it is.
    """

    name: str
    task: str
    competition: Callable[[], Competition]


def build_builtin_store(folder: Path | None = None, engine: str = "auto") -> Store:
    """Makes what is missing. Returns the store.

    Args:
        folder: of the store; data/store where not given.
        engine: `auto` or the name of an engine.
    """
    shelf = store.open_or_create_store(folder, store.parse_probe("petite"))
    for own in BUILTIN_LEARNWARES:
        if shelf.path(own.name).exists():
            log.info("%s is there already", own.name)
            continue
        competition = own.competition()
        options = RunOptions(engine=engine, practice=True)
        run = flow.find_finished_run(competition, options) or flow.run(competition, options)
        wanted = publish.PublishRequest(name=own.name, task=own.task, licence=LICENCE)
        publish.publish_run(run, shelf, wanted, options)
        shelf = store.open_store(shelf.folder)
    log.info("next: invoke store.list%s", "" if folder is None else f" --store {paths.format_path(folder)}")
    return shelf


def load_sprouts() -> Competition:
    """The embedded competition."""
    return competitions.find("sprouts")


def draw_world() -> Competition:
    """Pictures of the world, drawn into class folders where they are not there yet."""
    folder = paths.competition_folder("world") / "drawn"
    wanted = {
        "classes": hash_json(list(world.CLASSES)),
        "first": FIRST_PICTURE,
        "each": PICTURES_PER_CLASS,
        "seed": SEED,
    }
    marker = folder.parent / "drawn.json"
    if read_json(marker) != wanted:
        pixels, labels = many.load_world(
            range(FIRST_PICTURE, FIRST_PICTURE + PICTURES_PER_CLASS), SEED, paths.cache_folder("drawn")
        )
        for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            _write_png(folder / world.CLASSES[label] / f"{number // len(world.CLASSES)}.png", picture)
        write_json(marker, wanted)
    recipe = Recipe(bases=("petite",), folds=5, views=("plain", "flip"), train_views=("plain", "flip"))
    return Competition(name="world", data=str(folder), metric="accuracy", recipe=recipe)


def _write_png(path: Path, picture: np.ndarray) -> None:
    """A picture as a PNG file."""
    from PIL import Image

    write_atomic(path, lambda file: Image.fromarray(picture).save(file, "PNG"))


BUILTIN_LEARNWARES = (
    BuiltinLearnware(name="sprouts", task="telling twelve drawn species of seedlings apart", competition=load_sprouts),
    BuiltinLearnware(
        name="world", task="telling 97 drawn plants, animals, things and textures apart", competition=draw_world
    ),
)
