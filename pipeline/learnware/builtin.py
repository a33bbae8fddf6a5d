"""Built-in learnwares, made offline from synthetic pictures, so that search and reuse can be tried.

`sprouts` is a run of the embedded competition; `world` is sprouts' base, petite, with a head for the 97 synthetic
classes that it was pretrained on. The store's probe is petite, too. What exists is not made again.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import competitions
from pipeline import paths
from pipeline.config import Competition, Recipe, RunOptions
from pipeline.files import hash_json, read_json, write_atomic, write_json
from pipeline.learnware import publish, store
from pipeline.learnware.store import Store
from pipeline.synthetic import world
from pipeline.workflow import run as flow
from pipeline.workflow.finish import find_finished_run

log = logging.getLogger(__name__)
LICENCE = "MIT, like the repository that draws the pictures and trains the model"
FIRST_PICTURE, PICTURES_PER_CLASS, SEED = 2 * 10**6, 24, 0
"""Numbers of the world's pictures of each class, which pretraining has neither trained nor scored on."""


def build_builtin_store(folder: Path | None = None, engine: str = "auto") -> Store:
    """Makes the learnwares that are missing. Returns the store.

    Args:
        folder: of the store; data/store where not given.
        engine: `auto` or the name of an engine.
    """
    shelf = store.open_or_create_store(folder, store.parse_probe("petite"))
    for name, (task, load_competition) in BUILTIN_LEARNWARES.items():
        if shelf.path(name).exists():
            log.info("%s is there already", name)
            continue
        competition = load_competition()
        options = RunOptions(engine=engine, skip_submission=True)
        run = find_finished_run(competition, options) or flow.run(competition, options)
        publish.publish_run(run, shelf, publish.PublishRequest(name=name, task=task, licence=LICENCE), options)
        shelf = store.open_store(shelf.folder)
    log.info("next: invoke store.list%s", shelf.flag)
    return shelf


def draw_world() -> Competition:
    """Returns the competition of the world's pictures, which are drawn into class folders on the first call."""
    folder = paths.competition_folder("world") / "drawn"
    facts = {
        "classes": hash_json(list(world.CLASSES)),
        "first": FIRST_PICTURE,
        "each": PICTURES_PER_CLASS,
        "seed": SEED,
    }
    marker = folder.parent / "drawn.json"
    if read_json(marker) != facts:
        pixels, labels = world.load_world(
            range(FIRST_PICTURE, FIRST_PICTURE + PICTURES_PER_CLASS), SEED, paths.cache_folder("drawn")
        )
        for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            _write_png(folder / world.CLASSES[label] / f"{number // len(world.CLASSES)}.png", picture)
        write_json(marker, facts)
    recipe = Recipe(bases=("petite",), folds=5, views=("plain", "flip"), train_views=("plain", "flip"))
    return Competition(name="world", data=str(folder), metric="accuracy", recipe=recipe)


def _write_png(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as a PNG file."""
    from PIL import Image

    write_atomic(path, lambda file: Image.fromarray(picture).save(file, "PNG"))


BUILTIN_LEARNWARES: Mapping[str, tuple[str, Callable[[], Competition]]] = {
    "sprouts": ("telling twelve drawn species of seedlings apart", lambda: competitions.find("sprouts")),
    "world": ("telling 97 drawn plants, animals, things and textures apart", draw_world),
}
"""What each learnware classifies, and the competition whose run it is, by name."""
